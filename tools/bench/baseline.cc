#include "tools/bench/baseline.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <set>
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

// With fewer valid runs, a spread means nothing.
constexpr std::size_t kFewRuns = 3;

// One contender's summaries for one workload, from both documents.
struct Both {
  const json::object& before;
  const json::object& after;
  std::size_t runs = 0;    ///< valid runs, in the document that has fewer
  std::size_t rounds = 0;  ///< the same, counting only rounds with a valid baseline run
};

std::set<std::int64_t> valid_rounds(const json::object& workload, const json::value& contender) {
  std::set<std::int64_t> rounds;
  for (const json::value& run : workload.at("runs").as_array()) {
    if (run.at("contender") != contender || !run.at("valid").as_bool()) continue;
    rounds.insert(run.at("round").to_number<std::int64_t>());
  }
  return rounds;
}

std::size_t common_rounds(const json::object& workload, const json::value& contender,
                          const json::value& baseline) {
  const std::set<std::int64_t> base = valid_rounds(workload, baseline);
  const std::set<std::int64_t> mine = valid_rounds(workload, contender);
  return static_cast<std::size_t>(std::count_if(
      mine.begin(), mine.end(), [&](std::int64_t round) { return base.contains(round); }));
}

const json::object* spread_of(const json::object& entry, const char* kind, const json::value& key) {
  const json::value* spreads = entry.if_contains(kind);
  const json::value* spread =
      spreads != nullptr ? spreads->as_object().if_contains(key.as_string()) : nullptr;
  return spread != nullptr ? &spread->as_object() : nullptr;
}

// "worse" only if the best new run is worse than the worst old run; "better" likewise.
const char* verdict(const json::object& before, const json::object& after, bool higher) {
  const auto least = [](const json::object& spread) { return number(spread.at("least")); };
  const auto most = [](const json::object& spread) { return number(spread.at("most")); };
  const bool above = least(after) > most(before);
  const bool below = most(after) < least(before);
  if (!above && !below) return "within the spread";
  return above == higher ? "better" : "worse";
}

// The verdict and what it judges: the ratios where both documents have them. Figures drift with the
// machine, and the baseline's figures drift with them.
std::string judged(const json::object& metric, const Both& both, const json::value* baseline) {
  if (!metric.at("compared").as_bool()) return "not judged";
  const bool higher = metric.at("better").as_string() == "higher";
  const json::value& key = metric.at("key");
  const json::object* before = spread_of(both.before, "ratios", key);
  const json::object* after = spread_of(both.after, "ratios", key);
  if (baseline == nullptr || before == nullptr || after == nullptr) {
    if (both.runs < kFewRuns) return "too few runs to say";
    return std::string(verdict(*spread_of(both.before, "metrics", key),
                               *spread_of(both.after, "metrics", key), higher)) +
           " (the figure itself)";
  }
  std::array<char, 64> ratios{};
  std::snprintf(ratios.data(), ratios.size(), ": %.2f → %.2f   ", number(before->at("median")),
                number(after->at("median")));
  return "× " + text_of(*baseline) + ratios.data() +
         (both.rounds < kFewRuns ? "too few runs to say" : verdict(*before, *after, higher));
}

// One line of the report; empty if one of the two has no such figure.
std::string line(const json::object& metric, const Both& both, const json::value* baseline) {
  const json::object* before = spread_of(both.before, "metrics", metric.at("key"));
  const json::object* after = spread_of(both.after, "metrics", metric.at("key"));
  if (before == nullptr || after == nullptr) return "";
  const double old_median = number(before->at("median"));
  const double new_median = number(after->at("median"));
  const int digits = static_cast<int>(number(metric.at("digits")));
  std::array<char, 16> ratio{"      –"};
  if (old_median != 0) {
    std::snprintf(ratio.data(), ratio.size(), "%5.2f ×", new_median / old_median);
  } else if (new_median == 0) {
    std::snprintf(ratio.data(), ratio.size(), "      =");
  }
  std::array<char, 256> text{};
  std::snprintf(text.data(), text.size(), "    %-22s %12.*f → %12.*f   %s   ",
                metric.at("title").as_string().c_str(), digits, old_median, digits, new_median,
                ratio.data());
  return text.data() + judged(metric, both, baseline) + '\n';
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

// Lists the entries of `before` that `after` does not have.
std::string only_before(const json::array& before, const json::array& after, const char* key,
                        const std::string& of) {
  std::string text;
  for (const json::value& each : before) {
    if (entry_of(after, key, each.at(key)) != nullptr) continue;
    text += "  " + of + text_of(each.at(key)) + ": only in the earlier run\n";
  }
  return text;
}

// `baseline`: the baseline of both documents; null if they differ.
std::string compare_workloads(const json::object& before, const json::object& after,
                              const json::value* baseline) {
  const std::string name = text_of(after.at("name"));
  const json::array& old_summary = before.at("summary").as_array();
  std::string text;
  for (const json::value& value : after.at("summary").as_array()) {
    const json::object& entry = value.as_object();
    const json::value& contender = entry.at("contender");
    const json::object* old_entry = entry_of(old_summary, "contender", contender);
    text += "  " + name + ", " + text_of(contender) + '\n';
    if (old_entry == nullptr || !old_entry->contains("metrics") || !entry.contains("metrics")) {
      text += "    not in both runs\n";
      continue;
    }
    Both both{*old_entry, entry};
    both.runs =
        std::min(valid_rounds(before, contender).size(), valid_rounds(after, contender).size());
    if (baseline != nullptr) {
      both.rounds = std::min(common_rounds(before, contender, *baseline),
                             common_rounds(after, contender, *baseline));
    }
    for (const json::value& metric : after.at("metrics").as_array()) {
      text += line(metric.as_object(), both, baseline);
    }
  }
  return text + only_before(old_summary, after.at("summary").as_array(), "contender", name + ", ");
}

}  // namespace

std::string compare_documents(const json::object& before, const json::object& after) {
  std::string text =
      "Against the run of " + text_of(before.at("started")) + ":\n" +
      differences("machines", before.at("machine").as_object(), after.at("machine").as_object()) +
      differences("settings", before.at("settings").as_object(), after.at("settings").as_object());
  const json::value* baseline =
      before.at("baseline") == after.at("baseline") ? &after.at("baseline") : nullptr;
  if (baseline == nullptr) {
    text += "  the baselines differ: " + text_of(before.at("baseline")) + ", now " +
            text_of(after.at("baseline")) + '\n';
  }
  const json::array& old_workloads = before.at("workloads").as_array();
  const json::array& workloads = after.at("workloads").as_array();
  for (const json::value& workload : workloads) {
    const json::object* old_workload = entry_of(old_workloads, "name", workload.at("name"));
    if (old_workload == nullptr) {
      text += "  " + text_of(workload.at("name")) + ": not in the earlier run\n";
      continue;
    }
    text += compare_workloads(*old_workload, workload.as_object(), baseline);
  }
  return text + only_before(old_workloads, workloads, "name", "");
}

}  // namespace sluice::bench
