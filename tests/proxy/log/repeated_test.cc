#include "proxy/log/repeated.h"

#include <gtest/gtest.h>

#include <chrono>
#include <vector>

namespace sluice {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr TimePoint kStart{hours(1)};

TEST(RepeatedTest, TheFirstTimeIsSaidAndThenHowOftenAtGrowingIntervals) {
  Repeated trouble;
  std::vector<std::chrono::seconds> said;
  std::uint64_t times = 0;
  for (seconds at{0}; at < hours(3); at += seconds(1)) {
    const auto line = trouble.happened(kStart + at);
    if (!line) continue;
    said.push_back(at);
    times += *line;
  }
  EXPECT_EQ(said, (std::vector<seconds>{seconds(0), seconds(10), seconds(70), seconds(430),
                                        seconds(2'590), seconds(6'190), seconds(9'790)}));
  EXPECT_EQ(times, 9'791U) << "each time is counted once";
}

TEST(RepeatedTest, AnEndIsSaidIfTheBeginningWas) {
  Repeated trouble;
  EXPECT_EQ(trouble.ended(kStart), std::nullopt);
  EXPECT_EQ(trouble.happened(kStart), 1U);
  EXPECT_EQ(trouble.happened(kStart + seconds(1)), std::nullopt);
  EXPECT_EQ(trouble.ended(kStart + seconds(2)), 2U);
  EXPECT_EQ(trouble.ended(kStart + seconds(2)), std::nullopt);
  // The trouble comes and goes.
  EXPECT_EQ(trouble.happened(kStart + seconds(3)), std::nullopt);
  EXPECT_EQ(trouble.ended(kStart + seconds(4)), std::nullopt);
  EXPECT_EQ(trouble.happened(kStart + seconds(11)), 2U);
  EXPECT_EQ(trouble.ended(kStart + seconds(12)), 2U);
}

TEST(RepeatedTest, ItIsOverOnceItHasBeenCalm) {
  Repeated trouble;
  EXPECT_EQ(trouble.happened(kStart, 3), 3U);
  EXPECT_EQ(trouble.happened(kStart + milliseconds(400), 0), std::nullopt);
  EXPECT_EQ(trouble.ended(kStart + milliseconds(800), milliseconds(500)), std::nullopt);
  EXPECT_EQ(trouble.ended(kStart + milliseconds(900), milliseconds(500)), 3U);
}

TEST(RepeatedTest, AfterAMinuteWithoutTheNextTimeIsAFirstOne) {
  Repeated trouble;
  for (seconds at{0}; at < minutes(30); at += seconds(1)) {
    static_cast<void>(trouble.happened(kStart + at));
  }
  const TimePoint later = kStart + minutes(31);
  EXPECT_TRUE(trouble.happened(later));
  EXPECT_EQ(trouble.happened(later + seconds(9)), std::nullopt);
  EXPECT_EQ(trouble.happened(later + seconds(10)), 2U);
}

TEST(EverySecondTest, TheFirstHasALineAndLaterOnesACountASecond) {
  EverySecond often;
  EXPECT_TRUE(often.happened(kStart));
  EXPECT_FALSE(often.happened(kStart + milliseconds(10)));
  EXPECT_FALSE(often.happened(kStart + milliseconds(999)));
  EXPECT_EQ(often.due(kStart + milliseconds(999)), std::nullopt);
  EXPECT_TRUE(often.is_pending());
  EXPECT_FALSE(often.happened(kStart + seconds(1))) << "it is in the count that is due";
  EXPECT_EQ(often.due(kStart + seconds(1)), 3U);
  EXPECT_FALSE(often.is_pending());
  EXPECT_EQ(often.due(kStart + seconds(3)), std::nullopt);
  EXPECT_TRUE(often.happened(kStart + seconds(3))) << "nothing was logged for a second";
}

}  // namespace
}  // namespace sluice
