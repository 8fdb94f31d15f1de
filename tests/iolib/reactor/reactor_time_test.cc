#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "iolib/reactor/task.h"
#include "tests/iolib/reactor/reactor_fixture.h"
#include "tests/support/socket_pair.h"
#include "tests/support/sockets.h"
#include "tests/support/wait.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using test::SocketPair;
using test::tcp_pair;

// Timers, waits with a deadline, the mailbox, and how the loop begins and ends.
template <class Engine>
class ReactorTimeTest : public ReactorTest<Engine> {
 protected:
  Task<> sleep(TimePoint deadline, std::string name, std::vector<std::string>& woken) {
    co_await this->reactor().sleep_until(deadline);
    if (Clock::now() < deadline) name += " too early";
    woken.push_back(name);
    this->checkpoint_.check();
  }
  Task<> send_at(TimePoint time, int fd) {
    co_await this->reactor().sleep_until(time);
    EXPECT_TRUE(test::send_all(fd, "x"));
  }
  Task<> wait_readable(int fd, TimePoint deadline, int& result) {
    result = co_await this->reactor().readable(fd, deadline);
    this->checkpoint_.check();
  }
  Task<> wait_writable(int fd, TimePoint deadline, int& result) {
    result = co_await this->reactor().writable(fd, deadline);
    this->checkpoint_.check();
  }
};

TYPED_TEST_SUITE(ReactorTimeTest, Reactors, ReactorNames);

TYPED_TEST(ReactorTimeTest, SleepersWakeInTheOrderOfTheirDeadlinesAndNotBefore) {
  std::vector<std::string> woken;
  const TimePoint start = Clock::now();
  const Task<> late = this->sleep(start + 30ms, "late", woken);
  const Task<> early = this->sleep(start + 10ms, "early", woken);
  const Task<> past = this->sleep(start - 1h, "past", woken);
  for (const Task<>* task : {&late, &early, &past}) task->start();
  EXPECT_TRUE(woken.empty()) << "a sleeper goes on from the loop, not from where it lay down";
  ASSERT_TRUE(this->run_until([&] { return woken.size() == 3; }));
  EXPECT_EQ(woken, (std::vector<std::string>{"past", "early", "late"}));
  EXPECT_TRUE(late.done() && early.done() && past.done());
}

// Waits of whole milliseconds would be late by 0.9 ms each time. A busy machine is sometimes much
// later, so a quartile counts.
TYPED_TEST(ReactorTimeTest, DeadlinesAreKeptToWellBelowAMillisecond) {
  constexpr Duration kMost = 500us;
  constexpr std::size_t kSleeps = 21;
  constexpr int kTries = 10;
  Duration lower_quartile = 1h;
  for (int i = 0; i < kTries && lower_quartile >= kMost; ++i) {
    std::vector<Duration> late;
    while (late.size() < kSleeps) {
      std::vector<std::string> woken;
      const TimePoint deadline = Clock::now() + 2100us;
      const Task<> sleeper = this->sleep(deadline, "woken", woken);
      sleeper.start();
      ASSERT_TRUE(this->run_until([&] { return !woken.empty(); }));
      EXPECT_EQ(woken.front(), "woken");
      late.push_back(Clock::now() - deadline);
    }
    std::ranges::sort(late);
    lower_quartile = late[kSleeps / 4];
  }
  EXPECT_LT(lower_quartile, kMost);
}

// One deadline earlier than the one that the loop waits for, and one later.
TYPED_TEST(ReactorTimeTest, ADeadlineThatIsMovedIsKept) {
  std::vector<std::string> woken;
  const TimePoint start = Clock::now();
  const Task<> late = this->sleep(start + 40ms, "late", woken);
  const Task<> early = this->sleep(start + 20ms, "early", woken);
  late.start();
  this->settle();
  early.start();
  this->settle();
  ASSERT_TRUE(this->run_until([&] { return woken.size() == 2; }));
  EXPECT_EQ(woken, (std::vector<std::string>{"early", "late"}));
  EXPECT_TRUE(this->sleeps_for(50ms)) << "something still wakes the loop";
}

TYPED_TEST(ReactorTimeTest, ASleeperCanSleepAgainAndAgain) {
  std::vector<std::string> woken;
  std::vector<Task<>> tasks;
  for (int i = 0; i < 100; ++i) {
    tasks.push_back(this->sleep(Clock::now() + i * 100us, std::to_string(i), woken));
    tasks.back().start();
  }
  ASSERT_TRUE(this->run_until([&] { return woken.size() == 100; }));
  for (std::size_t i = 0; i < woken.size(); ++i) EXPECT_EQ(woken[i], std::to_string(i));
}

TYPED_TEST(ReactorTimeTest, TimersAreServedWhileTheLoopIsBusy) {
  const SocketPair pair = tcp_pair();
  ASSERT_TRUE(test::send_all(pair.far.get(), "x"));
  const auto wait = this->probe();
  // Always readable, so the loop never waits.
  wait->then = [&](const Probe::Seen&) { this->reactor().wait_readable(pair.near.get(), *wait); };
  this->reactor().wait_readable(pair.near.get(), *wait);
  std::vector<std::string> woken;
  const Task<> sleeper = this->sleep(Clock::now() + 5ms, "woken", woken);
  sleeper.start();
  ASSERT_TRUE(this->run_until([&] { return !woken.empty(); }));
  EXPECT_EQ(woken.front(), "woken");
  wait->then = nullptr;
}

// The process was stopped or starved for longer than a time-out. More has arrived meanwhile than
// one turn handles, and none of it is late.
TYPED_TEST(ReactorTimeTest, EverythingThatCameMeanwhileIsHandledBeforeADeadlineIsJudged) {
  constexpr std::size_t kMany = 300;
  std::vector<SocketPair> pairs;
  std::vector<std::unique_ptr<Probe>> receives;
  for (std::size_t i = 0; i < kMany; ++i) {
    pairs.push_back(test::unix_pair());
    receives.push_back(this->probe());
    this->reactor().receive(pairs.back().near.get(), *receives.back());
  }
  this->settle();
  std::vector<std::string> woken;
  const Task<> sleeper = this->sleep(Clock::now() + 1ms, "woken", woken);
  sleeper.start();
  for (const SocketPair& pair : pairs) ASSERT_TRUE(test::send_all(pair.far.get(), "x"));
  std::this_thread::sleep_for(100ms);
  std::ptrdiff_t late = -1;
  ASSERT_TRUE(this->run_until([&] {
    // At the moment when the sleeper wakes.
    if (woken.empty()) return false;
    late = std::ranges::count_if(receives, [](const auto& each) { return each->in_flight(); });
    return true;
  }));
  EXPECT_EQ(late, 0);
}

// More than one turn handles, and each completes again and again.
TYPED_TEST(ReactorTimeTest, StreamsWithoutEndKeepNeitherTimersNorTheMailboxWaiting) {
  constexpr std::size_t kMany = 300;
  std::vector<SocketPair> pairs;
  std::vector<std::unique_ptr<Probe>> waits;
  for (std::size_t i = 0; i < kMany; ++i) {
    pairs.push_back(test::unix_pair());
    ASSERT_TRUE(test::send_all(pairs.back().far.get(), "x"));
    waits.push_back(this->probe());
    const auto again = [this, fd = pairs.back().near.get(), wait = waits.back().get()](auto&&) {
      this->reactor().wait_readable(fd, *wait);
    };
    waits.back()->then = again;
    again(0);
  }
  std::vector<std::string> woken;
  const Task<> sleeper = this->sleep(Clock::now() + 1ms, "woken", woken);
  sleeper.start();
  ASSERT_TRUE(this->run_until([&] { return !woken.empty(); }));
  for (const auto& wait : waits) wait->then = nullptr;
}

// Idle requests do not lengthen a turn. If the machine takes the CPU away for long, the loop
// catches up.
TYPED_TEST(ReactorTimeTest, TimersOfABusyLoopDoNotWaitTheLongerForThoseThatRest) {
  constexpr std::size_t kResting = 400;
  constexpr std::size_t kFewTurns = 4 * 256;
  constexpr int kTries = 10;
  std::vector<SocketPair> pairs;
  std::vector<std::unique_ptr<Probe>> receives;
  for (std::size_t i = 0; i < kResting; ++i) {
    pairs.push_back(test::unix_pair());
    receives.push_back(this->probe());
    this->reactor().receive(pairs.back().near.get(), *receives.back());
  }
  const SocketPair pair = tcp_pair();
  ASSERT_TRUE(test::send_all(pair.far.get(), "x"));
  const auto wait = this->probe();
  TimePoint deadline = Clock::now();
  std::size_t since_deadline = 0;
  wait->then = [&](const Probe::Seen&) {
    if (Clock::now() > deadline) ++since_deadline;
    this->reactor().wait_readable(pair.near.get(), *wait);
  };
  this->reactor().wait_readable(pair.near.get(), *wait);
  std::size_t least = ~std::size_t{0};
  for (int i = 0; i < kTries && least > kFewTurns; ++i) {
    std::vector<std::string> woken;
    deadline = Clock::now() + 2ms;
    since_deadline = 0;
    const Task<> sleeper = this->sleep(deadline, "woken", woken);
    sleeper.start();
    ASSERT_TRUE(this->run_until([&] { return !woken.empty(); }));
    least = std::min(least, since_deadline);
  }
  EXPECT_LE(least, kFewTurns);
  wait->then = nullptr;
}

TYPED_TEST(ReactorTimeTest, AWaitEndsAtItsDeadline) {
  const SocketPair pair = tcp_pair();
  int result = 0;
  const TimePoint deadline = Clock::now() + 10ms;
  const Task<> waiting = this->wait_readable(pair.near.get(), deadline, result);
  waiting.start();
  ASSERT_TRUE(this->run_until([&] { return result != 0; }));
  EXPECT_EQ(result, -ETIMEDOUT);
  EXPECT_GE(Clock::now(), deadline);
  // The descriptor is free for the next request.
  ASSERT_TRUE(test::send_all(pair.far.get(), "x"));
  int again = 0;
  const Task<> second = this->wait_readable(pair.near.get(), Clock::now() + 1h, again);
  second.start();
  ASSERT_TRUE(this->run_until([&] { return again != 0; }));
  EXPECT_GT(again, 0);
}

TYPED_TEST(ReactorTimeTest, AWaitWhoseDeadlineHasPassedStillEndsOnce) {
  const SocketPair pair = tcp_pair();
  int result = 0;
  const Task<> waiting = this->wait_readable(pair.near.get(), Clock::now() - 1s, result);
  waiting.start();
  ASSERT_TRUE(this->run_until([&] { return result != 0; }));
  EXPECT_EQ(result, -ETIMEDOUT);
}

// Neither when the deadline has passed before the wait begins, nor when the wait is cancelled for
// it.
TYPED_TEST(ReactorTimeTest, WhatHasComeBeatsADeadlineThatHasPassed) {
  const SocketPair pair = tcp_pair();
  ASSERT_TRUE(test::send_all(pair.far.get(), "x"));
  int readable = 0;
  int writable = 0;
  const TimePoint past = Clock::now() - 1s;
  const Task<> reading = this->wait_readable(pair.near.get(), past, readable);
  const Task<> writing = this->wait_writable(pair.near.get(), past, writable);
  reading.start();
  writing.start();
  ASSERT_TRUE(this->run_until([&] { return readable != 0 && writable != 0; }));
  EXPECT_GT(readable, 0);
  EXPECT_GT(writable, 0);
}

TYPED_TEST(ReactorTimeTest, WhatComesWhileAWaitIsTakenBackIsNotLate) {
  const SocketPair pair = tcp_pair();
  int result = 0;
  const TimePoint deadline = Clock::now() + 1ms;
  const Task<> waiting = this->wait_readable(pair.near.get(), deadline, result);
  waiting.start();
  // Expires right after the wait.
  const Task<> sender = this->send_at(deadline + 1ns, pair.far.get());
  sender.start();
  std::this_thread::sleep_for(2ms);
  ASSERT_TRUE(this->run_until([&] { return result != 0; }));
  EXPECT_GT(result, 0);
}

TYPED_TEST(ReactorTimeTest, AWaitThatSucceedsLeavesNoTimerBehind) {
  const SocketPair pair = tcp_pair();
  int result = 0;
  {
    const Task<> waiting = this->wait_writable(pair.near.get(), Clock::now() + 20ms, result);
    waiting.start();
    ASSERT_TRUE(this->run_until([&] { return result != 0; }));
    EXPECT_GT(result, 0);
  }
  // The deadline passes; a timer that still expires would touch a frame that is gone.
  EXPECT_TRUE(this->sleeps_for(40ms));
}

// --- Mailbox

TYPED_TEST(ReactorTimeTest, PostedWorkRunsLaterAndInOrder) {
  std::vector<int> ran;
  for (int i = 0; i < 100; ++i) {
    this->reactor().post([this, &ran, i] {
      ran.push_back(i);
      this->checkpoint_.check();
    });
  }
  EXPECT_TRUE(ran.empty());
  ASSERT_TRUE(this->run_until([&] { return ran.size() == 100; }));
  for (std::size_t i = 0; i < ran.size(); ++i) EXPECT_EQ(ran[i], static_cast<int>(i));
}

TYPED_TEST(ReactorTimeTest, WorkPostedByWorkRunsToo) {
  int ran = 0;
  this->reactor().post([&] {
    this->reactor().post([&] {
      ++ran;
      this->checkpoint_.check();
    });
    EXPECT_EQ(ran, 0);
  });
  EXPECT_TRUE(this->run_until([&] { return ran == 1; }));
}

TYPED_TEST(ReactorTimeTest, ManyThreadsPostEachInItsOwnOrder) {
  constexpr std::size_t kThreads = 4;
  const int posts = test::by_scale(500, 5000, 50'000);
  std::vector<int> next(kThreads, 0);
  std::size_t ran = 0;
  bool in_order = true;
  const std::thread::id loop = std::this_thread::get_id();
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < posts; ++i) {
        this->reactor().post([&, thread, i] {
          in_order = in_order && next[thread] == i && std::this_thread::get_id() == loop;
          ++next[thread];
          ++ran;
          this->checkpoint_.check();
        });
      }
    });
  }
  EXPECT_TRUE(this->run_until([&] { return ran == kThreads * static_cast<std::size_t>(posts); }));
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(in_order);
}

TYPED_TEST(ReactorTimeTest, APostWakesALoopThatSleeps) {
  std::atomic<int> answers{0};
  std::thread other([&] {
    for (int i = 0; i < 50; ++i) {
      // Each time when the loop sleeps again, or is about to.
      this->reactor().post([&] { ++answers; });
      while (answers <= i) std::this_thread::yield();
    }
    this->reactor().stop();
  });
  this->reactor().run();
  other.join();
  EXPECT_EQ(answers, 50);
}

// --- The loop

TYPED_TEST(ReactorTimeTest, ALoopStoppedBeforeItRunsEndsAtOnceAndCanRunAgain) {
  this->reactor().stop();
  this->reactor().run();
  int ran = 0;
  this->reactor().post([&] {
    ++ran;
    this->checkpoint_.check();
  });
  EXPECT_TRUE(this->run_until([&] { return ran == 1; }));
}

TYPED_TEST(ReactorTimeTest, StoppingKeepsWhatIsUnderWayForTheNextRun) {
  const SocketPair pair = tcp_pair();
  const auto receive = this->probe();
  this->reactor().receive(pair.near.get(), *receive);
  this->settle();
  this->settle();
  EXPECT_TRUE(receive->in_flight());
  ASSERT_TRUE(test::send_all(pair.far.get(), "x"));
  EXPECT_TRUE(this->run_until_complete(*receive));
}

TYPED_TEST(ReactorTimeTest, NowGoesOnWithTheTurns) {
  const TimePoint before = this->reactor().now();
  std::vector<std::string> woken;
  const Task<> sleeper = this->sleep(Clock::now() + 5ms, "woken", woken);
  sleeper.start();
  ASSERT_TRUE(this->run_until([&] { return !woken.empty(); }));
  EXPECT_GE(this->reactor().now(), before + 5ms);
  EXPECT_LE(this->reactor().now(), Clock::now());
}

TYPED_TEST(ReactorTimeTest, AnIdleLoopSleeps) { EXPECT_TRUE(this->sleeps_for(100ms)); }

/// How often the thread has given up its CPU of its own accord.
std::int64_t sleeps_so_far() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nvcsw;
}

TYPED_TEST(ReactorTimeTest, ALoopThatPollsBusilyFindsBytesAndDeadlinesWithoutASleep) {
  constexpr int kTimes = 5;
  const SocketPair pair = tcp_pair();
  const auto sleeps_with = [&](Duration busy_poll) {
    this->reactor().set_busy_poll(busy_poll);
    const std::int64_t before = sleeps_so_far();
    for (int i = 0; i < kTimes; ++i) {
      const Task<> sender = this->send_at(Clock::now() + 2ms, pair.far.get());
      sender.start();
      const auto received = this->probe();
      this->reactor().receive(pair.near.get(), *received);
      EXPECT_TRUE(this->run_until_complete(*received));
      EXPECT_EQ(received->last().result, 1);
    }
    return sleeps_so_far() - before;
  };
  // A machine with other work may stop the thread until there is nothing to wait for, or for longer
  // than it polls.
  EXPECT_TRUE(test::wait_until([&] { return sleeps_with(0ms) >= kTimes; }));
  EXPECT_TRUE(test::wait_until([&] { return sleeps_with(1s) == 0; }));
}

TYPED_TEST(ReactorTimeTest, ALoopThatPollsBusilySleepsAfterItsTime) {
  this->reactor().set_busy_poll(1ms);
  EXPECT_TRUE(this->sleeps_for(100ms));
}

TYPED_TEST(ReactorTimeTest, AReactorGoesWithAllItsDescriptors) {
  const std::size_t before = test::open_descriptors();
  {
    auto created = TypeParam::create();
    ASSERT_TRUE(created.has_value());
    const SocketPair pair = tcp_pair();
    Probe receive(this->checkpoint_);
    (*created)->receive(pair.near.get(), receive, Reactor::kReceiveBytes);
    (*created)->stop();
    (*created)->run();
    created->reset();
    // Borrowed descriptors stay open.
    ASSERT_TRUE(test::send_all(pair.far.get(), "x"));
    EXPECT_EQ(test::receive_text(pair.near.get(), 1), "x");
  }
  EXPECT_EQ(test::open_descriptors(), before);
}

}  // namespace
}  // namespace sluice
