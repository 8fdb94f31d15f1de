#include "iolib/balance/source_table.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace sluice::balance {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Verdict = SourceTable::Verdict;

constexpr TimePoint kStart{std::chrono::hours(1)};

SocketAddress from(const std::string& host) { return numeric_address({host, 1234}).value(); }
SocketAddress numbered(std::uint32_t number) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_addr.s_addr = number;
  return SocketAddress(v4);
}

TEST(SourceTableTest, ASourceHasAsManyConnectionsAsItMay) {
  SourceTable table;
  const SourceLimits two{.connections = 2};
  EXPECT_EQ(table.begin(from("10.0.0.1"), two, kStart), Verdict::counted);
  EXPECT_EQ(table.begin(from("10.0.0.1"), two, kStart), Verdict::counted);
  EXPECT_EQ(table.begin(from("10.0.0.1"), two, kStart), Verdict::over_connections);
  EXPECT_EQ(table.begin(from("10.0.0.2"), two, kStart), Verdict::counted);
  table.end(from("10.0.0.1"), kStart);
  EXPECT_EQ(table.begin(from("10.0.0.1"), two, kStart), Verdict::counted);
  EXPECT_EQ(table.size(), 2U);
}

TEST(SourceTableTest, AnIpv6SourceIsItsFirst64Bits) {
  SourceTable table;
  const SourceLimits one{.connections = 1};
  EXPECT_EQ(table.begin(from("2001:db8::1"), one, kStart), Verdict::counted);
  EXPECT_EQ(table.begin(from("2001:db8::ffff:2"), one, kStart), Verdict::over_connections);
  EXPECT_EQ(table.begin(from("2001:db8:0:1::1"), one, kStart), Verdict::counted);
  // The same bits of another family are another source.
  EXPECT_EQ(table.begin(from("32.1.13.184"), one, kStart), Verdict::counted);
}

TEST(SourceTableTest, ARateAllowsASecondOfConnectionsAtOnce) {
  SourceTable table;
  const SourceLimits ten{.per_minute = 600};
  int counted = 0;
  const auto connect = [&](TimePoint now) {
    if (table.begin(from("10.0.0.1"), ten, now) != Verdict::counted) return false;
    ++counted;
    table.end(from("10.0.0.1"), now);
    return true;
  };
  for (int i = 0; i < 100; ++i) static_cast<void>(connect(kStart));
  EXPECT_EQ(counted, 10);
  EXPECT_FALSE(connect(kStart + milliseconds(99)));
  EXPECT_TRUE(connect(kStart + milliseconds(100)));
  EXPECT_FALSE(connect(kStart + milliseconds(199)));
  counted = 0;
  for (int ms = 1'000; ms < 11'000; ++ms) static_cast<void>(connect(kStart + milliseconds(ms)));
  EXPECT_NEAR(counted, 100 + 9, 2) << "what was left of the burst, and 10 a second";
}

TEST(SourceTableTest, ASlowRateAllowsOneAtLeast) {
  SourceTable table;
  const SourceLimits limits{.per_minute = 1};
  EXPECT_EQ(table.begin(from("10.0.0.1"), limits, kStart), Verdict::counted);
  table.end(from("10.0.0.1"), kStart);
  EXPECT_EQ(table.size(), 1U) << "its rate is remembered";
  EXPECT_EQ(table.begin(from("10.0.0.1"), limits, kStart + seconds(59)), Verdict::over_rate);
  EXPECT_EQ(table.begin(from("10.0.0.1"), limits, kStart + seconds(60)), Verdict::counted);
  table.end(from("10.0.0.1"), kStart + seconds(121));
  EXPECT_EQ(table.size(), 0U);
}

TEST(SourceTableTest, WithoutLimitsInForceASourceIsForgottenWithItsLastConnection) {
  SourceTable table;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(table.begin(from("10.0.0.1"), {}, kStart), Verdict::counted);
  }
  for (int i = 0; i < 3; ++i) table.end(from("10.0.0.1"), kStart);
  EXPECT_EQ(table.size(), 0U);
}

TEST(SourceTableTest, AMillionSourcesAreCountedAndFurtherOnesComeInUncounted) {
  SourceTable table;
  const SourceLimits one{.connections = 1};
  for (std::uint32_t i = 0; i < SourceTable::kMostSources; ++i) {
    ASSERT_EQ(table.begin(numbered(i), one, kStart), Verdict::counted) << i;
  }
  EXPECT_EQ(table.size(), SourceTable::kMostSources);
  EXPECT_FALSE(table.take_overflow());
  const SocketAddress late = numbered(SourceTable::kMostSources);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(table.begin(late, one, kStart), Verdict::uncounted);
  EXPECT_EQ(table.begin(numbered(7), one, kStart), Verdict::over_connections)
      << "known ones are still limited";
  EXPECT_TRUE(table.take_overflow());
  EXPECT_FALSE(table.take_overflow()) << "said once";
  for (std::uint32_t i = 0; i < SourceTable::kMostSources; ++i) table.end(numbered(i), kStart);
  EXPECT_EQ(table.size(), 0U);
  EXPECT_EQ(table.begin(late, one, kStart), Verdict::counted);
}

TEST(SourceTableTest, RatesThatAreOverMakeRoomInAFullTable) {
  SourceTable table(1'000);
  const SourceLimits rate{.per_minute = 60};
  for (std::uint32_t i = 0; i < 1'000; ++i) {
    ASSERT_EQ(table.begin(numbered(i), rate, kStart), Verdict::counted);
    table.end(numbered(i), kStart);
  }
  EXPECT_EQ(table.size(), 1'000U);
  int uncounted = 0;
  const TimePoint later = kStart + seconds(2);
  for (std::uint32_t i = 2'000; i < 3'000; ++i) {
    if (table.begin(numbered(i), rate, later) == Verdict::uncounted) ++uncounted;
  }
  EXPECT_LE(table.size(), 1'000U);
  EXPECT_LT(uncounted, 500) << "only where a shard has nothing to forget";
}

TEST(SourceTableTest, AgreesWithASimpleCountInRandomOrder) {
  std::mt19937_64 random(21);
  SourceTable table;
  const SourceLimits limits{.connections = 3};
  std::map<std::uint32_t, std::uint32_t> active;
  for (int step = 0; step < 200'000; ++step) {
    const auto source = static_cast<std::uint32_t>(random() % 3'000);
    if (random() % 2 == 0) {
      const bool counted = table.begin(numbered(source), limits, kStart) == Verdict::counted;
      ASSERT_EQ(counted, active[source] < 3) << step;
      if (counted) ++active[source];
    } else if (active[source] > 0) {
      table.end(numbered(source), kStart);
      --active[source];
    }
  }
}

TEST(SourceTableTest, ThreadsShareIt) {
  SourceTable table;
  const SourceLimits limits{.connections = 50};
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (std::uint32_t step = 0; step < 20'000; ++step) {
        if (table.begin(numbered(step % 100), limits, kStart) == Verdict::counted) {
          table.end(numbered(step % 100), kStart);
        }
      }
    });
  }
  threads.clear();
  EXPECT_EQ(table.size(), 0U);
}

}  // namespace
}  // namespace sluice::balance
