#include "tools/bench/workload.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "iolib/base/text.h"
#include "iolib/base/units.h"

namespace sluice::bench {
namespace {

// Parses a workload's name from left to right.
class Reader {
 public:
  Reader(std::string_view text, const WorkloadDefaults& defaults)
      : left_(text), defaults_(defaults) {}

  [[nodiscard]] bool done() const { return left_.empty(); }
  [[nodiscard]] bool take(std::string_view word) {
    if (!left_.starts_with(word)) return false;
    left_.remove_prefix(word.size());
    return true;
  }
  [[nodiscard]] std::optional<std::size_t> take_count(std::size_t most, const char* of) {
    std::size_t count = 0;
    const auto [end, error] = std::from_chars(left_.data(), left_.data() + left_.size(), count);
    if (error == std::errc::result_out_of_range || (error == std::errc{} && count > most)) {
      return beyond(std::to_string(most) + ' ' + of);
    }
    if (error != std::errc{} || count == 0) return std::nullopt;
    left_.remove_prefix(static_cast<std::size_t>(end - left_.data()));
    return count;
  }
  // The number of connections; the default if the name has none.
  [[nodiscard]] std::optional<std::size_t> take_connections(std::size_t most = kMaxConnections,
                                                            const char* of = "connections") {
    const bool written = !left_.empty() && left_[0] >= '0' && left_[0] <= '9';
    if (written) return take_count(most, of);
    if (defaults_.connections > most) return beyond(std::to_string(most) + ' ' + of);
    return defaults_.connections;
  }
  [[nodiscard]] std::size_t default_size() const { return defaults_.size_bytes; }
  [[nodiscard]] std::optional<std::size_t> take_size() {
    const std::string_view text = left_.substr(0, left_.find_first_of("@-"));
    const Result<std::uint64_t> size = parse_size_bytes(text);
    if (size.has_error() || *size == 0) return std::nullopt;
    if (*size > kMaxMessageBytes) return beyond(format_size_bytes(kMaxMessageBytes));
    left_.remove_prefix(text.size());
    return static_cast<std::size_t>(*size);
  }
  // "expected at most ..." if a number was too large, else empty.
  [[nodiscard]] const std::string& bound() const { return bound_; }

 private:
  std::nullopt_t beyond(const std::string& most) {
    bound_ = "expected at most " + most;
    return std::nullopt;
  }

  std::string_view left_;
  const WorkloadDefaults& defaults_;
  std::string bound_;
};

constexpr double kMaxRate = 10e6;

bool read_rate(Reader& reader, Part& part) {
  if (!reader.take("@")) return true;
  const auto rate = reader.take_count(static_cast<std::size_t>(kMaxRate), "a second");
  if (rate) part.rate = static_cast<double>(*rate);
  return rate.has_value();
}

std::optional<Part> read_bulk(Reader& reader) {
  Part part{.kind = Kind::bulk, .name = "bulk"};
  const auto count = reader.take_connections();
  if (!count) return std::nullopt;
  part.connections = *count;
  if (reader.take("down")) {
    part.direction = Direction::down;
  } else if (reader.take("both")) {
    part.direction = Direction::both;
  } else {
    static_cast<void>(reader.take("up"));
  }
  if (reader.take("-plain")) part.ends = Ends::plain;
  return part;
}

std::optional<Part> read_ping(Reader& reader) {
  Part part{.kind = Kind::ping, .name = "rr"};
  const auto count = reader.take_connections();
  if (!count) return std::nullopt;
  part.connections = *count;
  part.size_bytes = reader.default_size();
  if (reader.take("x")) {
    const auto size = reader.take_size();
    if (!size) return std::nullopt;
    part.size_bytes = *size;
  }
  if (!read_rate(reader, part)) return std::nullopt;
  return part;
}

std::optional<Part> read_call(Reader& reader) {
  Part part{.kind = Kind::call, .name = "crr"};
  const auto count = reader.take_connections(kMaxThreads, "threads");
  if (!count || !read_rate(reader, part)) return std::nullopt;
  part.connections = *count;
  return part;
}

std::optional<Part> read_idle(Reader& reader) {
  const auto count = reader.take_connections();
  if (!count) return std::nullopt;
  return Part{.kind = Kind::idle, .name = "idle", .connections = *count};
}

std::optional<std::vector<Part>> read_elephants(Reader& reader) {
  const auto elephants = reader.take_count(kMaxConnections, "connections");
  if (!elephants || !reader.take("mice")) return std::nullopt;
  const auto mice = reader.take_count(kMaxConnections, "connections");
  if (!mice) return std::nullopt;
  return std::vector<Part>{{.kind = Kind::bulk, .name = "elephants", .connections = *elephants},
                           {.kind = Kind::ping, .name = "mice", .connections = *mice}};
}

std::optional<std::vector<Part>> read_slow(Reader& reader) {
  const auto slow = reader.take_connections();
  if (!slow) return std::nullopt;
  return std::vector<Part>{{.kind = Kind::bulk, .name = "fast", .direction = Direction::down},
                           {.kind = Kind::bulk,
                            .name = "slow",
                            .connections = *slow,
                            .direction = Direction::down,
                            .ends = Ends::plain,
                            .read_rate_bytes = kSlowReadRateBytes}};
}

std::vector<Part> mix() {
  return {{.kind = Kind::bulk, .name = "bulk", .connections = 2},
          {.kind = Kind::ping, .name = "rr", .connections = 16},
          {.kind = Kind::call, .name = "crr", .connections = 1},
          {.kind = Kind::idle, .name = "idle", .connections = 500}};
}

template <class T>
std::optional<std::vector<Part>> alone(std::optional<T> part) {
  if (!part) return std::nullopt;
  return std::vector<Part>{*std::move(part)};
}

std::optional<std::vector<Part>> read_parts(Reader& reader) {
  if (reader.take("bulk")) return alone(read_bulk(reader));
  if (reader.take("rr")) return alone(read_ping(reader));
  if (reader.take("crr")) return alone(read_call(reader));
  if (reader.take("idle")) return alone(read_idle(reader));
  if (reader.take("elephants")) return read_elephants(reader);
  if (reader.take("slow")) return read_slow(reader);
  if (reader.take("mix")) return mix();
  return std::nullopt;
}

constexpr std::string_view kThreads = "-threads";

bool exchanges(const Part& part) { return part.kind == Kind::ping || part.kind == Kind::call; }

// Parses what can follow any exchange. Returns false if `parts` exchange nothing.
bool read_threading(Reader& reader, Threading threading, std::vector<Part>& parts) {
  const bool written = reader.take(kThreads);
  if (written) threading = Threading::per_connection;
  for (Part& part : parts) {
    if (exchanges(part)) part.threading = threading;
  }
  return !written || std::any_of(parts.begin(), parts.end(), exchanges);
}

// The name with what it leaves open.
std::string full_name(std::string_view name, const std::vector<Part>& parts) {
  const std::size_t word =
      std::min(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz"), name.size());
  const Part& part = parts.back();
  std::string full(name);
  // In "bulkdown", no number separates the two words.
  const std::string_view kind =
      part.kind == Kind::bulk && parts.size() == 1 ? "bulk" : name.substr(0, word);
  const bool numbered =
      name.size() > kind.size() && name[kind.size()] >= '0' && name[kind.size()] <= '9';
  if (!numbered && kind != "mix") full.insert(kind.size(), std::to_string(part.connections));
  if (part.kind == Kind::ping && parts.size() == 1 && part.size_bytes > 1 &&
      full.find('x') == std::string::npos) {
    full.insert(std::min(full.find_first_of("@-"), full.size()),
                "x" + format_size_bytes(part.size_bytes));
  }
  const bool threaded = std::any_of(parts.begin(), parts.end(), [](const Part& each) {
    return each.threading == Threading::per_connection;
  });
  if (threaded && !full.ends_with(kThreads)) full += kThreads;
  return full;
}

std::string plural(std::size_t count, std::string_view what) {
  return std::to_string(count) + ' ' + std::string(what) + (count == 1 ? "" : "s");
}

std::string describe(const Part& part) {
  const std::string connections = plural(part.connections, "connection");
  const std::string rate =
      part.rate > 0 ? ", " + std::to_string(static_cast<long>(part.rate)) + " a second" : "";
  const std::string ends =
      part.threading == Threading::per_connection ? ", a thread for each connection" : "";
  switch (part.kind) {
    case Kind::bulk: {
      const char* way = part.direction == Direction::up     ? " to the upstream"
                        : part.direction == Direction::down ? " to the client"
                                                            : " both ways";
      std::string text = plural(part.connections, "stream") + way;
      if (part.read_rate_bytes > 0) {
        text += ", read at " + format_size_bytes(part.read_rate_bytes) + "/s each";
      } else if (part.ends == Ends::plain) {
        text += ", plain send and recv";
      }
      return text;
    }
    case Kind::ping:
      return connections + " exchanging " + format_size_bytes(part.size_bytes) + " messages" +
             rate + ends;
    case Kind::call:
      return plural(part.connections, "thread") + " connecting, exchanging a byte, closing" + rate +
             ends;
    case Kind::idle:
      return connections + " idle after a byte";
  }
  return "?";
}

}  // namespace

std::string Workload::description() const {
  std::string text;
  for (const Part& part : parts) text += (text.empty() ? "" : "; ") + describe(part);
  return text;
}

std::string Workload::loop() const {
  std::string loop;
  for (const Part& part : parts) {
    if (!exchanges(part)) continue;
    loop = part.rate > 0 ? "open loop" : "closed loop";
  }
  return loop;
}

std::string Workload::ends() const {
  const auto part = std::find_if(parts.begin(), parts.end(), exchanges);
  if (part == parts.end()) return "";
  return part->threading == Threading::per_connection ? "threads" : "loop";
}

Result<Workload> parse_workload(std::string_view name, const WorkloadDefaults& defaults) {
  Reader reader(name, defaults);
  auto parts = read_parts(reader);
  if (!reader.bound().empty()) {
    return Error{0, "workload " + in_quotes(name) + ": " + reader.bound()};
  }
  const bool understood = parts && read_threading(reader, defaults.threading, *parts);
  if (!understood || !reader.done()) {
    return Error{
        0, "workload " + in_quotes(name) +
               ": expected bulk[N][up|down|both][-plain], rr[N][xSIZE][@RATE], crr[N][@RATE], "
               "idle[N], elephantsNmiceM, slow[N] or mix, and -threads after those that exchange "
               "something"};
  }
  std::uint64_t under_way_bytes = 0;
  for (const Part& part : *parts) {
    if (part.kind == Kind::ping) under_way_bytes += part.connections * part.size_bytes;
    if (part.threading == Threading::per_connection && part.connections > kMaxThreadedConnections) {
      return Error{0, "workload " + in_quotes(name) + ": expected at most " +
                          std::to_string(kMaxThreadedConnections) +
                          " connections with a thread for each"};
    }
  }
  if (under_way_bytes > kMaxRunMessageBytes) {
    return Error{0, "workload " + in_quotes(name) + ": expected at most " +
                        format_size_bytes(kMaxRunMessageBytes) + " in all messages together"};
  }
  return Workload{full_name(name, *parts), *std::move(parts)};
}

}  // namespace sluice::bench
