#include "iolib/reactor/deferral.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/iolib/reactor/reactor_fixture.h"
#include "tests/support/socket_pair.h"
#include "tests/support/sockets.h"

namespace sluice {
namespace {

using test::SocketPair;
using test::tcp_pair;

// Records what happens at the end of a turn, and in which order.
template <class Engine>
class DeferralTest : public ReactorTest<Engine> {
 protected:
  using Log = std::vector<std::string>;

  class Note final : public Deferral {
   public:
    Note(DeferralTest& test, std::string name) : test_(test), name_(std::move(name)) {}
    std::function<void()> then;

   private:
    void deferred() override { test_.note(name_, then); }
    DeferralTest& test_;
    std::string name_;
  };
  class Due final : public Timer {
   public:
    explicit Due(DeferralTest& test) : test_(test) {}
    std::function<void()> then;

   private:
    void expired() override { test_.note("timer", then); }
    DeferralTest& test_;
  };

  // `then` is a copy, because the callee may be gone when the call returns.
  void note(const std::string& name, std::function<void()> then) {
    log_.push_back(name);
    if (then) then();
    this->checkpoint_.check();
  }
  void post(const std::string& name, std::function<void()> then = {}) {
    this->reactor().post([this, name, then] { note(name, then); });
  }
  bool runs_until_logged(std::size_t lines) {
    return this->run_until([&] { return log_.size() >= lines; });
  }

  Log log_;
};

TYPED_TEST_SUITE(DeferralTest, Reactors, ReactorNames);

TYPED_TEST(DeferralTest, HappensOnceAfterAllElseOfTheTurnInTheOrderOfTheCalls) {
  typename TestFixture::Note first(*this, "first");
  typename TestFixture::Note second(*this, "second");
  typename TestFixture::Due timer(*this);
  this->post("one", [&] {
    this->reactor().set_timer(timer, this->reactor().now());
    this->reactor().defer(first);
    this->reactor().defer(second);
    this->reactor().defer(first);
    EXPECT_TRUE(first.is_deferred());
  });
  this->post("two");
  ASSERT_TRUE(this->runs_until_logged(5));
  this->settle();
  EXPECT_EQ(this->log_, (std::vector<std::string>{"one", "two", "timer", "first", "second"}));
  EXPECT_FALSE(first.is_deferred());
}

TYPED_TEST(DeferralTest, WhatATimerDefersHappensInTheSameTurn) {
  typename TestFixture::Note note(*this, "deferred");
  typename TestFixture::Due timer(*this);
  timer.then = [&] {
    this->reactor().defer(note);
    this->post("posted");
  };
  this->reactor().set_timer(timer, Clock::now());
  ASSERT_TRUE(this->runs_until_logged(3));
  EXPECT_EQ(this->log_, (std::vector<std::string>{"timer", "deferred", "posted"}));
}

TYPED_TEST(DeferralTest, OneThatIsSetBeforeTheLoopRunsDoesNotWait) {
  typename TestFixture::Note note(*this, "deferred");
  this->reactor().defer(note);
  const TimePoint before = Clock::now();
  ASSERT_TRUE(this->runs_until_logged(1));
  EXPECT_LT(Clock::now() - before, std::chrono::seconds(1));
}

// It may block neither the loop nor requests that are ready.
TYPED_TEST(DeferralTest, OneThatSetsItselfAgainWaitsForTheNextTurn) {
  const SocketPair pair = tcp_pair();
  const auto receive = this->probe();
  this->reactor().receive(pair.near.get(), *receive);
  typename TestFixture::Note eager(*this, "eager");
  typename TestFixture::Note other(*this, "other");
  eager.then = [&] { this->reactor().defer(eager); };
  this->reactor().defer(eager);
  this->reactor().defer(other);
  ASSERT_TRUE(test::send_all(pair.far.get(), "x"));
  ASSERT_TRUE(this->run_until_complete(*receive));
  ASSERT_GE(this->log_.size(), 2U);
  EXPECT_EQ(this->log_[1], "other");
  eager.then = nullptr;
  this->settle();
}

TYPED_TEST(DeferralTest, CancelledOrDestroyedItDoesNotHappen) {
  typename TestFixture::Note canceller(*this, "canceller");
  typename TestFixture::Note cancelled(*this, "cancelled");
  auto destroyed = std::make_unique<typename TestFixture::Note>(*this, "destroyed");
  typename TestFixture::Note early(*this, "early");
  typename TestFixture::Note last(*this, "last");
  canceller.then = [&] {
    cancelled.cancel();
    destroyed.reset();
  };
  for (Deferral* each :
       std::initializer_list<Deferral*>{&early, &canceller, &cancelled, destroyed.get(), &last}) {
    this->reactor().defer(*each);
  }
  early.cancel();
  early.cancel();
  ASSERT_TRUE(this->runs_until_logged(2));
  this->settle();
  EXPECT_EQ(this->log_, (std::vector<std::string>{"canceller", "last"}));
}

TYPED_TEST(DeferralTest, MayBeDestroyedWhenItHappens) {
  auto note = std::make_unique<typename TestFixture::Note>(*this, "deferred");
  note->then = [&] { note.reset(); };
  this->reactor().defer(*note);
  ASSERT_TRUE(this->runs_until_logged(1));
  EXPECT_EQ(note, nullptr);
}

TYPED_TEST(DeferralTest, MayOutliveTheReactor) {
  typename TestFixture::Note note(*this, "deferred");
  this->reactor().defer(note);
  this->reactor_.reset();
  EXPECT_FALSE(note.is_deferred());
}

}  // namespace
}  // namespace sluice
