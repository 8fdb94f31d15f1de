#include "tools/bench/table.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include "iolib/base/units.h"
#include "tools/bench/best.h"
#include "tools/bench/document.h"
#include "tools/bench/metric.h"
#include "tools/bench/names.h"
#include "tools/common/figures.h"

namespace sluice::bench {
namespace {

struct Cell {
  std::string text;
  bool best = false;
};
using Row = std::vector<Cell>;

// Adds digits to a small value, so that it keeps three significant digits.
std::string format(double value, int digits) {
  std::array<char, 64> text{};
  for (double least = 1; digits > 0 && digits < 6 && value != 0 && std::abs(value) < least / 10;
       least /= 10) {
    ++digits;
  }
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

// The width on a terminal. Every UTF-8 character that is used here is one column wide.
std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U;
  }));
}

std::string render(const std::vector<Row>& rows, TableStyle style) {
  std::vector<std::size_t> widths(rows[0].size());
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], width_of(row[i].text));
    }
  }
  const bool markdown = style == TableStyle::markdown;
  std::string text;
  for (std::size_t line = 0; line < rows.size(); ++line) {
    if (markdown) text += "| ";
    for (std::size_t i = 0; i < rows[line].size(); ++i) {
      const Cell& cell = rows[line][i];
      const std::string space(widths[i] - width_of(cell.text), ' ');
      const bool bold = cell.best && style == TableStyle::terminal;
      const std::string shown = bold ? "\x1b[1m" + cell.text + "\x1b[0m" : cell.text;
      text += i == 0 ? shown + space : space + shown;
      const bool last = i + 1 == rows[line].size();
      text += markdown ? (last ? " |" : " | ") : (last ? "" : "  ");
    }
    text += '\n';
    if (line != 0 || !markdown) continue;
    text += "|";
    for (std::size_t i = 0; i < widths.size(); ++i) {
      text += i == 0 ? " " + std::string(widths[i], '-') + " |"
                     : " " + std::string(widths[i] - 1, '-') + ": |";
    }
    text += '\n';
  }
  return text;
}

// "2.99 (2.80–3.11)"; only the median if least and most look the same at this precision.
std::string with_spread(const json::object& spread, int digits) {
  const std::string median = format(number(spread.at("median")), digits);
  const std::string least = format(number(spread.at("least")), digits);
  const std::string most = format(number(spread.at("most")), digits);
  return least == most ? median : median + " (" + least + "–" + most + ")";
}

// Marks the best of a column, in the rows below the heading.
void mark_best(std::vector<Row>& rows, std::size_t column, const json::object& metric,
               const std::vector<Candidate>& candidates) {
  if (!metric.at("compared").as_bool()) return;
  const int digits = static_cast<int>(number(metric.at("digits")));
  const std::vector<bool> best = best_of(candidates, text_of(metric.at("better")) == "higher",
                                         [&](double median) { return format(median, digits); });
  for (std::size_t i = 0; i < best.size(); ++i) rows[i + 1][column].best = best[i];
}

std::vector<Row> medians(const json::object& workload) {
  const json::array& metrics = workload.at("metrics").as_array();
  const json::array& summary = workload.at("summary").as_array();
  std::vector<Row> rows{{{"median"}}};
  for (const json::value& metric : metrics) rows[0].push_back({text_of(metric.at("title"))});
  rows[0].push_back({"valid"});
  std::vector<std::vector<Candidate>> candidates(metrics.size());
  for (const json::value& entry : summary) {
    const std::string name = text_of(entry.at("contender"));
    Row row{{name}};
    const json::value* found = entry.as_object().if_contains("metrics");
    for (std::size_t i = 0; i < metrics.size(); ++i) {
      const std::string key = text_of(metrics[i].at("key"));
      const json::value* spread = found != nullptr ? found->as_object().if_contains(key) : nullptr;
      const int digits = static_cast<int>(number(metrics[i].at("digits")));
      row.push_back({spread != nullptr ? with_spread(spread->as_object(), digits) : "–"});
      candidates[i].push_back(
          {spread != nullptr ? std::optional(number(spread->at("median"))) : std::nullopt,
           number(entry.at("valid")), competes(name)});
    }
    row.push_back({json::serialize(entry.at("valid")) + "/" + json::serialize(entry.at("runs"))});
    rows.push_back(std::move(row));
  }
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    mark_best(rows, i + 1, metrics[i].as_object(), candidates[i]);
  }
  return rows;
}

std::vector<Row> ratios(const json::object& workload, const std::string& baseline) {
  std::vector<std::string> keys;
  std::vector<Row> rows{{{"× " + baseline}}};
  for (const json::value& metric : workload.at("metrics").as_array()) {
    if (!metric.at("compared").as_bool()) continue;
    keys.push_back(text_of(metric.at("key")));
    rows[0].push_back({text_of(metric.at("title"))});
  }
  for (const json::value& entry : workload.at("summary").as_array()) {
    const json::value* found = entry.as_object().if_contains("ratios");
    if (found == nullptr) continue;
    Row row{{text_of(entry.at("contender"))}};
    for (const std::string& key : keys) {
      const json::value* spread = found->as_object().if_contains(key);
      row.push_back({spread != nullptr ? with_spread(spread->as_object(), 2) : "–"});
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string void_runs(const json::object& workload) {
  std::string text;
  for (const json::value& run : workload.at("runs").as_array()) {
    if (run.at("valid").as_bool()) continue;
    text += "VOID: " + text_of(run.at("contender")) + ", round " +
            json::serialize(run.at("round")) + ": " + text_of(run.at("reason")) + '\n';
  }
  return text;
}

// The contenders, except `except`, for which a figure's median is at least `least`: "sluice 0.97,
// A/A 0.95".
std::string where_high(const json::object& workload, const char* key, double least,
                       std::string_view except = {}) {
  std::string text;
  for (const json::value& entry : workload.at("summary").as_array()) {
    const json::value* metrics = entry.as_object().if_contains("metrics");
    const json::value* spread =
        metrics != nullptr ? metrics->as_object().if_contains(key) : nullptr;
    if (spread == nullptr || text_of(entry.at("contender")) == except ||
        number(spread->at("median")) < least)
      continue;
    text += (text.empty() ? "" : ", ") + text_of(entry.at("contender")) + ' ' +
            format(number(spread->at("median")), 2);
  }
  return text;
}

}  // namespace

std::vector<std::string> doubts(const json::object& workload) {
  std::vector<std::string> lines;
  if (const json::value* calls = workload.if_contains("syscalls")) {
    for (const json::value& run : calls->as_array()) {
      if (run.at("valid").as_bool()) continue;
      lines.push_back("System calls not counted: " + text_of(run.at("contender")) + ": " +
                      text_of(run.at("reason")));
    }
  }
  const auto add = [&](const char* what, const std::string& high) {
    if (!high.empty()) lines.push_back(what + high + '.');
  };
  add("Not quiet: CPUs that were busy with neither the ends nor the contender (other programs, or "
      "the kernel's own threads): ",
      where_high(workload, "other_cpus", kMuchOfOthers));
  add("Saturated: one thread of the tool's own ends was busy nearly all the time, and may be the "
      "limit: ",
      where_high(workload, "ends_busiest_thread", kSaturated, kDirectName));
  add("Lost: percent of the packets that its tcpdump did not record: ",
      where_high(workload, "dump_lost_percent", 0));
  return lines;
}

std::string to_table(const json::object& document, TableStyle style) {
  const std::string baseline = text_of(document.at("baseline"));
  const bool markdown = style == TableStyle::markdown;
  std::string text;
  for (const json::value& value : document.at("workloads").as_array()) {
    const json::object& workload = value.as_object();
    const std::string loop = text_of(workload.at("loop"));
    text += (markdown ? "\n## " : "\n") + text_of(workload.at("name")) +
            (markdown ? "\n\n" : ": ") + text_of(workload.at("description")) +
            (loop.empty() ? "" : " (" + loop + ")") + (markdown ? "\n\n" : "\n");
    text += render(medians(workload), style);
    if (const std::vector<Row> rows = ratios(workload, baseline); rows.size() > 1) {
      text += '\n' + render(rows, style);
    }
    std::string notes = void_runs(workload);
    for (const std::string& line : doubts(workload)) notes += line + '\n';
    if (!notes.empty()) text += (markdown ? "\n" : "") + notes;
  }
  return text;
}

namespace {

std::string field(const json::object& object, const char* key) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr) return "?";
  return value->is_string() ? text_of(*value) : json::serialize(*value);
}

std::string machine_of(const json::object& document) {
  const json::object& machine = document.at("machine").as_object();
  std::string text = field(machine, "cpus") + " × " + field(machine, "cpu") + ", ";
  if (const json::value* memory = machine.if_contains("memory_bytes")) {
    text += as_bytes(number(*memory)) + " of memory, ";
  }
  text += field(machine, "kernel") + ", congestion control " +
          field(machine, "congestion_control") + ", a pipe of 1 MiB is granted " +
          field(machine, "pipe_bytes_granted_of_1MiB") + " bytes";
  // Only a comparison's document has it.
  if (machine.contains("filesystem")) text += ", files on " + field(machine, "filesystem");
  return text;
}

std::string method_of(const json::object& document) {
  const json::object& settings = document.at("settings").as_object();
  const auto seconds = [&](const char* key) { return format(number(settings.at(key)), 1); };
  std::string text = field(settings, "rounds") + " rounds of " + seconds("seconds") + " s after " +
                     seconds("warmup_seconds") +
                     " s of warm-up; network namespace: " + field(settings, "network");
  if (settings.contains("syscalls")) text += "; system calls: " + field(settings, "syscalls");
  // A load does not start its path, so it has no workers.
  if (!settings.contains("workers")) return text;
  text += "; contenders in turn, each started afresh, with workers: " + field(settings, "workers");
  if (settings.contains("servers")) text += "; servers: " + field(settings, "servers");
  const json::value* names = settings.if_contains("names");
  if (names != nullptr && *names != 0) text += "; names in TLS hellos: " + field(settings, "names");
  return text;
}

}  // namespace

std::string describe_machine(const json::object& document) {
  std::string text = machine_of(document) + '\n' + method_of(document) + '\n';
  // Contenders with the same version share a line.
  std::vector<std::pair<std::string, std::string>> versions;
  for (const json::value& contender : document.at("contenders").as_array()) {
    const std::string version = text_of(contender.at("version"));
    if (version.empty()) continue;
    const auto same = std::find_if(versions.begin(), versions.end(),
                                   [&](const auto& each) { return each.first == version; });
    if (same == versions.end()) {
      versions.emplace_back(version, text_of(contender.at("name")));
    } else {
      same->second += ", " + text_of(contender.at("name"));
    }
  }
  for (const auto& [version, names] : versions) {
    text.append(names).append(": ").append(version).append("\n");
  }
  return text;
}

std::string describe_conditions(const json::object& document) {
  std::string text = "- command: `" + field(document, "command") + "`, " +
                     field(document, "started") + "\n- machine: " + machine_of(document) + "\n- " +
                     method_of(document) + '\n';
  for (const json::value& contender : document.at("contenders").as_array()) {
    const std::string command = text_of(contender.at("command"));
    if (command.empty()) continue;
    const std::string version = text_of(contender.at("version"));
    text.append("- ").append(text_of(contender.at("name"))).append(": ");
    if (!version.empty()) text.append(version).append(", ");
    text.append("`").append(command).append("`\n");
    std::istringstream config(text_of(contender.at("config")));
    std::string lines;
    for (std::string line; std::getline(config, line);) {
      lines.append("      ").append(line).append("\n");
    }
    if (!lines.empty()) text.append("  with this as {config}:\n\n").append(lines).append("\n");
  }
  return text;
}

}  // namespace sluice::bench
