#include "tools/common/text.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>

#include "iolib/base/text.h"

namespace sluice::capture {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";

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
