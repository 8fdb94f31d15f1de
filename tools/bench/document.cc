#include "tools/bench/document.h"

#include <sys/utsname.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "iolib/pipe/pipe.h"
#include "tools/bench/metric.h"
#include "tools/common/system.h"

namespace sluice::bench {
namespace {

constexpr std::size_t kMaxDocumentBytes = 256 << 20;

std::string first_line_of(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "?";
}

std::uint64_t memory_bytes() {
  std::istringstream line(first_line_of("/proc/meminfo"));
  std::string name;
  std::uint64_t kib = 0;
  line >> name >> kib;
  return kib * 1024;
}

json::object machine() {
  utsname system{};
  ::uname(&system);
  json::object machine{
      {"kernel", std::string(system.sysname) + ' ' + system.release + ' ' + system.machine},
      {"cpu", cpu_model()},
      {"cpus", std::thread::hardware_concurrency()},
      {"memory_bytes", memory_bytes()},
      {"congestion_control", first_line_of("/proc/sys/net/ipv4/tcp_congestion_control")},
      {"clock_source",
       first_line_of("/sys/devices/system/clocksource/clocksource0/current_clocksource")}};
  constexpr std::size_t kPipeBytes = 1 << 20;
  if (const Result<Pipe> pipe = Pipe::create(kPipeBytes); pipe.has_value()) {
    machine["pipe_bytes_granted_of_1MiB"] = pipe->capacity_bytes();
  }
  return machine;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

json::object spread(const std::vector<double>& values) {
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  return {{"median", median(values)}, {"least", *least}, {"most", *most}};
}

// The valid runs of one workload, by contender and round.
using Runs = std::map<std::string, std::map<std::int64_t, const json::object*>, std::less<>>;

Runs valid_runs(const json::object& workload) {
  Runs runs;
  for (const json::value& value : workload.at("runs").as_array()) {
    const json::object& run = value.as_object();
    if (!run.at("valid").as_bool()) continue;
    runs[std::string(run.at("contender").as_string())][run.at("round").to_number<std::int64_t>()] =
        &run;
  }
  return runs;
}

std::optional<double> metric_of(const json::object& run, std::string_view key) {
  const json::value* value = run.at("metrics").as_object().if_contains(key);
  if (value == nullptr) return std::nullopt;
  return number(*value);
}

json::object metrics_of(const std::map<std::int64_t, const json::object*>& runs,
                        const std::set<std::string>& keys) {
  json::object metrics;
  for (const std::string& key : keys) {
    std::vector<double> values;
    for (const auto& [round, run] : runs) {
      if (const auto value = metric_of(*run, key)) values.push_back(*value);
    }
    if (!values.empty()) metrics[key] = spread(values);
  }
  return metrics;
}

json::object ratios_of(const std::map<std::int64_t, const json::object*>& runs,
                       const std::map<std::int64_t, const json::object*>& baseline,
                       const std::set<std::string>& keys) {
  json::object ratios;
  for (const std::string& key : keys) {
    std::vector<double> values;
    for (const auto& [round, run] : runs) {
      const auto other = baseline.find(round);
      if (other == baseline.end()) continue;
      const auto mine = metric_of(*run, key);
      const auto theirs = metric_of(*other->second, key);
      if (mine && theirs && *theirs > 0) values.push_back(*mine / *theirs);
    }
    if (!values.empty()) ratios[key] = spread(values);
  }
  return ratios;
}

// Adds what was counted in a contender's extra run.
void add_calls(const json::object& workload, json::object& entry) {
  const json::value* runs = workload.if_contains("syscalls");
  if (runs == nullptr || !entry.contains("metrics")) return;
  for (const json::value& run : runs->as_array()) {
    if (run.at("contender") != entry.at("contender") || !run.at("valid").as_bool()) continue;
    for (const auto& [key, value] : run.at("metrics").as_object()) {
      entry["metrics"].as_object()[key] = spread({number(value)});
    }
  }
}

// For each percentile, the median over the runs.
json::object percentiles_of(const std::map<std::int64_t, const json::object*>& runs) {
  std::map<std::string, std::map<double, std::vector<double>>> found;
  for (const auto& [round, run] : runs) {
    for (const auto& [part, points] : run->at("percentiles").as_object()) {
      for (const json::value& point : points.as_array()) {
        found[std::string(part)][number(point.at(0))].push_back(number(point.at(1)));
      }
    }
  }
  json::object percentiles;
  for (const auto& [part, curve] : found) {
    json::array points;
    for (const auto& [percentile, values] : curve) {
      points.push_back(json::array{percentile, median(values)});
    }
    percentiles[part] = std::move(points);
  }
  return percentiles;
}

// Accesses every member that readers of a document rely on. Throws if one is missing or has the
// wrong type.
void check_shape(const json::object& document) {
  for (const char* key : {"started", "command", "baseline"}) {
    static_cast<void>(document.at(key).as_string());
  }
  static_cast<void>(document.at("machine").as_object());
  static_cast<void>(document.at("settings").as_object());
  for (const char* key : {"rounds", "seconds", "warmup_seconds"}) {
    static_cast<void>(number(document.at("settings").at(key)));
  }
  for (const json::value& contender : document.at("contenders").as_array()) {
    for (const char* key : {"name", "version", "command", "config"}) {
      static_cast<void>(contender.at(key).as_string());
    }
  }
  for (const json::value& workload : document.at("workloads").as_array()) {
    for (const char* key : {"name", "description", "loop"}) {
      static_cast<void>(workload.at(key).as_string());
    }
    for (const json::value& metric : workload.at("metrics").as_array()) {
      for (const char* key : {"key", "title", "better"}) {
        static_cast<void>(metric.at(key).as_string());
      }
      static_cast<void>(number(metric.at("digits")));
      static_cast<void>(metric.at("compared").as_bool());
    }
    for (const json::value& run : workload.at("runs").as_array()) {
      if (!run.at("valid").as_bool()) static_cast<void>(run.at("reason").as_string());
    }
    const json::value* calls = workload.as_object().if_contains("syscalls");
    for (const json::value& run : calls != nullptr ? calls->as_array() : json::array()) {
      static_cast<void>(run.at("contender").as_string());
      if (!run.at("valid").as_bool()) static_cast<void>(run.at("reason").as_string());
    }
  }
}

void print(std::ostream& out, const json::value& value, const std::string& indent) {
  // People read the document too, so each run and each point is on one line.
  const bool flat = value.is_object() ? indent.size() > 6 : value.is_array() && indent.size() > 4;
  if (flat || (!value.is_object() && !value.is_array())) {
    out << json::serialize(value);
    return;
  }
  const bool object = value.is_object();
  const std::string inner = indent + "  ";
  out << (object ? "{" : "[");
  const char* comma = "\n";
  const auto element = [&](std::string_view key, const json::value& each) {
    out << std::exchange(comma, ",\n") << inner;
    if (object) out << json::serialize(json::string(key)) << ": ";
    print(out, each, inner);
  };
  if (object) {
    for (const auto& [key, each] : value.as_object()) element(key, each);
  } else {
    for (const json::value& each : value.as_array()) element("", each);
  }
  out << '\n' << indent << (object ? "}" : "]");
}

}  // namespace

double number(const json::value& value) { return value.to_number<double>(); }

const json::value* find(const json::object& object, std::string_view key) {
  return object.if_contains(key);
}

std::string filesystem_of(const std::string& directory) {
  std::error_code error;
  const std::string path = std::filesystem::canonical(directory, error).string();
  std::ifstream mounts("/proc/self/mountinfo");
  std::string found = "?";
  std::size_t longest = 0;
  for (std::string line; !error && std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string number, parent, device, root, point, type;
    fields >> number >> parent >> device >> root >> point;
    while (fields >> type && type != "-") {
    }
    fields >> type;
    const bool below = path == point || point == "/" || path.starts_with(point + '/');
    // If two filesystems are mounted at one point, the later one is visible.
    if (!below || point.size() < longest) continue;
    longest = point.size();
    found = type;
    found.append(" at ").append(point);
  }
  return found;
}

json::object new_document(const std::string& command) {
  return {{"format", "sluice-bench"},  {"version", kFormatVersion}, {"tool", SLUICE_VERSION},
          {"started", utc_now()},      {"command", command},        {"machine", machine()},
          {"workloads", json::array()}};
}

json::object new_workload(const Workload& workload, bool local, bool calls) {
  json::array metrics;
  for (const Metric& metric : metrics_of(workload, local, calls)) {
    metrics.push_back(json::object{{"key", metric.key},
                                   {"title", metric.title},
                                   {"better", metric.higher_is_better ? "higher" : "lower"},
                                   {"digits", metric.digits},
                                   {"compared", metric.compared}});
  }
  json::array parts;
  for (const Part& part : workload.parts) parts.push_back(json::string(part.name));
  return {{"name", workload.name},     {"description", workload.description()},
          {"loop", workload.loop()},   {"ends", workload.ends()},
          {"parts", std::move(parts)}, {"metrics", std::move(metrics)},
          {"runs", json::array()}};
}

void summarize(json::object& workload, const std::vector<std::string>& contenders,
               const std::string& baseline) {
  const Runs runs = valid_runs(workload);
  std::set<std::string> keys;
  std::map<std::string, std::int64_t> tried;
  for (const json::value& value : workload.at("runs").as_array()) {
    const json::object& run = value.as_object();
    ++tried[std::string(run.at("contender").as_string())];
    if (const json::value* metrics = run.if_contains("metrics")) {
      for (const auto& metric : metrics->as_object()) keys.insert(std::string(metric.key()));
    }
  }
  const auto base = runs.find(baseline);
  json::array summary;
  for (const std::string& name : contenders) {
    if (!tried.contains(name)) continue;
    json::object entry{{"contender", name}, {"runs", tried[name]}, {"valid", 0}};
    if (const auto mine = runs.find(name); mine != runs.end()) {
      entry["valid"] = mine->second.size();
      entry["metrics"] = metrics_of(mine->second, keys);
      entry["percentiles"] = percentiles_of(mine->second);
      if (name != baseline && base != runs.end()) {
        entry["ratios"] = ratios_of(mine->second, base->second, keys);
      }
    }
    add_calls(workload, entry);
    summary.push_back(std::move(entry));
  }
  workload["summary"] = std::move(summary);
}

namespace {

// A pipe has no known size, so the limit applies to the bytes that arrive. `-` is stdin.
Result<std::string> read_text(const std::string& path) {
  std::ifstream file;
  if (path != "-") file.open(path, std::ios::binary);
  if (!file) return errno_error("open " + path);
  std::istream& in = path == "-" ? std::cin : file;
  std::string text;
  std::vector<char> part(1 << 16);
  while (in.read(part.data(), static_cast<std::streamsize>(part.size())), in.gcount() > 0) {
    text.append(part.data(), static_cast<std::size_t>(in.gcount()));
    if (text.size() > kMaxDocumentBytes) {
      return Error{0, path + ": too large for a result of sluice-bench"};
    }
  }
  if (in.bad()) return errno_error("read " + path);
  return text;
}

}  // namespace

Result<json::object> read_document(const std::string& path) {
  const Result<std::string> text = read_text(path);
  if (text.has_error()) return text.error();
  boost::system::error_code wrong;
  const json::value value = json::parse(*text, wrong);
  const json::object* document = wrong ? nullptr : value.if_object();
  if (document == nullptr) return Error{0, path + ": expected a result of sluice-bench, in JSON"};
  const json::value* format = document->if_contains("format");
  const json::value* version = document->if_contains("version");
  if (format == nullptr || *format != "sluice-bench" || version == nullptr) {
    return Error{0, path + ": expected a result of sluice-bench, in JSON"};
  }
  if (*version != kFormatVersion) {
    return Error{0, path + ": version " + json::serialize(*version) + ", expected " +
                        std::to_string(kFormatVersion)};
  }
  try {
    check_shape(*document);
    json::object checked = *document;
    // The summaries are computed again, so that the report does not rely on those in the file.
    for (json::value& workload : checked.at("workloads").as_array()) {
      std::vector<std::string> names;
      for (const json::value& entry : workload.at("summary").as_array()) {
        names.emplace_back(entry.at("contender").as_string());
      }
      summarize(workload.as_object(), names, std::string(checked.at("baseline").as_string()));
    }
    return checked;
  } catch (const std::exception&) {
    return Error{0, path + ": not a whole result of sluice-bench"};
  }
}

std::string to_text(const json::object& document) {
  std::ostringstream out;
  out << std::setprecision(9);
  print(out, json::value(document), "");
  out << '\n';
  return out.str();
}

}  // namespace sluice::bench
