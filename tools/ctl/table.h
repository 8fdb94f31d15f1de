#pragma once

#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::ctl {

/// A cell of text from the daemon: printable ASCII, and not too long for a line.
[[nodiscard]] std::string cell(std::string_view text);

/// For numbers: aligned to the right.
inline constexpr bool kRight = true;

struct Column {
  const char* title;
  bool right = false;
};

/// Rows in aligned columns. The cells are printable ASCII.
class Table {
 public:
  using Row = std::vector<std::string>;
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// A row has a cell for each column.
  void add(Row row);
  [[nodiscard]] std::size_t rows() const { return rows_.size(); }

  /// The head and the first rows, as lines of at most `width` characters.
  [[nodiscard]] std::vector<std::string> lines(
      std::size_t most_rows = std::numeric_limits<std::size_t>::max(),
      std::size_t width = std::numeric_limits<std::size_t>::max()) const;
  /// All of it as text.
  [[nodiscard]] std::string text() const;

 private:
  std::vector<Column> columns_;
  std::vector<Row> rows_;
};

}  // namespace sluice::ctl
