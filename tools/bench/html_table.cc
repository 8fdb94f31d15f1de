#include "tools/bench/html_table.h"

#include <algorithm>
#include <optional>

#include "tools/bench/best.h"
#include "tools/common/html_text.h"

namespace sluice::bench::html {
namespace {

// The number of columns that fit beside the names at 1024 px.
constexpr std::size_t kMostColumns = 7;
// A table with at most this many columns has room for a ratio beside each median.
constexpr std::size_t kFewColumns = 4;

using Columns = std::vector<std::size_t>;

// Groups consecutive columns of the same part.
std::vector<Columns> by_part(const Section& section) {
  std::vector<Columns> groups;
  for (std::size_t i = 0; i < section.columns.size(); ++i) {
    if (groups.empty() || section.columns[groups.back()[0]].part != section.columns[i].part) {
      groups.emplace_back();
    }
    groups.back().push_back(i);
  }
  return groups;
}

std::vector<std::vector<Columns>> by_table(const Section& section) {
  std::vector<std::vector<Columns>> tables(1);
  std::size_t used = 0;
  for (Columns& group : by_part(section)) {
    if (used > 0 && used + group.size() > kMostColumns) {
      tables.emplace_back();
      used = 0;
    }
    used += group.size();
    tables.back().push_back(std::move(group));
  }
  return tables;
}

bool has_parts(const Section& section) {
  return std::any_of(section.columns.begin(), section.columns.end(),
                     [](const Column& column) { return !column.part.empty(); });
}

// `ratios`: some cell of the column has a ratio, so every cell leaves room for one.
std::string cell(const Figure& figure, const Column& column, bool best, bool first, bool ratios) {
  std::string classes = first ? "first" : "";
  if (best) classes += " best";
  std::string text = "<td" + (classes.empty() ? "" : " class=\"" + classes + '"') + '>';
  if (!figure.value && !ratios) return text + std::string(kNothing) + "</td>";
  text += std::string("<div class=\"v") + (ratios ? " vr" : "") + "\"><span class=\"m\">";
  if (!figure.value) return text + std::string(kNothing) + "</span></div></td>";
  const std::string median = grouped(figure.value->median, column.digits);
  const std::string least = grouped(figure.value->least, column.digits);
  const std::string most = grouped(figure.value->most, column.digits);
  if (best) text += "<span class=\"star\" title=\"best\">★</span>";
  text += median + "</span>";
  // If least and most look the same at this precision, the median is enough.
  if (least != most) text += "<span class=\"s\">" + least + "–<wbr>" + most + "</span>";
  if (figure.ratio) {
    text += std::string("<span class=\"r") + (is_sure(*figure.ratio) ? " sure" : "") +
            "\" title=\"" + as_ratio(figure.ratio->least) + " to " + as_ratio(figure.ratio->most) +
            "\">" + ratio_text(*figure.ratio) + "</span>";
  }
  return text + "</div></td>";
}

std::string heading(const Section& section, const std::vector<Columns>& groups) {
  const bool parts = has_parts(section);
  const std::string_view rows = parts ? " rowspan=\"2\"" : "";
  std::string text = "<thead><tr><th class=\"who\"" + std::string(rows) + ">contender</th>";
  std::string titles;
  for (const Columns& group : groups) {
    const std::string& part = section.columns[group[0]].part;
    if (parts) {
      text += "<th class=\"part\" colspan=\"" + std::to_string(group.size()) + "\">" +
              (part.empty() ? "whole path" : escape(part)) + "</th>";
    }
    for (const std::size_t i : group) {
      const Column& column = section.columns[i];
      titles += std::string("<th") + (parts && i == group[0] ? " class=\"first\"" : "") + '>' +
                escape_breakable(column.title) + "&nbsp;" + direction(column) + "</th>";
    }
  }
  return text + (parts ? "</tr><tr>" : "") + titles + "</tr></thead>\n";
}

std::string who(const Row& row, const Look& look) {
  std::string text = "<td class=\"who\">" + key_of(look) + escape(row.contender);
  if (look.baseline) text += "<span class=\"base\">baseline</span>";
  if (row.valid < row.runs) {
    text += "<span class=\"base\"><span class=\"void\">" + std::to_string(row.valid) + " of " +
            std::to_string(row.runs) + " runs valid</span></span>";
  }
  return text + "</td>";
}

std::string table(const Section& section, const std::vector<Columns>& groups, const Looks& looks) {
  std::size_t width = 0;
  std::vector<std::vector<bool>> best(section.columns.size());
  std::vector<bool> ratios(section.columns.size());
  for (const Columns& group : groups) {
    width += group.size();
    for (const std::size_t i : group) {
      best[i] = best_of(section, i, looks);
      ratios[i] = std::any_of(section.rows.begin(), section.rows.end(),
                              [&](const Row& row) { return row.figures[i].ratio.has_value(); });
    }
  }
  const bool parts = has_parts(section);
  std::string text = "<div class=\"wide\"><table class=\"figures" +
                     std::string(width <= kFewColumns ? " few" : "") + "\">" +
                     heading(section, groups) + "<tbody>\n";
  for (std::size_t r = 0; r < section.rows.size(); ++r) {
    const Row& row = section.rows[r];
    const Look& look = looks.at(row.contender);
    text += "<tr class=\"" + class_of(look) + "\">" + who(row, look);
    for (const Columns& group : groups) {
      for (const std::size_t i : group) {
        text +=
            cell(row.figures[i], section.columns[i], best[i][r], parts && i == group[0], ratios[i]);
      }
    }
    text += "</tr>\n";
  }
  return text + "</tbody></table></div>\n";
}

}  // namespace

std::vector<bool> best_of(const Section& section, std::size_t column, const Looks& looks) {
  const Column& what = section.columns[column];
  if (!what.compared) return std::vector<bool>(section.rows.size());
  std::vector<Candidate> candidates;
  for (const Row& row : section.rows) {
    const auto& value = row.figures[column].value;
    candidates.push_back({value ? std::optional(value->median) : std::nullopt,
                          static_cast<double>(row.valid), looks.at(row.contender).competes});
  }
  return bench::best_of(candidates, what.higher_is_better,
                        [&](double median) { return grouped(median, what.digits); });
}

std::string figures_table(const Section& section, const Looks& looks) {
  std::string text;
  for (const std::vector<Columns>& groups : by_table(section)) {
    text += table(section, groups, looks);
  }
  return text;
}

std::string direction(const Column& column) { return column.higher_is_better ? "↑" : "↓"; }

bool is_sure(const Spread& ratio) { return ratio.least > 1 || ratio.most < 1; }

std::string ratio_text(const Spread& ratio) {
  return (is_sure(ratio) ? "" : "~") + as_ratio(ratio.median);
}

}  // namespace sluice::bench::html
