#include "iolib/base/units.h"

#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <span>

#include "iolib/base/text.h"

namespace sluice {
namespace {

// Result<T> of an integer T needs this tag: a bare integer converts to an Error (its code) as well.
using boost::system::in_place_value;

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

// Largest first: the units of a duration must decrease, and formatting takes the largest that fits.
constexpr std::array<Unit, 7> kDurationUnits{{
    {"d", 86'400'000'000'000},
    {"h", 3'600'000'000'000},
    {"m", 60'000'000'000},
    {"s", 1'000'000'000},
    {"ms", 1'000'000},
    {"us", 1'000},
    {"ns", 1},
}};
constexpr std::array<Unit, 9> kSizeUnits{{
    {"TiB", std::uint64_t{1} << 40},
    {"TB", 1'000'000'000'000},
    {"GiB", 1 << 30},
    {"GB", 1'000'000'000},
    {"MiB", 1 << 20},
    {"MB", 1'000'000},
    {"KiB", 1 << 10},
    {"kB", 1'000},
    {"B", 1},
}};

constexpr std::string_view kDurationForm =
    "expected a number with a unit (ns, us, ms, s, m, h, d), as in 200ms, 5s or 1m30s";
constexpr std::string_view kSizeForm =
    "expected a whole number with a unit (B, KiB, MiB, GiB, TiB, kB, MB, GB, TB), as in 64KiB";
constexpr std::uint64_t kLongestNanoseconds = std::numeric_limits<std::int64_t>::max();
constexpr std::uint64_t kLargestBytes = std::numeric_limits<std::uint64_t>::max();

/// One number and its unit.
struct Quantity {
  std::uint64_t number = 0;
  std::size_t unit = 0;  // index into the table of units
};

struct Form {
  std::span<const Unit> units;
  std::string_view expected;
  std::string_view too_large;
};
constexpr Form kDuration{kDurationUnits, kDurationForm, "expected at most 292 years"};
constexpr Form kSize{kSizeUnits, kSizeForm, "expected less than 2^64 bytes"};

Result<Quantity> take_quantity(std::string_view text, std::string_view& rest, const Form& form) {
  Quantity quantity;
  const char* const end = rest.data() + rest.size();
  const auto [after, error] = std::from_chars(rest.data(), end, quantity.number);
  if (error == std::errc::result_out_of_range)
    return bad_text("number too large", text, form.too_large);
  if (error != std::errc()) return bad_text("missing number", text, form.expected);
  rest.remove_prefix(static_cast<std::size_t>(after - rest.data()));

  std::size_t length = 0;
  while (length < rest.size() && !is_digit(rest[length])) ++length;
  const std::string_view name = rest.substr(0, length);
  rest.remove_prefix(length);
  if (name.empty()) return bad_text("missing unit", text, form.expected);
  for (; quantity.unit < form.units.size(); ++quantity.unit) {
    if (form.units[quantity.unit].name == name) return quantity;
  }
  return bad_text("unknown unit " + in_quotes(name), text, form.expected);
}

/// number * factor; nullopt if that exceeds `highest`.
std::optional<std::uint64_t> scaled(const Quantity& quantity, const Form& form,
                                    std::uint64_t highest) {
  const std::uint64_t factor = form.units[quantity.unit].factor;
  if (quantity.number > highest / factor) return std::nullopt;
  return quantity.number * factor;
}

}  // namespace

Result<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  if (text == "0") return {in_place_value, 0};
  std::uint64_t total = 0;
  std::size_t next_unit = 0;
  std::string_view rest = text;
  do {
    const Result<Quantity> quantity = take_quantity(text, rest, kDuration);
    if (!quantity) return quantity.error();
    if (quantity->unit < next_unit) {
      return bad_text("unit out of order", text, "expected each unit once, the largest first");
    }
    next_unit = quantity->unit + 1;
    const auto part = scaled(*quantity, kDuration, kLongestNanoseconds);
    if (!part || *part > kLongestNanoseconds - total) {
      return bad_text("duration too long", text, kDuration.too_large);
    }
    total += *part;
  } while (!rest.empty());
  return {in_place_value, static_cast<std::int64_t>(total)};
}

Result<std::uint64_t> parse_size_bytes(std::string_view text) {
  if (text == "0") return {in_place_value, 0u};
  std::string_view rest = text;
  const Result<Quantity> quantity = take_quantity(text, rest, kSize);
  if (!quantity) return quantity.error();
  if (!rest.empty()) return bad_text("more than one number", text, kSizeForm);
  const auto bytes = scaled(*quantity, kSize, kLargestBytes);
  if (!bytes) return bad_text("size too large", text, kSize.too_large);
  return {in_place_value, *bytes};
}

std::string format_duration(std::chrono::nanoseconds duration) {
  if (duration == duration.zero()) return "0s";
  std::string result = duration < duration.zero() ? "-" : "";
  // Unsigned, because the lowest value has no positive counterpart.
  auto left = static_cast<std::uint64_t>(duration.count());
  if (duration < duration.zero()) left = 0 - left;
  for (const Unit& unit : kDurationUnits) {
    if (left < unit.factor) continue;
    result += std::to_string(left / unit.factor);
    result += unit.name;
    left %= unit.factor;
  }
  return result;
}

std::string format_size_bytes(std::uint64_t size_bytes) {
  std::string shortest;
  for (const Unit& unit : kSizeUnits) {
    if (size_bytes % unit.factor != 0 || size_bytes < unit.factor) continue;
    std::string text = std::to_string(size_bytes / unit.factor) + std::string(unit.name);
    if (shortest.empty() || text.size() < shortest.size()) shortest = std::move(text);
  }
  return shortest.empty() ? "0B" : shortest;
}

}  // namespace sluice
