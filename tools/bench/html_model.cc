#include "tools/bench/html_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace sluice::bench::html {
namespace {

const json::value* field(const json::value& object, std::string_view key) {
  const json::object* fields = object.if_object();
  return fields != nullptr ? fields->if_contains(key) : nullptr;
}

// Strings as they are; doubles in short notation (0.5); everything else as JSON.
std::string text_or_json(const json::value* value) {
  if (value == nullptr || value->is_null()) return "";
  if (value->is_string()) return std::string(value->as_string());
  if (!value->is_double()) return json::serialize(*value);
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.9g", value->as_double());
  return text.data();
}

std::string text_at(const json::value& object, std::string_view key) {
  return text_or_json(field(object, key));
}

std::optional<double> number_of(const json::value* value) {
  if (value == nullptr || !value->is_number()) return std::nullopt;
  const double number = value->to_number<double>();
  return std::isfinite(number) ? std::optional(number) : std::nullopt;
}

std::int64_t count_at(const json::value& object, std::string_view key) {
  constexpr double kMost = 1e15;
  return static_cast<std::int64_t>(
      std::clamp(number_of(field(object, key)).value_or(0), 0.0, kMost));
}

bool flag_at(const json::value& object, std::string_view key, bool otherwise) {
  const json::value* value = field(object, key);
  return value != nullptr && value->is_bool() ? value->as_bool() : otherwise;
}

const json::array& list_at(const json::value& object, std::string_view key) {
  static const json::array none;
  const json::value* value = field(object, key);
  return value != nullptr && value->is_array() ? value->as_array() : none;
}

const json::object& object_at(const json::value& object, std::string_view key) {
  static const json::object none;
  const json::value* value = field(object, key);
  return value != nullptr && value->is_object() ? value->as_object() : none;
}

std::optional<Spread> spread_of(const json::value* value) {
  if (value == nullptr) return std::nullopt;
  const std::optional<double> median = number_of(field(*value, "median"));
  if (!median) return std::nullopt;
  return Spread{*median, number_of(field(*value, "least")).value_or(*median),
                number_of(field(*value, "most")).value_or(*median)};
}

Column column_of(const json::value& metric, bool several_parts) {
  constexpr double kMostDigits = 9;
  Column column{.key = text_at(metric, "key"),
                .title = text_at(metric, "title"),
                .part = "",
                .higher_is_better = text_at(metric, "better") == "higher",
                .digits = static_cast<int>(
                    std::clamp(number_of(field(metric, "digits")).value_or(2), 0.0, kMostDigits)),
                .compared = flag_at(metric, "compared", true)};
  if (const std::size_t dot = column.key.find('.'); several_parts && dot != std::string::npos) {
    column.part = column.key.substr(0, dot);
    // The table shows the part's name above its columns.
    if (column.title.starts_with(column.part + ' ')) column.title.erase(0, dot + 1);
  }
  return column;
}

Curve curve_of(const json::value& points) {
  Curve curve;
  if (!points.is_array()) return curve;
  for (const json::value& point : points.as_array()) {
    if (!point.is_array() || point.as_array().size() != 2) continue;
    const std::optional<double> percentile = number_of(&point.as_array()[0]);
    const std::optional<double> value = number_of(&point.as_array()[1]);
    if (percentile && value) curve.emplace_back(*percentile, *value);
  }
  std::sort(curve.begin(), curve.end());
  return curve;
}

Row row_of(const json::value& entry, const std::vector<Column>& columns) {
  Row row{.contender = text_at(entry, "contender"),
          .runs = count_at(entry, "runs"),
          .valid = count_at(entry, "valid"),
          .figures = {},
          .curves = {}};
  const json::object& metrics = object_at(entry, "metrics");
  const json::object& ratios = object_at(entry, "ratios");
  for (const Column& column : columns) {
    row.figures.push_back(
        {spread_of(metrics.if_contains(column.key)),
         column.compared ? spread_of(ratios.if_contains(column.key)) : std::nullopt});
  }
  for (const auto& [part, points] : object_at(entry, "percentiles")) {
    row.curves[std::string(part)] = curve_of(points);
  }
  if (const auto other = spread_of(metrics.if_contains("other_cpus"))) {
    row.other_cpus = other->median;
  }
  if (const auto busiest = spread_of(metrics.if_contains("ends_busiest_thread"))) {
    row.ends_busiest_thread = busiest->median;
  }
  if (const auto lost = spread_of(metrics.if_contains("dump_lost_percent"))) {
    row.dump_lost_percent = lost->median;
  }
  return row;
}

Section section_of(const json::value& workload) {
  Section section{.name = text_at(workload, "name"),
                  .description = text_at(workload, "description"),
                  .loop = text_at(workload, "loop"),
                  .columns = {},
                  .rows = {},
                  .voids = {}};
  const bool several_parts = list_at(workload, "parts").size() > 1;
  for (const json::value& metric : list_at(workload, "metrics")) {
    section.columns.push_back(column_of(metric, several_parts));
  }
  for (const json::value& entry : list_at(workload, "summary")) {
    section.rows.push_back(row_of(entry, section.columns));
  }
  for (const json::value& run : list_at(workload, "runs")) {
    if (flag_at(run, "valid", false)) continue;
    section.voids.push_back(
        {text_at(run, "contender"), text_at(run, "round"), text_at(run, "reason")});
  }
  return section;
}

}  // namespace

Report read_report(const json::object& document) {
  const json::value root(document);
  Report report{.started = text_at(root, "started"),
                .command = text_at(root, "command"),
                .tool = text_at(root, "tool"),
                .baseline = text_at(root, "baseline"),
                .interrupted = flag_at(root, "interrupted", false),
                .machine = {},
                .settings = {},
                .programs = {},
                .sections = {}};
  for (const auto& [key, value] : object_at(root, "machine")) {
    report.machine[std::string(key)] = text_or_json(&value);
  }
  for (const auto& [key, value] : object_at(root, "settings")) {
    report.settings[std::string(key)] = text_or_json(&value);
  }
  for (const json::value& contender : list_at(root, "contenders")) {
    report.programs.push_back({text_at(contender, "name"), text_at(contender, "version"),
                               text_at(contender, "command"), text_at(contender, "config")});
  }
  for (const json::value& workload : list_at(root, "workloads")) {
    report.sections.push_back(section_of(workload));
  }
  return report;
}

std::string fact(const std::map<std::string, std::string, std::less<>>& facts,
                 std::string_view key) {
  const auto found = facts.find(key);
  return found != facts.end() ? found->second : "";
}

}  // namespace sluice::bench::html
