#include "tools/bench/baseline.h"

#include <array>
#include <cstdio>
#include <string_view>

#include "tools/bench/document.h"

namespace sluice::bench {
namespace {

const json::object* entry_of(const json::array& list, const char* key, const json::value& name) {
  for (const json::value& each : list) {
    if (each.at(key) == name) return &each.as_object();
  }
  return nullptr;
}

constexpr double kFewRuns = 3;

// "worse" only where not even the luckiest run of the new one reaches the unluckiest of the old.
const char* verdict(const json::object& before, const json::object& after, bool higher) {
  const auto least = [](const json::object& spread) { return number(spread.at("least")); };
  const auto most = [](const json::object& spread) { return number(spread.at("most")); };
  const bool above = least(after) > most(before);
  const bool below = most(after) < least(before);
  if (!above && !below) return "within the spread";
  return above == higher ? "better" : "worse";
}

std::string line(const json::object& metric, const json::object& before, const json::object& after,
                 bool enough) {
  const double old_median = number(before.at("median"));
  const double new_median = number(after.at("median"));
  const int digits = static_cast<int>(number(metric.at("digits")));
  std::array<char, 256> text{};
  const double ratio = old_median != 0 ? new_median / old_median : 1;
  std::snprintf(text.data(), text.size(), "    %-22s %12.*f → %12.*f   %5.2f ×   %s\n",
                metric.at("title").as_string().c_str(), digits, old_median, digits, new_median,
                ratio,
                enough ? verdict(before, after, metric.at("better").as_string() == "higher")
                       : "too few runs to say");
  return text.data();
}

std::string differences(const char* what, const json::object& before, const json::object& after) {
  std::string text;
  for (const auto& [key, value] : after) {
    const json::value* other = before.if_contains(key);
    if (other != nullptr && json::serialize(*other) == json::serialize(value)) continue;
    text.append("  the ").append(what).append(" differ in ").append(key).append(": ");
    text.append(other != nullptr ? json::serialize(*other) : "?").append(", now ");
    text.append(json::serialize(value)).append("\n");
  }
  return text;
}

}  // namespace

std::string compare_documents(const json::object& before, const json::object& after) {
  std::string text =
      "Against the run of " + std::string(before.at("started").as_string()) + ":\n" +
      differences("machines", before.at("machine").as_object(), after.at("machine").as_object()) +
      differences("settings", before.at("settings").as_object(), after.at("settings").as_object());
  for (const json::value& value : after.at("workloads").as_array()) {
    const json::object& workload = value.as_object();
    const json::object* old_workload =
        entry_of(before.at("workloads").as_array(), "name", workload.at("name"));
    if (old_workload == nullptr) {
      text += "  " + std::string(workload.at("name").as_string()) + ": not in the earlier run\n";
      continue;
    }
    for (const json::value& entry : workload.at("summary").as_array()) {
      const json::object* old_entry =
          entry_of(old_workload->at("summary").as_array(), "contender", entry.at("contender"));
      const json::value* metrics = entry.as_object().if_contains("metrics");
      const json::value* old_metrics =
          old_entry != nullptr ? old_entry->if_contains("metrics") : nullptr;
      text += "  " + std::string(workload.at("name").as_string()) + ", " +
              std::string(entry.at("contender").as_string()) + '\n';
      if (metrics == nullptr || old_metrics == nullptr) {
        text += "    not in both runs\n";
        continue;
      }
      const bool enough =
          number(entry.at("valid")) >= kFewRuns && number(old_entry->at("valid")) >= kFewRuns;
      for (const json::value& metric : workload.at("metrics").as_array()) {
        const json::value* now = metrics->as_object().if_contains(metric.at("key").as_string());
        const json::value* then =
            old_metrics->as_object().if_contains(metric.at("key").as_string());
        if (now == nullptr || then == nullptr) continue;
        text += line(metric.as_object(), then->as_object(), now->as_object(), enough);
      }
    }
  }
  return text;
}

}  // namespace sluice::bench
