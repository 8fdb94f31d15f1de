#include "tools/ctl/table.h"

#include <algorithm>
#include <cassert>
#include <span>
#include <utility>

#include "tools/common/text.h"

namespace sluice::ctl {
namespace {

constexpr std::size_t kMostCell = 200;
constexpr std::string_view kCut = "...";

}  // namespace

std::string cell(std::string_view text) {
  // Escaping never makes text shorter.
  std::string result = capture::printable(text.substr(0, kMostCell + 1));
  if (result.size() > kMostCell) result.replace(kMostCell - kCut.size(), std::string::npos, kCut);
  return result.empty() ? "-" : result;
}

void Table::add(Row row) {
  assert(row.size() == columns_.size());
  rows_.push_back(std::move(row));
}

std::vector<std::string> Table::lines(std::size_t most_rows, std::size_t width) const {
  const std::span<const Row> shown(rows_.data(), std::min(most_rows, rows_.size()));
  Row head;
  for (const Column& column : columns_) head.emplace_back(column.title);
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    std::size_t widest = head[i].size();
    for (const Row& row : shown) widest = std::max(widest, row[i].size());
    widths.push_back(widest);
  }
  std::vector<std::string> result;
  const auto print = [&](const Row& row) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string space(widths[i] - row[i].size(), ' ');
      line += (i == 0 ? "" : "  ") + (columns_[i].right ? space + row[i] : row[i] + space);
    }
    line.resize(std::min(line.size(), width));
    line.erase(line.find_last_not_of(' ') + 1);
    result.push_back(std::move(line));
  };
  print(head);
  for (const Row& row : shown) print(row);
  return result;
}

std::string Table::text() const {
  std::string result;
  for (const std::string& line : lines()) result += line + '\n';
  return result;
}

}  // namespace sluice::ctl
