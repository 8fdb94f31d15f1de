#include "iolib/reactor/timer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "tests/support/settings.h"

namespace sluice {
namespace {

TimePoint at(int tick) { return TimePoint() + std::chrono::milliseconds(tick); }

class TestTimer final : public Timer {
 public:
  std::function<void()> then;
  int expirations = 0;

 private:
  void expired() override {
    ++expirations;
    if (then) then();
  }
};

TEST(TimerTest, ExpiresOnceWhenItIsDueAndNotBefore) {
  TimerQueue queue;
  TestTimer timer;
  queue.set(timer, at(10));
  EXPECT_TRUE(timer.is_set());
  EXPECT_EQ(queue.next(), at(10));
  queue.expire(at(9));
  EXPECT_EQ(timer.expirations, 0);
  queue.expire(at(10));
  EXPECT_EQ(timer.expirations, 1);
  EXPECT_FALSE(timer.is_set());
  EXPECT_TRUE(queue.empty());
  queue.expire(at(20));
  EXPECT_EQ(timer.expirations, 1);
}

TEST(TimerTest, SettingAgainMovesTheDeadlineEitherWay) {
  TimerQueue queue;
  TestTimer timer;
  TestTimer other;
  queue.set(other, at(50));
  queue.set(timer, at(100));
  queue.set(timer, at(10));
  EXPECT_EQ(queue.next(), at(10));
  queue.set(timer, at(200));
  EXPECT_EQ(queue.next(), at(50));
  EXPECT_EQ(timer.deadline(), at(200));
  queue.expire(at(100));
  EXPECT_EQ(timer.expirations, 0);
  EXPECT_EQ(other.expirations, 1);
  queue.expire(at(200));
  EXPECT_EQ(timer.expirations, 1);
}

TEST(TimerTest, ACancelledTimerDoesNotExpire) {
  TimerQueue queue;
  TestTimer timer;
  queue.cancel(timer);
  queue.set(timer, at(1));
  queue.cancel(timer);
  queue.cancel(timer);
  EXPECT_TRUE(queue.empty());
  queue.expire(at(5));
  EXPECT_EQ(timer.expirations, 0);
}

TEST(TimerTest, ATimerThatExpiresMayCancelAnotherThatIsDue) {
  TimerQueue queue;
  TestTimer first;
  TestTimer second;
  first.then = [&] { queue.cancel(second); };
  queue.set(first, at(1));
  queue.set(second, at(2));
  queue.expire(at(5));
  EXPECT_EQ(first.expirations, 1);
  EXPECT_EQ(second.expirations, 0);
}

TEST(TimerTest, ATimerThatExpiresMaySetAnother) {
  TimerQueue queue;
  TestTimer first;
  TestTimer second;
  first.then = [&] { queue.set(second, at(7)); };
  queue.set(first, at(1));
  queue.expire(at(5));
  EXPECT_EQ(second.expirations, 0);
  queue.expire(at(7));
  EXPECT_EQ(second.expirations, 1);
}

// Otherwise it could block the loop, and other timers that are due.
TEST(TimerTest, ATimerThatSetsItselfToThePastWaitsForTheNextCallAndHoldsUpNobody) {
  TimerQueue queue;
  TestTimer eager;
  TestTimer patient;
  TestTimer later;
  eager.then = [&] { queue.set(eager, at(0)); };
  queue.set(eager, at(0));
  queue.set(patient, at(5));
  queue.set(later, at(1000));
  queue.expire(at(10));
  EXPECT_EQ(eager.expirations, 1);
  EXPECT_EQ(patient.expirations, 1);
  queue.expire(at(11));
  EXPECT_EQ(eager.expirations, 2);
  EXPECT_EQ(later.expirations, 0);
}

TEST(TimerTest, ATimerMayBeDestroyedWhenItExpires) {
  TimerQueue queue;
  auto timer = std::make_unique<TestTimer>();
  TestTimer other;
  queue.set(*timer, at(1));
  queue.set(other, at(1));
  timer->then = [&] { timer.reset(); };
  queue.expire(at(1));
  EXPECT_EQ(timer, nullptr);
  EXPECT_EQ(other.expirations, 1);
}

// Random sets, moves and cancellations, compared with a map that is always in order.
TEST(TimerTest, ExpiresInTheOrderOfAReferenceModel) {
  constexpr std::size_t kTimers = 200;
  const int rounds = test::by_scale(2000, 20'000, 200'000);
  std::mt19937_64 random(test::seed());
  TimerQueue queue;
  std::vector<TestTimer> timers(kTimers);
  std::map<std::size_t, TimePoint> model;  // the timers that are set
  std::vector<std::size_t> expired;
  for (std::size_t i = 0; i < kTimers; ++i)
    timers[i].then = [&expired, i] { expired.push_back(i); };

  int now = 0;
  for (int round = 0; round < rounds; ++round) {
    const std::size_t which = random() % kTimers;
    switch (random() % 8) {
      case 0:
        queue.cancel(timers[which]);
        model.erase(which);
        break;
      case 1: {
        now += static_cast<int>(random() % 20);
        std::map<std::size_t, TimePoint> due;
        for (const auto& [index, deadline] : model) {
          if (deadline <= at(now)) due[index] = deadline;
        }
        expired.clear();
        queue.expire(at(now));
        ASSERT_EQ(expired.size(), due.size());
        for (std::size_t i = 0; i < expired.size(); ++i) {
          ASSERT_TRUE(due.contains(expired[i]));
          ASSERT_LE(due[expired[i == 0 ? 0 : i - 1]], due[expired[i]]);
          ASSERT_EQ(model.erase(expired[i]), 1U) << "expired twice";
        }
        break;
      }
      default: {
        const TimePoint deadline = at(now + static_cast<int>(random() % 300));
        queue.set(timers[which], deadline);
        model[which] = deadline;
      }
    }
    ASSERT_EQ(timers[which].is_set(), model.contains(which));
    ASSERT_EQ(queue.empty(), model.empty());
    if (model.empty()) continue;
    const auto first =
        std::min_element(model.begin(), model.end(),
                         [](const auto& a, const auto& b) { return a.second < b.second; });
    ASSERT_EQ(queue.next(), first->second);
  }
}

}  // namespace
}  // namespace sluice
