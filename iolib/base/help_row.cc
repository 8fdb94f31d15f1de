#include "iolib/base/help_row.h"

#include <algorithm>

namespace sluice {

std::string help_row(std::string_view left, std::string_view text, std::size_t column) {
  constexpr std::size_t kWidth = 80;
  std::string row = "  " + std::string(left);
  std::size_t at = row.size();
  bool below = at >= column;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
    if (below || (at > column && at + 1 + word.size() > kWidth)) {
      row += '\n';
      at = 0;
    }
    below = false;
    const std::size_t spaces = at < column ? column - at : 1;
    row.append(spaces, ' ').append(word);
    at += spaces + word.size();
  }
  return row + '\n';
}

std::string_view first_sentence(std::string_view text) {
  const std::size_t end = text.find(". ");
  return end == text.npos ? text : text.substr(0, end + 1);
}

}  // namespace sluice
