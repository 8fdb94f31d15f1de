#include <string>
#include <vector>

#include "tools/common/html_curves.h"
#include "tools/common/html_page.h"
#include "tools/common/html_text.h"
#include "tools/common/text.h"
#include "tools/replay/report.h"

namespace sluice::replay {
namespace {

using html::escape;
using html::grouped;

html::Look then_look() { return {.colour = 7, .shape = 1, .dash = 1, .competes = false}; }
html::Look now_look() { return {.colour = 0, .shape = 0, .ours = true}; }

html::Curve curve_of(const Histogram& of) {
  html::Curve curve;
  for (const double rank : {50.0, 60.0, 70.0, 75.0, 80.0, 85.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.8,
                            99.9, 99.95, 99.98, 99.99}) {
    curve.emplace_back(rank, percentile(of, rank));
  }
  return curve;
}

std::string facts(const std::vector<std::pair<std::string, std::string>>& lines) {
  std::string text = "<dl class=\"facts\">\n";
  for (const auto& [name, value] : lines) {
    text += "<dt>" + escape(name) + "</dt><dd>" + escape(value) + "</dd>\n";
  }
  return text + "</dl>\n";
}

std::string row(const html::Look& look, const std::string& name, const Histogram& of) {
  std::string text = "<tr class=\"" + html::class_of(look) + "\"><td class=\"who\">" +
                     html::key_of(look) + escape(name) + "</td>";
  for (const auto& [rank, title] : kPercentiles) {
    text += "<td>" + grouped(percentile(of, rank), 1) + "</td>";
  }
  constexpr double kNsPerUs = 1e3;
  return text + "<td>" + grouped(static_cast<double>(of.max()) / kNsPerUs, 1) + "</td></tr>\n";
}

std::string table(const std::string& title,
                  const std::vector<std::tuple<html::Look, std::string, const Histogram*>>& rows) {
  std::string text =
      "<div class=\"wide\"><table><thead><tr><th class=\"who\">" + escape(title) + "</th>";
  for (const auto& [rank, name] : kPercentiles) text += "<th>" + std::string(name) + "</th>";
  text += "<th>most</th></tr></thead><tbody>\n";
  for (const auto& [look, name, histogram] : rows) text += row(look, name, *histogram);
  return text + "</tbody></table></div>\n";
}

std::string latencies(const Tally& tally) {
  if (tally.now.total() == 0) return "<p class=\"soft\">No request was answered.</p>\n";
  const std::string title = "From a request to the first byte of its answer";
  return table("µs", {{then_look(), "then", &tally.then}, {now_look(), "now", &tally.now}}) +
         "<figure><figcaption>" + title +
         " <span>µs at each percentile, less is better; both axes are logarithmic</span>"
         "</figcaption>\n" +
         html::curve_chart(title, {{"then", then_look(), curve_of(tally.then)},
                                   {"now", now_look(), curve_of(tally.now)}}) +
         "</figure>\n";
}

std::string differences(const Outcome& outcome) {
  if (!outcome.invocation.settings.compare) return "";
  const Tally& tally = outcome.tally;
  std::string text = "<section id=\"compare\">\n<h2>Answers compared</h2>\n<p>" +
                     html::counted(tally.compared, "answer") + " compared, of which " +
                     std::to_string(tally.different) + " differ.</p>\n";
  if (tally.differences.empty()) return text + "</section>\n";
  text +=
      "<div class=\"wide\"><table><thead><tr><th class=\"text\">connection</th>"
      "<th class=\"text\">how</th></tr></thead><tbody>\n";
  constexpr std::size_t kShown = 200;
  for (std::size_t i = 0; i < std::min(kShown, tally.differences.size()); ++i) {
    text += "<tr><td class=\"text\">" + escape(capture::printable(tally.differences[i].id)) +
            "</td><td class=\"text\">" + escape(describe(tally.differences[i])) + "</td></tr>\n";
  }
  return text + "</tbody></table></div>\n</section>\n";
}

}  // namespace

std::string to_html(const Outcome& outcome) {
  const Tally& tally = outcome.tally;
  std::string body = "<p class=\"lead\">On " + escape(html::when(outcome.began)) + ", " +
                     html::counted(tally.connections, "connection") + " of a recording to " +
                     escape(capture::valid_utf8(outcome.invocation.to)) + ": " +
                     std::to_string(tally.completed) + " completed, " +
                     std::to_string(tally.failed) + " failed.</p>\n";
  std::string notes;
  for (const std::string& line : remarks(outcome)) notes += "<li>" + escape(line) + "</li>\n";
  if (outcome.interrupted) notes += "<li>The replay was interrupted.</li>\n";
  if (!notes.empty()) body += html::note("<ul>\n" + notes + "</ul>");
  const auto seconds = [](double value) { return grouped(value, 3) + " s"; };
  body += facts(
      {{"recorded in",
        seconds(static_cast<double>(outcome.plan.last_ns - outcome.plan.first_ns) / 1e9)},
       {"replayed in", seconds(std::chrono::duration<double>(tally.ended - tally.began).count())},
       {"sent", html::as_bytes(static_cast<double>(tally.sent_bytes))},
       {"received", html::as_bytes(static_cast<double>(tally.received_bytes))},
       {"requests answered", grouped(static_cast<double>(tally.now.total()), 0)},
       {"connections at once, at most", std::to_string(tally.most_at_once)}});
  body += "<section id=\"latency\">\n<h2>Latency</h2>\n" + latencies(tally) + "</section>\n";
  body += "<section id=\"lag\">\n<h2>Behind schedule</h2>\n" +
          table("µs", {{now_look(), "connections' beginnings", &tally.start_lag},
                       {then_look(), "all else", &tally.lag}}) +
          "</section>\n" + differences(outcome) +
          "<section id=\"repeat\">\n<h2>Repeat this run</h2>\n<pre>" +
          escape(capture::valid_utf8(outcome.invocation.command)) +
          "</pre>\n<p class=\"soft\">sluice-replay " SLUICE_VERSION "</p>\n</section>\n";
  return html::page("sluice-replay, " + html::when(outcome.began), "Then and now", body);
}

}  // namespace sluice::replay
