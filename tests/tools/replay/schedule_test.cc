#include "tools/replay/schedule.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <vector>

#include "tests/support/settings.h"
#include "tools/common/command_line.h"
#include "tools/replay/options.h"

namespace sluice::replay {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

const TimePoint kStart = TimePoint(hours(1000));
constexpr std::uint64_t kFirst = 1'790'000'000'000'000'000;  // nanoseconds of a wall clock

const Gaps kNoGaps;

std::uint64_t ns(nanoseconds time) { return static_cast<std::uint64_t>(time.count()); }

TEST(Schedule, IsCountedFromOneStart) {
  const Schedule schedule(kFirst, 1, kStart, kNoGaps);
  EXPECT_EQ(schedule.due(kFirst), kStart);
  EXPECT_EQ(schedule.due(kFirst + 1), kStart + nanoseconds(1));
  EXPECT_EQ(schedule.due(kFirst + ns(hours(1)) + 1), kStart + hours(1) + nanoseconds(1));
}

TEST(Schedule, GoesAsFastAsItIsTold) {
  EXPECT_EQ(Schedule(kFirst, 10, kStart, kNoGaps).due(kFirst + ns(hours(1))),
            kStart + seconds(360));
  EXPECT_EQ(Schedule(kFirst, 0.5, kStart, kNoGaps).due(kFirst + ns(hours(1))), kStart + hours(2));
  EXPECT_EQ(Schedule(kFirst, 0, kStart, kNoGaps).due(kFirst + ns(hours(1))), kStart);
}

TEST(Schedule, OfTimesThatCannotBeIsNeitherBeforeTheStartNorBeyondTheClock) {
  const Schedule schedule(kFirst, 0.001, kStart, kNoGaps);
  EXPECT_EQ(schedule.due(0), kStart);
  EXPECT_GT(schedule.due(~std::uint64_t{0}), kStart + hours(24 * 365));
}

// The clock wakes the replay slightly late each time. The delays must not add up.
TEST(Schedule, DoesNotDriftOverAnHour) {
  std::mt19937_64 random(test::seed());
  for (const double speed : {1.0, 0.5, 7.3, 60.0}) {
    const Schedule schedule(kFirst, speed, kStart, kNoGaps);
    TimePoint now = kStart;
    constexpr int kConnections = 36'000;
    nanoseconds most(0);
    TimePoint exact;
    for (int i = 0; i <= kConnections; ++i) {
      const std::uint64_t at = kFirst + ns(hours(1)) / kConnections * static_cast<unsigned>(i);
      const TimePoint due = schedule.due(at);
      if (due > now) now = due + microseconds(random() % 300);
      most = std::max(most, nanoseconds(now - due));
      exact = kStart +
              nanoseconds(static_cast<std::int64_t>(static_cast<long double>(at - kFirst) / speed));
      ASSERT_LE(std::chrono::abs(due - exact), nanoseconds(1));
    }
    EXPECT_LT(most, milliseconds(1)) << speed;
    EXPECT_LT(now - exact, milliseconds(1)) << speed;
  }
}

// --- What is done when

Action action_after(std::uint64_t answers) {
  Action action;
  action.answers_before = answers;
  return action;
}

TEST(NextStep, IsTakenOnceItIsDue) {
  const Action action = action_after(100);
  const AnswerState ignored{false, 0, false};
  EXPECT_EQ(next_step(action, kStart, kStart - nanoseconds(1), ignored), Step::wait_until_due);
  EXPECT_EQ(next_step(action, kStart, kStart, ignored), Step::act);
  EXPECT_EQ(next_step(action, kStart, kStart + hours(1), ignored), Step::act);
}

TEST(NextStep, WaitsForAsMuchOfTheAnswerAsHadCome) {
  const Action action = action_after(100);
  const TimePoint late = kStart + hours(1);
  EXPECT_EQ(next_step(action, kStart, late, {true, 99, false}), Step::wait_for_answer);
  EXPECT_EQ(next_step(action, kStart, late, {true, 100, false}), Step::act);
  EXPECT_EQ(next_step(action, kStart, late, {true, 5000, false}), Step::act);
  // The answer came sooner than in the recording: the schedule still applies.
  EXPECT_EQ(next_step(action, kStart, kStart - seconds(1), {true, 100, false}),
            Step::wait_until_due);
  // No more bytes will come.
  EXPECT_EQ(next_step(action, kStart, late, {true, 99, true}), Step::act);
}

// --- The options that say so

TEST(Speed, IsANumberOfTimesOrMax) {
  EXPECT_EQ(speed_of("1x"), 1);
  EXPECT_EQ(speed_of("0.5x"), 0.5);
  EXPECT_EQ(speed_of("1000000x"), 1'000'000);
  EXPECT_EQ(speed_of("max"), 0);
  for (const char* text :
       {"", "x", "1", "0x", "-1x", "nanx", "infx", "1xx", "1 x", "2000000x", "0.0001x", "MAX"}) {
    EXPECT_THROW(static_cast<void>(speed_of(text)), Wrong) << text;
  }
}

TEST(IgnoredRanges, AreOrderedAndJoined) {
  const std::vector<Ignored> ranges = ignored_of({"20+5", "0+3", "2+4", "6+1", "30"});
  ASSERT_EQ(ranges.size(), 3U);
  EXPECT_EQ(ranges[0].offset, 0U);
  EXPECT_EQ(ranges[0].bytes, 7U);
  EXPECT_EQ(ranges[1].offset, 20U);
  EXPECT_EQ(ranges[2].bytes, 1U);
  for (const char* text : {"", "+", "1+", "+1", "1+0", "x", "18446744073709551615+2"}) {
    EXPECT_THROW(static_cast<void>(ignored_of({text})), Wrong) << text;
  }
}

}  // namespace
}  // namespace sluice::replay
