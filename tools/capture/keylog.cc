#include "tools/capture/keylog.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <string_view>

namespace sluice::capture {
namespace {

enum class Line : std::uint8_t { whole, begun };

// A line is a comment, or a label followed by hexadecimal numbers. The last one may still be
// written.
bool is_secret(std::string_view line, Line state) {
  if (line.empty() || line == "\r" || line.starts_with('#')) return true;
  const std::size_t label = line.find(' ');
  return label != 0 && (label != std::string_view::npos || state == Line::begun) &&
         std::ranges::all_of(line.substr(0, label), [](unsigned char c) {
           return std::isupper(c) != 0 || std::isdigit(c) != 0 || c == '_';
         });
}

}  // namespace

Result<std::string> read_keylog(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(1 << 16, '\0');
  std::string all;
  while (file) {
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    all.append(text, 0, static_cast<std::size_t>(file.gcount()));
    if (all.size() > kMostKeylogBytes) return Error{EFBIG, "read " + path};
  }
  if (!file.eof()) return errno_error("read " + path);
  std::size_t number = 1;
  for (std::size_t from = 0, end = 0; from < all.size(); from = end + 1, ++number) {
    end = std::min(all.find('\n', from), all.size());
    const Line state = end == all.size() ? Line::begun : Line::whole;
    if (!is_secret(std::string_view(all).substr(from, end - from), state)) {
      return Error{0, "--keylog: " + path + ", line " + std::to_string(number) +
                          ": expected a TLS secret, such as CLIENT_RANDOM with two numbers"};
    }
  }
  return all;
}

}  // namespace sluice::capture
