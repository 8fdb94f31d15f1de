#include "tools/common/html_text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace sluice::html {
namespace {

std::string formatted(const char* format, int digits, double value) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), format, digits, value);
  return text.data();
}

}  // namespace

std::string escape(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default: {
        constexpr unsigned char kFirstPrintable = 0x20;
        constexpr unsigned char kDelete = 0x7f;
        const auto byte = static_cast<unsigned char>(c);
        const bool control = (byte < kFirstPrintable && c != '\n' && c != '\t') || byte == kDelete;
        control ? escaped += "\ufffd" : escaped += c;
      }
    }
  }
  return escaped;
}

std::string escape_breakable(std::string_view text) {
  std::string broken;
  for (const char c : escape(text)) {
    broken += c;
    if (c == '/') broken += "<wbr>";
  }
  return broken;
}

std::size_t length_of(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U;
  }));
}

std::string shorten(std::string_view text, std::size_t most) {
  if (length_of(text) <= most) return std::string(text);
  std::size_t end = 0;
  for (std::size_t characters = 0; end < text.size(); ++end) {
    const bool begins = (static_cast<unsigned char>(text[end]) & 0xc0U) != 0x80U;
    if (begins && ++characters == most) break;
  }
  return std::string(text.substr(0, end)) + "…";
}

std::string grouped(double value, int digits) {
  constexpr double kMost = 1e15;
  if (!std::isfinite(value)) return std::string(kNothing);
  if (std::abs(value) >= kMost) return formatted("%.*g", 6, value);
  std::string text = formatted("%.*f", digits, value);
  const std::size_t begin = text.starts_with('-') ? 1 : 0;
  constexpr std::size_t kGroup = 3;
  for (std::size_t at = std::min(text.find('.'), text.size()); at > begin + kGroup;) {
    at -= kGroup;
    text.insert(at, 1, ',');
  }
  return text;
}

std::string as_ratio(double value) {
  constexpr double kSmall = 0.1;
  return "×" + grouped(value, value < kSmall ? 3 : 2);
}

std::string as_bytes(double bytes) {
  constexpr double kUnit = 1024;
  constexpr std::array<const char*, 5> kNames{"bytes", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (bytes >= kUnit && unit + 1 < kNames.size()) {
    bytes /= kUnit;
    ++unit;
  }
  return grouped(bytes, bytes == std::floor(bytes) ? 0 : 1) + ' ' + kNames[unit];
}

std::string coordinate(double value) {
  std::string text = formatted("%.*f", 2, value);
  while (text.ends_with('0')) text.pop_back();
  if (text.ends_with('.')) text.pop_back();
  return text == "-0" ? "0" : text;
}

std::string line_element(std::string_view name, double x1, double y1, double x2, double y2) {
  std::string line = "<line class=\"";
  line.append(name).append("\" x1=\"").append(coordinate(x1));
  line.append("\" y1=\"").append(coordinate(y1)).append("\" x2=\"").append(coordinate(x2));
  return line.append("\" y2=\"").append(coordinate(y2)).append("\"/>");
}

std::string text_element(std::string_view anchor, double x, double y, std::string_view text) {
  std::string element = "<text text-anchor=\"";
  element.append(anchor).append("\" x=\"").append(coordinate(x)).append("\" y=\"");
  return element.append(coordinate(y)).append("\">").append(escape(text)).append("</text>\n");
}

}  // namespace sluice::html
