#include "tools/ctl/fields.h"

#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>

#include "iolib/base/units.h"
#include "tools/common/figures.h"
#include "tools/ctl/table.h"

namespace sluice::ctl {
namespace {

constexpr const char* kNothing = "-";
// Beyond it a duration is no sensible one, and would not fit in nanoseconds.
constexpr double kMostSeconds = 1e9;

std::string text_of(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return kNothing;
    case json::kind::bool_:
      return value.as_bool() ? "yes" : "no";
    case json::kind::string:
      return cell(value.as_string());
    default:
      return cell(json::serialize(value));
  }
}

std::string size_of(std::optional<double> bytes) { return bytes ? as_bytes(*bytes) : kNothing; }

}  // namespace

std::string text_at(const json::object& object, std::string_view key) {
  const json::value* const value = object.if_contains(key);
  if (value == nullptr) return kNothing;
  if (!value->is_array()) return text_of(*value);
  const json::array& all = value->as_array();
  if (all.empty()) return kNothing;
  const std::string first = text_of(all.front());
  return all.size() == 1 ? first : first + " +" + std::to_string(all.size() - 1);
}

std::string all_at(const json::object& object, std::string_view key) {
  const json::value* const value = object.if_contains(key);
  if (value == nullptr || !value->is_array()) return text_at(object, key);
  std::string all;
  for (const json::value& each : value->as_array()) {
    all += (all.empty() ? "" : ",") + text_of(each);
  }
  return cell(all);
}

std::string size_at(const json::object& object, std::string_view key) {
  return size_of(number_at(object, key));
}

std::string seconds_at(const json::object& object, std::string_view key) {
  const std::optional<double> seconds = number_at(object, key);
  return seconds ? as_seconds(*seconds) : kNothing;
}

std::string flag_at(const json::object& object, std::string_view key) {
  const json::value* const value = object.if_contains(key);
  return value == nullptr || !value->is_bool() ? kNothing : text_of(*value);
}

const json::object* object_at(const json::object& object, std::string_view outer) {
  const json::value* const value = object.if_contains(outer);
  return value == nullptr ? nullptr : value->if_object();
}

std::string size_at(const json::object& object, std::string_view outer, std::string_view key) {
  const json::object* const inner = object_at(object, outer);
  return inner == nullptr ? kNothing : size_at(*inner, key);
}

std::optional<double> number_of(const json::value& value) {
  double number = -1;
  if (value.is_number()) {
    number = value.to_number<double>();
  } else if (value.is_string()) {
    const json::string& text = value.as_string();
    std::uint64_t whole = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, whole);
    if (error != std::errc() || stop != end) return {};
    number = static_cast<double>(whole);
  }
  return std::isfinite(number) && number >= 0 ? std::optional(number) : std::nullopt;
}

std::optional<double> number_at(const json::object& object, std::string_view key) {
  const json::value* const value = object.if_contains(key);
  return value == nullptr ? std::nullopt : number_of(*value);
}

std::optional<double> sum_at(const json::object& object, std::string_view outer) {
  const json::object* const inner = object_at(object, outer);
  if (inner == nullptr) return {};
  double sum = 0;
  for (const auto& [key, value] : *inner) sum += number_of(value).value_or(0);
  return sum;
}

std::string as_seconds(double seconds) {
  constexpr double kMinute = 60;
  if (seconds < kMinute) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.1fs", seconds);
    return text.data();
  }
  if (seconds > kMostSeconds) return "over 30 years";
  return format_duration(std::chrono::seconds(static_cast<std::int64_t>(seconds)));
}

std::string as_rate(double bytes_per_second) {
  return as_bytes(bytes_per_second < 1 ? 0 : bytes_per_second) + "/s";
}

}  // namespace sluice::ctl
