// The commands ls and stat.

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "iolib/base/text.h"
#include "iolib/base/units.h"
#include "tools/capture/commands.h"
#include "tools/capture/findings.h"
#include "tools/common/connections.h"
#include "tools/common/text.h"
#include "tools/common/walk.h"

namespace sluice::capture {
namespace {

constexpr std::size_t kColumns = 10;
using Row = std::array<std::string, kColumns>;

std::string seconds(std::uint64_t ns) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3fs", static_cast<double>(ns) / 1e9);
  return text.data();
}

Row row_of(const Connection& connection) {
  const auto& [client, upstream] = connection.sides;
  return {printable(connection.info.id),
          connection.state(),
          format_time(connection.info.began_wall_ns),
          seconds(connection.duration_ns()),
          printable(connection.info.client),
          printable(connection.info.upstream),
          printable(connection.info.route),
          std::to_string(client.recorded_bytes) + '+' + std::to_string(upstream.recorded_bytes),
          std::to_string(client.gaps + upstream.gaps),
          printable(connection.reason)};
}

void print_table(const std::list<Connection>& connections) {
  std::array<std::size_t, kColumns> widths{};
  const Row head = {"ID",       "STATE", "START", "DURATION", "CLIENT",
                    "UPSTREAM", "ROUTE", "BYTES", "GAPS",     "REASON"};
  const auto measure = [&](const Row& row) {
    for (std::size_t i = 0; i < kColumns; ++i) widths[i] = std::max(widths[i], row[i].size());
  };
  const auto print = [&](const Row& row) {
    std::string line;
    for (std::size_t i = 0; i < kColumns; ++i) {
      line += row[i];
      if (i + 1 < kColumns) line.append(widths[i] - row[i].size() + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    std::puts(line.c_str());
  };
  measure(head);
  // Each row is built twice, so that only one row is in memory.
  for (const Connection& connection : connections) measure(row_of(connection));
  print(head);
  for (const Connection& connection : connections) print(row_of(connection));
}

void print_json(const std::list<Connection>& connections) {
  std::fputs("{\"connections\":[", stdout);
  const char* separator = "\n";
  for (const Connection& connection : connections) {
    std::printf("%s%s", separator, json::serialize(connection.to_json()).c_str());
    separator = ",\n";
  }
  std::puts("]}");
}

struct Count {
  std::uint64_t number = 0;
  std::uint64_t bytes = 0;
};

struct Numbers {
  std::size_t chains = 0;
  std::array<std::uint64_t, 3> segments{};  // by SegmentState
  std::uint64_t file_bytes = 0, frames = 0, records = 0, data_bytes = 0;
  std::uint64_t opened = 0, closed = 0, unrecorded = 0;
  std::map<std::string, Count> gaps;
  Count lost;
  std::uint64_t first_ns = ~std::uint64_t{0}, last_ns = 0;
  std::set<std::string> durability, programs;
};

// A hostile capture could have a different word in each segment.
constexpr std::size_t kMostWords = 16;

void note(std::set<std::string>& words, const std::string& word) {
  if (words.size() < kMostWords) words.insert(word);
}

void count_record(const Event& event, Numbers& numbers) {
  const RecordHeader& header = event.header;
  ++numbers.records;
  numbers.first_ns = std::min(numbers.first_ns, header.wall_ns);
  numbers.last_ns = std::max(numbers.last_ns, header.wall_ns);
  if (header.is(Kind::segment)) {
    const SegmentInfo info = *decode_segment(event.payload);
    note(numbers.durability, info.durability);
    note(numbers.programs, info.program);
  }
  if (header.is(Kind::lost)) numbers.unrecorded += *decode_lost(event.payload);
  if (event.effect.repeated) return;
  if (header.is(Kind::data)) numbers.data_bytes += event.fresh().size();
  if (header.is(Kind::open) && !header.continued()) ++numbers.opened;
  if (header.is(Kind::close)) ++numbers.closed;
  if (header.is(Kind::gap)) {
    const GapInfo gap = *decode_gap(event.payload);
    Count& count = numbers.gaps[reason_name(gap.reason)];
    ++count.number;
    count.bytes += gap.bytes - event.effect.skip_bytes;
  }
}

json::object to_json(const Numbers& numbers) {
  json::object gaps;
  for (const auto& [reason, count] : numbers.gaps) {
    gaps[reason] = {{"gaps", count.number}, {"bytes", count.bytes}};
  }
  json::array durability;
  json::array programs;
  for (const std::string& word : numbers.durability) durability.emplace_back(valid_utf8(word));
  for (const std::string& word : numbers.programs) programs.emplace_back(valid_utf8(word));
  json::object object;
  object["chains"] = numbers.chains;
  object["segments"] = {{"open", numbers.segments[0]},
                        {"sealed", numbers.segments[1]},
                        {"suspect", numbers.segments[2]}};
  object["file_bytes"] = numbers.file_bytes;
  object["frames"] = numbers.frames;
  object["records"] = numbers.records;
  object["data_bytes"] = numbers.data_bytes;
  object["connections"] = {
      {"opened", numbers.opened}, {"closed", numbers.closed}, {"unrecorded", numbers.unrecorded}};
  object["gaps"] = std::move(gaps);
  object["lost"] = {{"gaps", numbers.lost.number}, {"bytes", numbers.lost.bytes}};
  object["first"] = numbers.records > 0 ? format_time(numbers.first_ns) : "";
  object["last"] = numbers.records > 0 ? format_time(numbers.last_ns) : "";
  object["durability"] = std::move(durability);
  object["programs"] = std::move(programs);
  return object;
}

// Prints each number on its own line, with its name from the JSON output.
void print_numbers(const json::object& object, const std::string& prefix) {
  for (const auto& [key, value] : object) {
    const std::string name = prefix + std::string(key);
    if (value.is_object()) {
      print_numbers(value.as_object(), name + '.');
      continue;
    }
    std::string text = value.is_string() ? std::string(value.as_string()) : json::serialize(value);
    if (value.is_array()) {
      text.clear();
      for (const json::value& word : value.as_array()) {
        text += (text.empty() ? "" : ", ") + std::string(word.as_string());
      }
    }
    std::printf("%-24s %s\n", name.c_str(), printable(text).c_str());
  }
}

}  // namespace

Result<int> run_ls(const Invocation& invocation) {
  ConnectionTable table(ConnectionTable::Keeps::all);
  const Result<int> walked = walk_and_tell(invocation, [&](const Event& event, const At& at) {
    const Result<Connection*> taken = table.take(event, at);
    return taken ? go_on() : Result<bool>(taken.error());
  });
  if (!walked) return walked.error();
  if (invocation.json) {
    print_json(table.all());
  } else {
    print_table(table.all());
  }
  return walked;
}

Result<int> run_stat(const Invocation& invocation) {
  Numbers numbers;
  const Result<int> walked = walk_and_tell(invocation, [&](const Event& event, const At& at) {
    numbers.chains = at.chain_index + 1;
    if (event.type == Event::Type::record) count_record(event, numbers);
    if (event.type == Event::Type::finding && event.finding.severity == Finding::Severity::lost) {
      ++numbers.lost.number;
      numbers.lost.bytes += event.finding.bytes;
    }
    if (event.type == Event::Type::segment_end) {
      ++numbers.segments[static_cast<std::size_t>(event.segment->name.state)];
      numbers.file_bytes += event.segment->size_bytes;
      numbers.frames += at.reader.segment_reader()->frames();
    }
    return go_on();
  });
  if (!walked) return walked.error();
  const json::object object = to_json(numbers);
  if (invocation.json) {
    std::puts(json::serialize(object).c_str());
  } else {
    print_numbers(object, "");
  }
  return walked;
}

}  // namespace sluice::capture
