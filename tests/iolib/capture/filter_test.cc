#include "iolib/capture/filter.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <string_view>

#include "tests/support/capture_builder.h"

namespace sluice::capture {
namespace {

bool contains(const char* range, const char* host) {
  const Result<Cidr> parsed = Cidr::parse(range);
  if (!parsed) throw std::runtime_error(parsed.error().to_string());
  return parsed->contains(*numeric_address({host, 0}));
}

TEST(Cidr, ContainsWhatItsPrefixSays) {
  EXPECT_TRUE(contains("10.0.0.0/8", "10.255.0.1"));
  EXPECT_FALSE(contains("10.0.0.0/8", "11.0.0.1"));
  EXPECT_TRUE(contains("10.1.2.3", "10.1.2.3"));
  EXPECT_FALSE(contains("10.1.2.3", "10.1.2.2"));
  EXPECT_TRUE(contains("192.168.1.128/25", "192.168.1.200"));
  EXPECT_FALSE(contains("192.168.1.128/25", "192.168.1.100"));
  EXPECT_TRUE(contains("0.0.0.0/0", "1.2.3.4"));
  EXPECT_FALSE(contains("0.0.0.0/0", "::1"));
  EXPECT_TRUE(contains("2001:db8::/33", "2001:db8:7fff::1"));
  EXPECT_FALSE(contains("2001:db8::/33", "2001:db8:8000::1"));
  EXPECT_TRUE(contains("::1", "::1"));
}

TEST(Cidr, OfAnotherFormIsRefused) {
  for (const char* text :
       {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x", "10.0.0.1/8", "::1/129",
        "fe80::1%lo", "host", "10.0.0.0/8/8", "10.0/8"}) {
    EXPECT_FALSE(Cidr::parse(text)) << text;
  }
  EXPECT_FALSE(Cidr::parse(std::string_view("10.0.0.1\0x", 10)));
}

TEST(Time, IsReadInEveryForm) {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  EXPECT_EQ(*parse_time("@0"), 0U);
  EXPECT_EQ(*parse_time("@1.5"), kSecond + kSecond / 2);
  EXPECT_EQ(*parse_time("1970-01-02"), 86'400 * kSecond);
  EXPECT_EQ(*parse_time("1970-01-01T00:00:01Z"), kSecond);
  EXPECT_EQ(*parse_time("1970-01-01T02:00:01.000000007+02:00"), kSecond + 7);
  EXPECT_EQ(*parse_time("2026-01-01T00:00:00Z"), 1'767'225'600 * kSecond);
  EXPECT_EQ(*parse_time("2024-02-29T23:59:59-00:30"), (1'709'251'199 + 1800) * kSecond);
}

TEST(Time, OfAnotherFormIsRefused) {
  for (const char* text :
       {"", "@", "@x", "@-1", "@99999999999", "now", "2026-13-01", "2026-02-29", "2026-1-1",
        "2026-01-01T", "2026-01-01T00:00Z", "2026-01-01T00:00:00", "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00+2:00", "1969-12-31", "9999-01-01",
        "2026-01-01T00:00:00Zx", "-026-01-01"}) {
    EXPECT_FALSE(parse_time(text)) << text;
  }
}

TEST(Filter, TakesConnectionsByEitherEnd) {
  const OpenInfo info = test::open_info(5);  // 10.0.0.5:4000 to 127.0.0.1:80
  Filter filter;
  EXPECT_TRUE(filter.takes(info));
  filter.ports = {80};
  EXPECT_TRUE(filter.takes(info));
  filter.ports = {4000, 1};
  EXPECT_TRUE(filter.takes(info));
  filter.ports = {81};
  EXPECT_FALSE(filter.takes(info));
  filter.ports.clear();
  filter.peers = {*Cidr::parse("127.0.0.0/8")};
  EXPECT_TRUE(filter.takes(info));
  filter.route = "other";
  EXPECT_FALSE(filter.takes(info));
}

TEST(Filter, TakesNoPeerThatHasNoAddress) {
  OpenInfo info = test::open_info(5);
  Filter filter;
  filter.peers = {*Cidr::parse("0.0.0.0/0")};
  for (const char* peer : {"unix:", "unix:/x", "discard:", "", "garbage", "host:80", "1.2.3.4"}) {
    info.client = info.upstream = peer;
    EXPECT_FALSE(filter.takes(info)) << peer;
  }
  info.client = "[::ffff]:1";
  EXPECT_FALSE(filter.takes(info));
}

TEST(Filter, TakesTimesFromOneUntilBeforeTheOther) {
  Filter filter;
  filter.from_ns = 10;
  filter.until_ns = 20;
  EXPECT_FALSE(filter.takes_time(9));
  EXPECT_TRUE(filter.takes_time(10));
  EXPECT_TRUE(filter.takes_time(19));
  EXPECT_FALSE(filter.takes_time(20));
}

}  // namespace
}  // namespace sluice::capture
