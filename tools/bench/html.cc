#include "tools/bench/html.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/bench/document.h"
#include "tools/bench/html_chart.h"
#include "tools/bench/html_look.h"
#include "tools/bench/html_model.h"
#include "tools/bench/html_table.h"
#include "tools/bench/names.h"
#include "tools/common/html_page.h"
#include "tools/common/html_text.h"

namespace sluice::bench {
namespace html {
namespace {

std::string in_bytes(const std::string& text) {
  double bytes = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  return error == std::errc{} && bytes >= 0 ? as_bytes(bytes) : text;
}

std::string summary_of(const Report& report) {
  const std::string rounds = fact(report.settings, "rounds");
  std::string text = "<p class=\"lead\">On " + escape(when(report.started)) + ", " +
                     counted(report.programs.size(), "contender") + " carried " +
                     counted(report.sections.size(), "workload");
  if (!rounds.empty()) {
    text += ", " + escape(rounds) + (rounds == "1" ? " round" : " rounds") + " of " +
            escape(fact(report.settings, "seconds")) + " s each after " +
            escape(fact(report.settings, "warmup_seconds")) + " s of warm-up";
  }
  text += ", on a machine with " + escape(fact(report.machine, "cpus")) + " × " +
          escape(fact(report.machine, "cpu")) + " and " +
          escape(in_bytes(fact(report.machine, "memory_bytes"))) + " of memory (" +
          escape(fact(report.machine, "kernel")) + ").";
  if (report.programs.size() > 1) {
    text += " The contenders took turns within each round, every run in a process of its own.";
  }
  return text + "</p>\n<pre>" + escape(report.command) + "</pre>\n";
}

std::string how_to_read(const Report& report, const Looks& looks) {
  const auto item = [](const std::string& sign, const std::string& meaning) {
    return "<li><b>" + sign + "</b> " + meaning + "</li>\n";
  };
  std::string text = "<ul class=\"how\">\n" + item("3.58", "median of the valid rounds") +
                     item("3.02–4.14", "their least and most; in the charts, the whisker") +
                     item("↑ ↓", "more, less is better");
  if (report.programs.size() > 1) {
    text +=
        item("×1.23", "median of the ratios to " + escape(report.baseline) + " in the same round") +
        item("~×1.02", "the rounds do not agree on which is more") +
        item("★", "best of those that compete");
  }
  if (looks.contains(kDirectName)) {
    text += item(std::string(kDirectName), "no forwarder in between: not in the contest");
  }
  if (looks.contains(kControlName)) {
    text += item(std::string(kControlName),
                 "the baseline a second time: what differs no more than this is noise");
  }
  return text + "</ul>\n";
}

// One row of the overview: the workload's first metric.
std::string overview_line(const Section& section, std::size_t number, const Looks& looks,
                          const std::string& ours) {
  std::string text = "<tr><td class=\"text\"><a href=\"#w" + std::to_string(number) + "\">" +
                     escape(section.name) + "</a></td>";
  if (section.columns.empty()) return text + "<td class=\"text\" colspan=\"5\">–</td></tr>\n";
  const Column& column = section.columns[0];
  const std::string part = column.part.empty() ? "" : column.part + ' ';
  text += "<td class=\"text\">" + escape_breakable(part + column.title) + "&nbsp;" +
          direction(column) + "</td>";
  std::string base = "<td>–</td>";
  std::string mine = "<td>–</td><td>–</td>";
  std::string best = "<td class=\"text\">–</td>";
  const std::vector<bool> marked = best_of(section, 0, looks);
  for (std::size_t i = 0; i < section.rows.size(); ++i) {
    const Row& row = section.rows[i];
    const Figure& figure = row.figures[0];
    if (!figure.value) continue;
    const std::string median = grouped(figure.value->median, column.digits);
    if (looks.at(row.contender).baseline) base = "<td>" + median + "</td>";
    if (row.contender == ours) {
      mine = "<td><b>" + median + "</b></td><td>" +
             (figure.ratio ? ratio_text(*figure.ratio) : "–") + "</td>";
    }
    if (marked[i]) {
      best = "<td class=\"text\">" + key_of(looks.at(row.contender)) + escape(row.contender) +
             ", " + median + "</td>";
    }
  }
  return text + base + mine + best + "</tr>\n";
}

std::string overview(const Report& report, const Looks& looks) {
  const auto found =
      std::find_if(looks.begin(), looks.end(), [](const auto& look) { return look.second.ours; });
  // There is nothing to compare.
  if (found == looks.end() || report.programs.size() < 2 || report.sections.empty()) return "";
  const std::string& ours = found->first;
  std::string text =
      "<div class=\"wide\"><table class=\"overview\"><thead><tr><th class=\"text\">workload</th>"
      "<th class=\"text\">first figure</th><th>" +
      escape(report.baseline) + "</th><th>" + escape(ours) + "</th><th>" + escape(ours) +
      " ÷ baseline</th><th class=\"text\">★ best</th></tr></thead><tbody>\n";
  for (std::size_t i = 0; i < report.sections.size(); ++i) {
    text += overview_line(report.sections[i], i + 1, looks, ours);
  }
  return text + "</tbody></table></div>\n";
}

std::string bars(const Section& section, std::size_t column, const Looks& looks, double width) {
  const Column& what = section.columns[column];
  const std::vector<bool> best = best_of(section, column, looks);
  std::vector<Bar> drawn;
  for (std::size_t i = 0; i < section.rows.size(); ++i) {
    const Row& row = section.rows[i];
    drawn.push_back({row.contender, looks.at(row.contender), row.figures[column].value, best[i]});
  }
  const std::string title = (what.part.empty() ? "" : what.part + ' ') + what.title;
  return "<figure data-metric=\"" + escape(what.key) + "\"><figcaption>" + escape(title) +
         " <span>" + (what.higher_is_better ? "more" : "less") +
         " is better</span></figcaption>\n" +
         bar_chart(section.name + ": " + title, drawn, what.digits, width) + "</figure>\n";
}

// The column with the path's CPU time or, if that is unknown, the machine's; none if it is the
// first column, which has its own chart.
std::size_t cpu_column(const Section& section) {
  for (const std::string_view word : {"proxy_cpu", "machine_cpu"}) {
    for (std::size_t i = 1; i < section.columns.size(); ++i) {
      if (section.columns[i].key.starts_with(word)) return i;
    }
  }
  return 0;
}

std::string charts(const Section& section, const Looks& looks) {
  if (section.columns.empty() || section.rows.empty()) return "";
  constexpr double kFirstWidth = 570;
  constexpr double kSecondWidth = 374;
  std::string text = "<div class=\"charts\">\n" + bars(section, 0, looks, kFirstWidth);
  if (const std::size_t cpu = cpu_column(section); cpu != 0) {
    text += bars(section, cpu, looks, kSecondWidth);
  }
  return text + "</div>\n";
}

std::string curves(const Section& section, const Looks& looks) {
  std::set<std::string> parts;
  for (const Row& row : section.rows) {
    for (const auto& [part, curve] : row.curves) parts.insert(part);
  }
  std::string text;
  for (const std::string& part : parts) {
    std::vector<Line> lines;
    for (const Row& row : section.rows) {
      const auto found = row.curves.find(part);
      if (found != row.curves.end()) {
        lines.push_back({row.contender, looks.at(row.contender), found->second});
      }
    }
    const std::string title = "Latency" + (parts.size() > 1 ? " of " + part : std::string());
    const std::string chart = curve_chart(section.name + ": " + title, lines);
    if (chart.empty()) continue;
    text += "<figure data-part=\"" + escape(part) + "\"><figcaption>" + escape(title) +
            " <span>µs at each percentile, less is better; both axes are logarithmic; medians of "
            "the rounds</span></figcaption>\n" +
            chart + "</figure>\n";
  }
  return text;
}

std::string voids(const Section& section) {
  if (section.voids.empty()) return "";
  // A reason appears once per contender, with all its rounds.
  std::vector<std::pair<const VoidRun*, std::string>> grouped_runs;
  for (const VoidRun& run : section.voids) {
    const auto same = std::find_if(grouped_runs.begin(), grouped_runs.end(), [&](const auto& each) {
      return each.first->contender == run.contender && each.first->reason == run.reason;
    });
    if (same == grouped_runs.end()) {
      grouped_runs.emplace_back(&run, run.round);
    } else {
      same->second += ", " + run.round;
    }
  }
  std::string text =
      "<b>" + counted(section.voids.size(), "void run") + ", left out of every figure:</b>\n<ul>\n";
  for (const auto& [run, rounds] : grouped_runs) {
    text += "<li><b>" + escape(run->contender) + "</b>, round" +
            (rounds.find(',') != std::string::npos ? "s " : " ") + escape(rounds) + ": <code>" +
            escape(run->reason.empty() ? "no reason given" : run->reason) + "</code></li>\n";
  }
  return note(text + "</ul>");
}

// The contenders, except `except`, whose figure is at least `least`: "sluice 0.97, A/A 0.95".
std::string where_high(const Section& section, double Row::*figure, double least,
                       std::string_view except = {}) {
  std::string text;
  for (const Row& row : section.rows) {
    if (row.*figure < least || row.contender == except) continue;
    text += (text.empty() ? "" : ", ") + escape(row.contender) + ' ' + grouped(row.*figure, 2);
  }
  return text;
}

// Reasons to distrust the figures.
std::string doubts(const Section& section) {
  std::string text;
  const std::string others = where_high(section, &Row::other_cpus, kMuchOfOthers);
  if (!others.empty()) {
    text += note(
        "<b>Not quiet.</b> CPUs that were busy with neither the ends nor the contender (other "
        "programs, or the kernel's own threads), median: " +
        others + '.');
  }
  const std::string busy = where_high(section, &Row::ends_busiest_thread, kSaturated, kDirectName);
  if (!busy.empty()) {
    text += note(
        "<b>Saturated.</b> One thread of the tool's own ends was busy nearly all the time, and may "
        "be the limit; part of the time, median: " +
        busy + '.');
  }
  const std::string lost = where_high(section, &Row::dump_lost_percent, 0);
  if (!lost.empty()) {
    text +=
        note("<b>Lost.</b> Packets that its tcpdump did not record, in percent of them, median: " +
             lost + '.');
  }
  return text;
}

std::string baseline_missing(const Report& report, const Section& section) {
  if (section.rows.size() < 2) return "";
  for (const Row& row : section.rows) {
    if (row.contender == report.baseline && row.valid > 0) return "";
  }
  return note("The baseline, <b>" + escape(report.baseline) +
              "</b>, has no valid run here: there are no ratios.");
}

std::string loop_text(const std::string& loop) {
  if (loop == "closed loop") return "the next exchange begins when the last one has ended";
  if (loop == "open loop") return "exchanges are due at fixed times, and latency counts from then";
  return "";
}

std::string workload(const Report& report, const Section& section, std::size_t number,
                     const Looks& looks) {
  std::string text = "<section id=\"w" + std::to_string(number) + "\" data-workload=\"" +
                     escape(section.name) + "\">\n<div class=\"head\"><h2>" + escape(section.name) +
                     "</h2>";
  if (!section.loop.empty()) {
    text += "<span class=\"loop\">" + escape(section.loop) + "</span><span class=\"soft\">" +
            loop_text(section.loop) + "</span>";
  }
  text += "</div>\n<p class=\"lead\">" + escape(section.description) + "</p>\n" + voids(section) +
          baseline_missing(report, section) + doubts(section) + figures_table(section, looks) +
          charts(section, looks) + curves(section, looks);
  return text + "</section>\n";
}

using Names = std::vector<std::pair<std::string, std::string>>;

// First the known facts, in the order of `known` and under its names, then the others.
std::string facts_list(const std::map<std::string, std::string, std::less<>>& facts,
                       const Names& known) {
  std::string text = "<dl class=\"facts\">\n";
  const auto line = [&](const std::string& name, const std::string& key, const std::string& value) {
    const bool bytes = key.find("bytes") != std::string::npos;
    const std::string flag = value == "true" ? "yes" : value == "false" ? "no" : value;
    text +=
        "<dt>" + escape(name) + "</dt><dd>" + escape(bytes ? in_bytes(value) : flag) + "</dd>\n";
  };
  std::set<std::string> shown;
  for (const auto& [key, name] : known) {
    const auto found = facts.find(key);
    if (found == facts.end()) continue;
    shown.insert(key);
    line(name, key, found->second);
  }
  for (const auto& [key, value] : facts) {
    if (!shown.contains(key)) line(key, key, value);
  }
  return text + "</dl>\n";
}

std::string program(const Program& program, const Looks& looks) {
  std::string text = "<h3>" + key_of(looks.at(program.name)) + escape(program.name) + "</h3>\n";
  if (!program.version.empty()) text += "<p class=\"label\">" + escape(program.version) + "</p>\n";
  if (program.command.empty()) {
    text += "<p class=\"label\">Nothing is started for it.</p>\n";
  } else {
    text += "<pre>" + escape(program.command) + "</pre>\n";
  }
  if (!program.config.empty()) {
    // An HTML parser drops the first line break in a <pre>. This one protects the file's own.
    text += "<p class=\"label\">{config}</p>\n<pre>\n" + escape(program.config) + "</pre>\n";
  }
  return text;
}

std::string repeat(const Report& report, const Looks& looks) {
  std::string text =
      "<section id=\"repeat\">\n<h2>Repeat this run</h2>\n<pre>" + escape(report.command) +
      "</pre>\n<div class=\"pair\"><div>\n" + "<h3>Settings</h3>\n" +
      facts_list(report.settings, {{"rounds", "rounds"},
                                   {"seconds", "seconds measured"},
                                   {"warmup_seconds", "seconds of warm-up"},
                                   {"servers", "servers"},
                                   {"names", "names in TLS hellos"},
                                   {"network", "network namespace"},
                                   {"verify_bytes", "verified at most, each stream"},
                                   {"verify_all", "everything verified"},
                                   {"syscalls", "system calls"}}) +
      "</div><div>\n<h3>Machine</h3>\n" +
      facts_list(report.machine, {{"cpu", "processor"},
                                  {"cpus", "CPUs"},
                                  {"memory_bytes", "memory"},
                                  {"kernel", "kernel"},
                                  {"congestion_control", "congestion control"},
                                  {"clock_source", "clock source"},
                                  {"filesystem", "filesystem of --dir"},
                                  {"pipe_bytes_granted_of_1MiB", "granted to a pipe of 1 MiB"}}) +
      "</div></div>\n";
  for (const Program& each : report.programs) text += program(each, looks);
  return text + "<p class=\"soft\">sluice-bench " + escape(report.tool) +
         ". In command lines and files, {listen}, {to} and {mirror} are ports, {config} the file "
         "and {dir} a directory of the run's own. A word or a line with {to} is repeated for each "
         "server.</p>\n</section>\n";
}

}  // namespace
}  // namespace html

std::string to_html(const json::object& document) {
  const html::Report report = html::read_report(document);
  const html::Looks looks = html::looks_of(report);
  std::string text = html::summary_of(report);
  if (report.interrupted) {
    text += html::note(
        "<b>This run was interrupted.</b> What had been measured until then follows; some "
        "contenders may have fewer rounds than others, or none.");
  }
  text += html::how_to_read(report, looks) + html::overview(report, looks);
  for (std::size_t i = 0; i < report.sections.size(); ++i) {
    text += html::workload(report, report.sections[i], i + 1, looks);
  }
  return html::page("sluice-bench, " + html::when(report.started), "TCP paths side by side",
                    text + html::repeat(report, looks));
}

}  // namespace sluice::bench
