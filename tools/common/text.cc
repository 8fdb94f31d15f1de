#include "tools/common/text.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>

namespace sluice::capture {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";

// The length in bytes of the UTF-8 character at the start of `text` (RFC 3629, section 4), or 0 if
// it is invalid or a control character from U+0080 to U+009F.
std::size_t character_bytes(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = at(0);
  if (lead < 0x80) return 1;
  const std::size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < size) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((at(i) & 0xc0U) != 0x80) return 0;
  }
  const unsigned second = at(1);
  const bool overlong = (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
  const bool surrogate = lead == 0xed && second > 0x9f;
  const bool too_high = lead == 0xf4 && second > 0x8f;
  const bool control = lead == 0xc2 && second < 0xa0;
  return overlong || surrogate || too_high || control ? 0 : size;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      if (c == '\\') result += '\\';
      result += c;
    } else if (c == '\n' || c == '\r' || c == '\t') {
      result += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else {
      result += "\\x";
      result += kHex[byte >> 4];
      result += kHex[byte & 0xf];
    }
  }
  return result;
}

std::string valid_utf8(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const std::size_t size = character_bytes(text);
    if (size == 0) {
      result += "\xef\xbf\xbd";
    } else {
      result += text.substr(0, size);
    }
    text.remove_prefix(size == 0 ? 1 : size);
  }
  return result;
}

std::string format_time(std::uint64_t wall_ns) {
  constexpr std::uint64_t kNsPerSecond = 1'000'000'000;
  const std::chrono::sys_seconds seconds{
      std::chrono::seconds(static_cast<std::int64_t>(wall_ns / kNsPerSecond))};
  const auto day = std::chrono::floor<std::chrono::days>(seconds);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(seconds - day);
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%09uZ",
                static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()), static_cast<int>(time.hours().count()),
                static_cast<int>(time.minutes().count()), static_cast<int>(time.seconds().count()),
                static_cast<unsigned>(wall_ns % kNsPerSecond));
  return text.data();
}

std::string to_hex(std::span<const std::byte> bytes) {
  std::string result;
  result.reserve(bytes.size() * 2);
  for (const std::byte byte : bytes) {
    result += kHex[static_cast<unsigned>(byte) >> 4];
    result += kHex[static_cast<unsigned>(byte) & 0xf];
  }
  return result;
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string json_end(json::object rest, std::string_view error) {
  if (!error.empty()) rest["error"] = valid_utf8(error);
  // The object's opening brace was printed before the array.
  return (rest.empty() ? "]" : "],") + json::serialize(rest).substr(1);
}

}  // namespace sluice::capture
