#include "iolib/base/units.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

namespace sluice {
namespace {

using namespace std::chrono_literals;

constexpr auto kLongest = std::chrono::nanoseconds::max();

std::chrono::nanoseconds duration(std::string_view text) {
  const auto result = parse_duration(text);
  EXPECT_TRUE(result.has_value()) << text << ": " << result.error().to_string();
  return result.has_value() ? *result : -1ns;
}
std::string duration_error(std::string_view text) {
  const auto result = parse_duration(text);
  return result ? "no error" : result.error().to_string();
}
std::uint64_t size_bytes_of(std::string_view text) {
  const auto result = parse_size_bytes(text);
  EXPECT_TRUE(result.has_value()) << text << ": " << result.error().to_string();
  return result.has_value() ? *result : 0;
}
std::string size_error(std::string_view text) {
  const auto result = parse_size_bytes(text);
  return result ? "no error" : result.error().to_string();
}

TEST(Duration, EachUnitIsItsOwnLength) {
  EXPECT_EQ(duration("7ns"), 7ns);
  EXPECT_EQ(duration("7us"), 7us);
  EXPECT_EQ(duration("200ms"), 200ms);
  EXPECT_EQ(duration("5s"), 5s);
  EXPECT_EQ(duration("5m"), 5min);
  EXPECT_EQ(duration("1h"), 1h);
  EXPECT_EQ(duration("2d"), 48h);
}

TEST(Duration, PartsAddUpWhenTheyFall) {
  EXPECT_EQ(duration("1m30s"), 90s);
  EXPECT_EQ(duration("1d2h3m4s5ms6us7ns"), 26h + 3min + 4s + 5ms + 6us + 7ns);
}

TEST(Duration, ZeroNeedsNoUnit) {
  EXPECT_EQ(duration("0"), 0ns);
  EXPECT_EQ(duration("0s"), 0ns);
}

TEST(Duration, ABareNumberIsRefused) {
  EXPECT_EQ(duration_error("5"),
            "missing unit in \"5\": expected a number with a unit (ns, us, ms, s, m, h, d), as in "
            "200ms, 5s or 1m30s");
  EXPECT_EQ(duration_error("1m30").substr(0, 23), "missing unit in \"1m30\":");
  EXPECT_EQ(duration_error("00").substr(0, 21), "missing unit in \"00\":");
}

TEST(Duration, WhatIsNoNumberIsRefused) {
  for (const char* text : {"", "s", "-5s", "+5s", " 5s", "fast", ".5s"}) {
    EXPECT_EQ(duration_error(text).substr(0, 14), "missing number") << text;
  }
}

TEST(Duration, AnUnknownUnitIsNamed) {
  EXPECT_EQ(duration_error("5sec").substr(0, 29), "unknown unit \"sec\" in \"5sec\":");
  EXPECT_EQ(duration_error("5 s").substr(0, 17), "unknown unit \" s\"");
  EXPECT_EQ(duration_error("1.5s").substr(0, 16), "unknown unit \".\"");
  EXPECT_EQ(duration_error("5H").substr(0, 16), "unknown unit \"H\"");
  EXPECT_EQ(duration_error(std::string_view("5s\0", 3)).substr(0, 20), "unknown unit \"s\\x00\"");
}

TEST(Duration, UnitsOutOfOrderOrTwiceAreRefused) {
  EXPECT_EQ(duration_error("30s1m"),
            "unit out of order in \"30s1m\": expected each unit once, the largest first");
  EXPECT_EQ(duration_error("1s1s").substr(0, 17), "unit out of order");
}

TEST(Duration, TheLongestIsKeptAndOneMoreIsRefused) {
  EXPECT_EQ(duration("9223372036854775807ns"), kLongest);
  EXPECT_EQ(duration_error("9223372036854775808ns"),
            "duration too long in \"9223372036854775808ns\": expected at most 292 years");
  EXPECT_EQ(duration_error("106752d").substr(0, 17), "duration too long");
  EXPECT_EQ(duration_error("106751d24h").substr(0, 17), "duration too long");
  EXPECT_EQ(duration_error("18446744073709551616ns").substr(0, 16), "number too large");
}

TEST(Duration, FormattingGivesBackWhatWasParsed) {
  for (const char* text : {"0s", "1ns", "999us", "1ms500us", "1m30s", "1h", "1d12h", "365d"}) {
    EXPECT_EQ(format_duration(duration(text)), text);
  }
  EXPECT_EQ(format_duration(90s), "1m30s");
  EXPECT_EQ(format_duration(1500ms), "1s500ms");
  EXPECT_EQ(duration(format_duration(kLongest)), kLongest);
}

TEST(Duration, ANegativeOneIsFormattedWithItsSign) {
  EXPECT_EQ(format_duration(-90s), "-1m30s");
  EXPECT_EQ(format_duration(std::chrono::nanoseconds::min()).substr(0, 8), "-106751d");
}

TEST(Size, EachUnitIsItsOwnFactor) {
  EXPECT_EQ(size_bytes_of("4096B"), 4096u);
  EXPECT_EQ(size_bytes_of("64KiB"), 65'536u);
  EXPECT_EQ(size_bytes_of("1MiB"), 1'048'576u);
  EXPECT_EQ(size_bytes_of("2GiB"), 2'147'483'648u);
  EXPECT_EQ(size_bytes_of("1TiB"), 1'099'511'627'776u);
  EXPECT_EQ(size_bytes_of("10kB"), 10'000u);
  EXPECT_EQ(size_bytes_of("5MB"), 5'000'000u);
  EXPECT_EQ(size_bytes_of("1GB"), 1'000'000'000u);
  EXPECT_EQ(size_bytes_of("1TB"), 1'000'000'000'000u);
}

TEST(Size, ZeroNeedsNoUnitAndAnyOtherNumberDoes) {
  EXPECT_EQ(size_bytes_of("0"), 0u);
  EXPECT_EQ(size_bytes_of("0MiB"), 0u);
  EXPECT_EQ(size_error("4096"),
            "missing unit in \"4096\": expected a whole number with a unit (B, KiB, MiB, GiB, TiB, "
            "kB, MB, GB, TB), as in 64KiB");
}

TEST(Size, UnitsOfUnclearFactorAreRefused) {
  for (const char* text : {"1K", "1k", "1KB", "1M", "1mib", "1 MiB", "1MiB "}) {
    EXPECT_EQ(size_error(text).substr(0, 12), "unknown unit") << text;
  }
  EXPECT_EQ(size_error("1.5MiB").substr(0, 16), "unknown unit \".\"");
  EXPECT_EQ(size_error("-1MiB").substr(0, 14), "missing number");
  EXPECT_EQ(size_error("").substr(0, 20), "missing number in \"\"");
  EXPECT_EQ(size_error("1MiB5KiB").substr(0, 20), "more than one number");
}

TEST(Size, TheLargestIsKeptAndOneMoreIsRefused) {
  EXPECT_EQ(size_bytes_of("18446744073709551615B"), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(size_bytes_of("16777215TiB"), std::uint64_t{16'777'215} << 40);
  EXPECT_EQ(size_error("16777216TiB"),
            "size too large in \"16777216TiB\": expected less than 2^64 bytes");
  EXPECT_EQ(size_error("18446744073709551616B").substr(0, 16), "number too large");
}

TEST(Size, FormattingTakesTheShortestTextThatParsesBack) {
  EXPECT_EQ(format_size_bytes(0), "0B");
  EXPECT_EQ(format_size_bytes(1), "1B");
  EXPECT_EQ(format_size_bytes(1 << 20), "1MiB");
  EXPECT_EQ(format_size_bytes(1'000'000), "1MB");
  EXPECT_EQ(format_size_bytes(1'024'000), "1024kB");
  EXPECT_EQ(format_size_bytes(1'500), "1500B");
  const std::vector<std::uint64_t> sizes{
      1, 999, 4'096, 65'536, 1'000'001, 16u << 20, std::numeric_limits<std::uint64_t>::max()};
  for (const std::uint64_t bytes : sizes) EXPECT_EQ(size_bytes_of(format_size_bytes(bytes)), bytes);
}

}  // namespace
}  // namespace sluice
