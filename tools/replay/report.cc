#include "tools/replay/report.h"

#include <cstdarg>
#include <cstdio>

#include "iolib/base/text.h"
#include "iolib/base/units.h"
#include "tools/common/report_page.h"
#include "tools/common/text.h"

namespace sluice::replay {
namespace {

using capture::printable;
using capture::SideEnd;

constexpr double kNsPerUs = 1e3;
constexpr double kNsPerMs = 1e6;

[[gnu::format(printf, 1, 2)]] std::string formatted(const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  char text[512];
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return text;
}

const char* name_of(SideEnd end) {
  return end == SideEnd::eof ? "eof" : end == SideEnd::reset ? "reset" : "no end";
}

std::string counted(std::uint64_t count, const std::string& what) {
  return std::to_string(count) + ' ' + what + (count == 1 ? "" : "s");
}

double seconds_of(const Tally& tally) {
  return std::chrono::duration<double>(tally.ended - tally.began).count();
}

double recorded_seconds(const Plan& plan) {
  return static_cast<double>(plan.last_ns - plan.first_ns) / 1e9;
}

// In recorded time, as people read it: without its small parts.
std::string time_text(std::uint64_t ns) {
  using namespace std::chrono;
  const nanoseconds time(static_cast<std::int64_t>(ns));
  return time < minutes(1) ? format_duration(floor<milliseconds>(time))
                           : format_duration(floor<seconds>(time));
}

json::object to_json(const SkippedGaps& gaps) {
  return {{"count", gaps.count}, {"seconds", static_cast<double>(gaps.ns) / 1e9}};
}

std::string speed_text(double speed) { return speed == 0 ? "max" : formatted("%gx", speed); }

std::string latency_table(const Tally& tally) {
  std::string text = formatted("\n%-32s", "request to first answer byte, us");
  for (const auto& [rank, name] : kPercentiles) text += formatted(" %11s", name);
  text += formatted(" %11s\n", "most");
  const auto line = [&](const char* name, const Histogram& of) {
    text += formatted("%-32s", name);
    for (const auto& [rank, title] : kPercentiles)
      text += formatted(" %11.1f", percentile(of, rank));
    text += formatted(" %11.1f\n", static_cast<double>(of.max()) / kNsPerUs);
  };
  line(formatted("  then, %llu", static_cast<unsigned long long>(tally.then.total())).c_str(),
       tally.then);
  line("  now", tally.now);
  return text;
}

json::object percentiles_of(const Histogram& of) {
  json::object object;
  for (const auto& [rank, name] : kPercentiles) object[name] = percentile(of, rank);
  object["max"] = static_cast<double>(of.max()) / kNsPerUs;
  return object;
}

json::object to_json(const Difference& difference) {
  json::object object{{"connection", valid_utf8(difference.id)},
                      {"then_bytes", difference.then_bytes},
                      {"now_bytes", difference.now_bytes},
                      {"then_end", name_of(difference.then_end)},
                      {"now_end", name_of(difference.now_end)},
                      {"then_ns", difference.then_ns},
                      {"now_ns", difference.now_ns},
                      {"bytes_that_differ", difference.mismatch.bytes}};
  if (difference.mismatch.first) {
    object["first"] = *difference.mismatch.first;
    object["last"] = difference.mismatch.last;
    object["then"] = capture::to_hex(std::as_bytes(std::span(difference.mismatch.then)));
    object["now"] = capture::to_hex(std::as_bytes(std::span(difference.mismatch.now)));
  }
  return object;
}

json::object to_json(const Plan& plan, const Compared& answer) {
  const PlannedConnection& planned = plan.connections[answer.connection];
  json::object object{{"connection", valid_utf8(plan.name_of(planned))},
                      {"differs", answer.differs},
                      {"then_bytes", planned.answer_bytes},
                      {"now_bytes", answer.now_bytes},
                      {"then_end", name_of(planned.answer_end)},
                      {"now_end", name_of(answer.now_end)},
                      {"then_ns", planned.end_ns - planned.start_ns},
                      {"now_ns", answer.now_ns}};
  if (answer.first != kNone) object["first"] = answer.first;
  return object;
}

// The last connection's lag shows whether the schedule drifted.
json::object lag_of_connections(const Tally& tally) {
  json::object object = percentiles_of(tally.start_lag);
  object["last"] = static_cast<double>(tally.last_start_lag_ns) / kNsPerUs;
  return object;
}

// The points of a chart: percentiles with their values in µs.
json::array curve_of(const Histogram& of) {
  json::array curve;
  for (const double rank : {50.0, 60.0, 70.0, 75.0, 80.0, 85.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.8,
                            99.9, 99.95, 99.98, 99.99}) {
    curve.push_back(json::array{rank, percentile(of, rank)});
  }
  return curve;
}

json::object settings_of(const Outcome& outcome) {
  const Invocation& asked = outcome.invocation;
  json::value max_gap_ns;
  if (asked.pace.max_gap) max_gap_ns = asked.pace.max_gap->count();
  return {{"to", valid_utf8(asked.to)},
          {"speed", speed_text(asked.pace.speed)},
          {"max_gap_ns", max_gap_ns},
          {"connections", asked.pace.most_connections},
          {"repeat", asked.pace.repeat},
          {"wait_responses", asked.settings.wait_responses},
          {"response_timeout_ns", asked.settings.response_timeout.count()},
          {"compare", asked.settings.compare}};
}

}  // namespace

int status_of(const Outcome& outcome) {
  const Tally& tally = outcome.tally;
  const Plan& plan = outcome.plan;
  if (outcome.interrupted) return kInterrupted;
  if (tally.different > 0) return kDiffers;
  if (tally.failed > 0 || tally.short_answers > 0) return kFailed;
  const bool missing = tally.cut_at_gap > 0 || tally.cut_at_end > 0 || tally.incomparable > 0 ||
                       tally.not_waited_for > 0 || plan.without_beginning > 0 ||
                       plan.without_client > 0 || plan.lost > 0 || plan.damaged > 0;
  return missing ? kGaps : 0;
}

double percentile(const Histogram& of, double percentile) {
  return of.quantile(percentile / 100) / kNsPerUs;
}

std::vector<std::string> remarks(const Outcome& outcome) {
  const Tally& tally = outcome.tally;
  const Plan& plan = outcome.plan;
  std::vector<std::string> lines;
  const auto say = [&](std::uint64_t number, const char* what, const std::string& then) {
    if (number > 0) lines.push_back(counted(number, what) + ' ' + then);
  };
  const auto skipped = [](const SkippedGaps& gaps, const char* how) {
    return how + (": " + time_text(gaps.ns)) + " of the recording in all";
  };
  // At full speed there is nothing to skip.
  if (outcome.invocation.pace.speed > 0) {
    say(plan.gaps.between_runs().count, "gap",
        skipped(plan.gaps.between_runs(), "between runs skipped"));
    say(plan.gaps.shortened().count, "gap",
        skipped(plan.gaps.shortened(), "shortened by --max-gap"));
  }
  say(plan.without_beginning, "connection", "left out: the beginning is not in the capture");
  say(plan.without_client, "connection", "left out: only the upstream's side was recorded");
  say(plan.lost, "connection", "lost: ended while nothing could be recorded");
  say(plan.damaged, "place", "damaged in the capture: see sluice-capture verify");
  say(tally.cut_at_gap, "connection", "ended by a reset where the recording has a gap");
  say(tally.cut_at_end, "connection", "ended by a reset where its recording ends");
  say(tally.not_waited_for, "connection",
      "whose answers were not awaited, since they were not recorded completely");
  for (const auto& [why, number] : tally.failures) say(number, "connection", "failed: " + why);
  say(tally.short_answers, "time", "an answer did not come in time, or not completely");
  say(tally.silent_answers, "time",
      "an answer counted as complete before its recorded size, since the server was silent");
  say(tally.interrupted, "connection", "interrupted");
  say(tally.waited, "time", "a connection had to wait for another to end (--connections)");
  say(tally.incomparable, "connection",
      "not compared completely: not all of the answer was recorded");
  return lines;
}

std::string describe(const Difference& difference) {
  const auto side = [](const char* when, std::uint64_t bytes, SideEnd end, std::uint64_t ns) {
    return formatted("%s %llu bytes, %s, %.1f ms", when, static_cast<unsigned long long>(bytes),
                     name_of(end), static_cast<double>(ns) / kNsPerMs);
  };
  std::string text = side("then", difference.then_bytes, difference.then_end, difference.then_ns) +
                     "; " +
                     side("now", difference.now_bytes, difference.now_end, difference.now_ns);
  const Mismatch& mismatch = difference.mismatch;
  if (mismatch.first) {
    text +=
        formatted("; first differs at %llu, %llu in all, the last at %llu: then \"%s\", now ",
                  static_cast<unsigned long long>(*mismatch.first),
                  static_cast<unsigned long long>(mismatch.bytes),
                  static_cast<unsigned long long>(mismatch.last), printable(mismatch.then).c_str());
    text += '"' + printable(mismatch.now) + '"';
  }
  return text;
}

std::string to_text(const Outcome& outcome) {
  const Tally& tally = outcome.tally;
  const double seconds = seconds_of(tally);
  constexpr double kMiB = 1 << 20;
  const double sent = static_cast<double>(tally.sent_bytes) / kMiB;
  const std::uint64_t wanted = outcome.plan.connections.size() * outcome.invocation.pace.repeat;
  std::string text = formatted(
      "%llu of %llu connections completed, %llu failed: to %s at %s in %.3f s; recorded in %.3f "
      "s\n",
      static_cast<unsigned long long>(tally.completed), static_cast<unsigned long long>(wanted),
      static_cast<unsigned long long>(tally.failed), printable(outcome.invocation.to).c_str(),
      speed_text(outcome.invocation.pace.speed).c_str(), seconds, recorded_seconds(outcome.plan));
  text += formatted(
      "%.1f MiB sent (%.1f MiB/s), %.1f MiB received; at most %zu at once\n"
      "behind schedule: connections p50 %.3f ms, p99 %.3f ms, at most %.3f ms, the last %.3f ms; "
      "all else p99 %.3f ms, at most %.3f ms\n",
      sent, seconds > 0 ? sent / seconds : 0, static_cast<double>(tally.received_bytes) / kMiB,
      tally.most_at_once, tally.start_lag.quantile(0.5) / kNsPerMs,
      tally.start_lag.quantile(0.99) / kNsPerMs,
      static_cast<double>(tally.start_lag.max()) / kNsPerMs,
      static_cast<double>(tally.last_start_lag_ns) / kNsPerMs, tally.lag.quantile(0.99) / kNsPerMs,
      static_cast<double>(tally.lag.max()) / kNsPerMs);
  for (const std::string& line : remarks(outcome)) text += line + '\n';
  if (tally.now.total() > 0) text += latency_table(tally);
  if (!outcome.invocation.settings.compare) return text;
  text += formatted("\n%llu answers compared, %llu differ\n",
                    static_cast<unsigned long long>(tally.compared),
                    static_cast<unsigned long long>(tally.different));
  constexpr std::size_t kShown = 20;
  for (std::size_t i = 0; i < std::min(kShown, tally.differences.size()); ++i) {
    const Difference& difference = tally.differences[i];
    text += "  " + printable(difference.id) + ": " + describe(difference) + '\n';
  }
  if (tally.different > kShown) {
    const std::uint64_t more = tally.different - kShown;
    text += formatted("  and %llu more\n", static_cast<unsigned long long>(more));
  }
  return text;
}

json::object to_json(const Outcome& outcome) {
  const Tally& tally = outcome.tally;
  const Plan& plan = outcome.plan;
  json::object failures;
  for (const auto& [why, number] : tally.failures) failures[why] = number;
  json::array differences;
  for (const Difference& difference : tally.differences) differences.push_back(to_json(difference));
  json::object document{
      {"format", "sluice-replay"},
      {"version", 1},
      {"tool", SLUICE_VERSION},
      {"began", outcome.began},
      {"command", valid_utf8(outcome.invocation.command)},
      {"interrupted", outcome.interrupted},
      {"exit_status", status_of(outcome)},
      {"settings", settings_of(outcome)},
      {"capture",
       {{"connections", plan.connections.size()},
        {"client_bytes", plan.client_bytes},
        {"seconds", recorded_seconds(plan)},
        {"without_beginning", plan.without_beginning},
        {"without_client", plan.without_client},
        {"lost", plan.lost},
        {"damaged", plan.damaged}}},
      {"replay",
       {{"seconds", seconds_of(tally)},
        {"connections", tally.connections},
        {"completed", tally.completed},
        {"failed", tally.failed},
        {"failures", std::move(failures)},
        {"cut_at_gap", tally.cut_at_gap},
        {"cut_at_end", tally.cut_at_end},
        {"not_waited_for", tally.not_waited_for},
        {"interrupted", tally.interrupted},
        {"short_answers", tally.short_answers},
        {"answers_by_silence", tally.silent_answers},
        {"waited", tally.waited},
        {"most_at_once", tally.most_at_once},
        {"sent_bytes", tally.sent_bytes},
        {"received_bytes", tally.received_bytes}}},
      {"gaps",
       {{"between_runs", to_json(plan.gaps.between_runs())},
        {"shortened", to_json(plan.gaps.shortened())}}},
      {"lag_us", {{"connections", lag_of_connections(tally)}, {"rest", percentiles_of(tally.lag)}}},
      {"latency_us",
       {{"requests", tally.now.total()},
        {"then", percentiles_of(tally.then)},
        {"now", percentiles_of(tally.now)}}}};
  if (outcome.invocation.settings.compare) {
    json::array answers;
    for (const Compared& answer : tally.answers) answers.push_back(to_json(plan, answer));
    document["compare"] = {{"connections", tally.compared},
                           {"incomparable", tally.incomparable},
                           {"different", tally.different},
                           {"answers", std::move(answers)},
                           {"answers_not_listed", tally.compared - tally.answers.size()},
                           {"differences", std::move(differences)}};
  }
  return document;
}

std::string to_html(const Outcome& outcome) {
  json::object document = to_json(outcome);
  if (json::value* compare = document.if_contains("compare")) compare->as_object().erase("answers");
  json::array& lines = document["remarks"].emplace_array();
  for (const std::string& line : remarks(outcome)) lines.push_back(json::string(line));
  document["curves"] = {{"then", curve_of(outcome.tally.then)},
                        {"now", curve_of(outcome.tally.now)}};
  return report_page("sluice-replay", kReportScript, document);
}

}  // namespace sluice::replay
