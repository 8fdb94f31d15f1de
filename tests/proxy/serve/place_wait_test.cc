#include "proxy/serve/place_wait.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "iolib/reactor/asio_reactor.h"
#include "proxy/upstream/route_places.h"
#include "proxy/upstream/route_queue.h"
#include "tests/support/simulated_reactor.h"
#include "tests/support/socket_pair.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;

/// Clients of one route, which has a limit and a queue. Time is simulated.
class PlaceWaitTest : public testing::Test {
 protected:
  class Client final : public PlaceWait::Taker {
   public:
    explicit Client(PlaceWaitTest& test)
        : pair_(test::unix_pair()),
          test_(test),
          wait_(test.reactor_, test.queue_, pair_.near.get(), *this) {}

    void come(std::string name) {
      name_ = std::move(name);
      task_ = run();
      task_.start();
    }
    void come_again(Duration waited) {
      task_ = run_again(waited);
      task_.start();
    }
    /// Frees its place.
    void go() {
      ASSERT_TRUE(has_place_);
      has_place_ = false;
      test_.free_place();
    }
    void leave() { pair_.far.reset(); }
    void stop() { wait_.cancel(); }
    [[nodiscard]] bool has_place() const { return has_place_; }
    [[nodiscard]] bool waits() const { return !task_.done(); }
    /// Why it got no place.
    [[nodiscard]] EndReason end() const { return end_; }

    [[nodiscard]] bool take() override {
      ++test_.tries_;
      has_place_ = test_.places_.take(test_.limit_);
      if (has_place_) test_.order_ += name_;
      return has_place_;
    }
    [[nodiscard]] Duration longest_wait() const override { return test_.timeout_; }

   private:
    Task<> run() { end_ = co_await wait_.run(test_.most_); }
    Task<> run_again(Duration waited) { end_ = co_await wait_.run_again(waited); }

    test::SocketPair pair_;
    PlaceWaitTest& test_;
    PlaceWait wait_;
    std::string name_;
    EndReason end_ = EndReason::none;
    bool has_place_ = false;
    Task<> task_;
  };

  void TearDown() override {
    for (Client& client : clients_) client.stop();
    settle();
    EXPECT_EQ(queue_->length(), 0U);
  }

  Client& come(const std::string& name) {
    Client& client = clients_.emplace_back(*this);
    client.come(name);
    return client;
  }
  void free_place() {
    places_.give_back();
    queue_->wake();
  }
  /// Long enough for everything that waits for no time.
  void settle() { reactor_.run_for(1ms); }

  test::SimulatedReactor reactor_;
  std::shared_ptr<RouteQueue> queue_ = std::make_shared<RouteQueue>();
  RoutePlaces places_;
  std::uint64_t limit_ = 1;
  std::uint64_t most_ = 10;
  Duration timeout_ = 5s;
  std::string order_;  ///< in which they got their places
  int tries_ = 0;
  std::deque<Client> clients_;
};

TEST_F(PlaceWaitTest, WhoFindsAPlaceDoesNotWait) {
  EXPECT_TRUE(come("a").has_place());
  EXPECT_FALSE(clients_[0].waits());
  EXPECT_EQ(queue_->length(), 0U);
}

TEST_F(PlaceWaitTest, PlacesGoToThoseThatWaitInTheirOrder) {
  for (const char* name : {"a", "b", "c", "d"}) come(name);
  EXPECT_EQ(queue_->length(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    clients_[i].go();
    settle();
    EXPECT_TRUE(clients_[i + 1].has_place());
  }
  EXPECT_EQ(order_, "abcd");
  EXPECT_EQ(queue_->length(), 0U);
}

/// The place is free, but its first has not been woken yet.
TEST_F(PlaceWaitTest, WhoComesBeforeTheFirstIsWokenDoesNotOvertake) {
  come("a");
  come("b");
  clients_[0].go();
  come("c");
  EXPECT_FALSE(clients_[2].has_place());
  settle();
  EXPECT_TRUE(clients_[1].has_place());
  EXPECT_FALSE(clients_[2].has_place());
}

TEST_F(PlaceWaitTest, AFullQueueTurnsAwayAtOnce) {
  most_ = 1;
  come("a");
  come("b");
  const Client& third = come("c");
  EXPECT_FALSE(third.waits());
  EXPECT_EQ(third.end(), EndReason::queue_full);
  EXPECT_EQ(queue_->length(), 1U);
}

TEST_F(PlaceWaitTest, EachIsTurnedAwayOnceItHasWaitedTooLong) {
  come("a");
  come("b");
  reactor_.run_for(2s);
  come("c");
  reactor_.run_for(timeout_ - 2s - 1ms);
  EXPECT_TRUE(clients_[1].waits());
  reactor_.run_for(2ms);
  EXPECT_EQ(clients_[1].end(), EndReason::queue_timeout);
  EXPECT_TRUE(clients_[2].waits());
  reactor_.run_for(2s - 2ms);
  EXPECT_TRUE(clients_[2].waits());
  reactor_.run_for(2ms);
  EXPECT_EQ(clients_[2].end(), EndReason::queue_timeout);
  EXPECT_EQ(queue_->length(), 0U);
}

TEST_F(PlaceWaitTest, AnotherTimeHoldsForThoseThatWait) {
  come("a");
  come("b");
  come("c");
  reactor_.run_for(2s);
  timeout_ = 1s;
  queue_->wake();
  settle();
  EXPECT_EQ(clients_[1].end(), EndReason::queue_timeout);
  EXPECT_EQ(clients_[2].end(), EndReason::queue_timeout);
}

TEST_F(PlaceWaitTest, AHigherLimitLetsSeveralIn) {
  for (const char* name : {"a", "b", "c", "d", "e"}) come(name);
  limit_ = 4;
  queue_->wake();
  settle();
  EXPECT_EQ(order_, "abcd");
  EXPECT_EQ(queue_->length(), 1U);
}

TEST_F(PlaceWaitTest, WhoLeavesFreesItsPlaceInTheQueueAtOnce) {
  most_ = 2;
  for (const char* name : {"a", "b", "c"}) come(name);
  clients_[1].leave();
  settle();
  EXPECT_EQ(clients_[1].end(), EndReason::left);
  EXPECT_EQ(queue_->length(), 1U);
  come("d");
  clients_[0].go();
  settle();
  clients_[2].go();
  settle();
  EXPECT_EQ(order_, "acd");
}

/// Both happen in one turn.
TEST_F(PlaceWaitTest, WhoHasLeftGetsNoPlaceThatIsFreedLater) {
  for (const char* name : {"a", "b", "c"}) come(name);
  clients_[1].leave();
  clients_[0].go();
  settle();
  EXPECT_EQ(clients_[1].end(), EndReason::left);
  EXPECT_EQ(order_, "ac");
}

TEST_F(PlaceWaitTest, WhenAllLeaveNothingStays) {
  come("a");
  for (int i = 0; i < 10; ++i) come("x");
  clients_[0].go();
  for (Client& client : clients_) client.leave();
  settle();
  EXPECT_EQ(queue_->length(), 0U);
  EXPECT_TRUE(places_.take(1)) << "nobody has it";
}

TEST_F(PlaceWaitTest, OneThatIsStoppedMakesRoomForTheNext) {
  for (const char* name : {"a", "b", "c"}) come(name);
  clients_[1].stop();
  clients_[0].go();
  settle();
  EXPECT_FALSE(clients_[1].waits());
  EXPECT_FALSE(clients_[1].has_place());
  EXPECT_TRUE(clients_[2].has_place());
}

TEST_F(PlaceWaitTest, WhoMustWaitAgainIsTheFirst) {
  for (const char* name : {"a", "b", "c"}) come(name);
  Client& again = clients_.emplace_back(*this);
  most_ = 0;
  again.come_again(4s);
  clients_[0].go();
  settle();
  EXPECT_TRUE(again.has_place());
  EXPECT_FALSE(clients_[1].has_place());
  Client& late = clients_.emplace_back(*this);
  late.come_again(4s);
  reactor_.run_for(1001ms);
  EXPECT_EQ(late.end(), EndReason::queue_timeout) << "it had waited before";
  EXPECT_TRUE(clients_[1].waits());
}

/// What nobody can wake for, such as the end of an ejection.
TEST_F(PlaceWaitTest, TheFirstAlsoTriesFromTimeToTime) {
  come("a");
  for (int i = 0; i < 5; ++i) come("x");
  places_.give_back();
  tries_ = 0;
  reactor_.run_for(101ms);
  EXPECT_TRUE(clients_[1].has_place());
  EXPECT_LE(tries_, 3) << "only the first";
}

/// Clients of several threads, which take, free, and leave. Nobody waits in vain, and there are
/// never more than the limit.
TEST(PlaceWaitThreads, NoPlaceAndNoWakeUpIsLost) {
  constexpr std::size_t kThreads = 4;
  constexpr std::size_t kClients = 300;
  constexpr std::uint64_t kLimit = 3;
  struct Shared {
    std::shared_ptr<RouteQueue> queue = std::make_shared<RouteQueue>();
    RoutePlaces places;
    std::atomic<std::uint64_t> served{0};
    std::atomic<std::uint64_t> now{0};
    std::atomic<std::uint64_t> most{0};
    std::atomic<std::size_t> ended{0};
  };
  class Client final : public PlaceWait::Taker {
   public:
    Client(Reactor& reactor, Shared& shared, std::size_t number)
        : reactor_(reactor),
          shared_(shared),
          pair_(test::unix_pair()),
          leaves_(number % 5 == 0),
          wait_(reactor, shared.queue, pair_.near.get(), *this) {}
    Task<> run() {
      const EndReason end = co_await wait_.run(kThreads * kClients);
      if (end == EndReason::none) {
        const std::uint64_t now = shared_.now.fetch_add(1) + 1;
        std::uint64_t most = shared_.most.load();
        while (most < now && !shared_.most.compare_exchange_weak(most, now)) {
        }
        ++shared_.served;
        co_await reactor_.sleep_until(reactor_.now());
        shared_.now.fetch_sub(1);
        shared_.places.give_back();
        shared_.queue->wake();
      } else {
        EXPECT_TRUE(leaves_ && end == EndReason::left);
      }
      ++shared_.ended;
    }
    [[nodiscard]] bool take() override { return shared_.places.take(kLimit); }
    // The heartbeat could hide a wake-up that is lost: it would end the wait of one at a time.
    [[nodiscard]] Duration longest_wait() const override { return 1h; }
    void start() {
      task_ = run();
      task_.start();
      if (leaves_) pair_.far.reset();
    }
    [[nodiscard]] bool done() const { return task_.done(); }

   private:
    Reactor& reactor_;
    Shared& shared_;
    test::SocketPair pair_;
    const bool leaves_;
    PlaceWait wait_;
    Task<> task_;
  };
  Shared shared;
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&shared, thread] {
      const auto reactor = AsioReactor::create();
      ASSERT_TRUE(reactor.has_value());
      Reactor& loop = **reactor;
      std::deque<Client> clients;
      // Some turns apart, so that they come while others go.
      std::function<void()> next = [&] {
        if (clients.size() < kClients) {
          clients.emplace_back(loop, shared, thread + clients.size()).start();
          loop.post(next);
        } else if (std::ranges::all_of(clients, &Client::done)) {
          loop.stop();
        } else {
          loop.post(next);
        }
      };
      loop.post(next);
      loop.run();
    });
  }
  for (std::thread& each : threads) each.join();
  EXPECT_EQ(shared.ended, kThreads * kClients);
  EXPECT_GE(shared.served, kThreads * kClients * 4 / 5);
  EXPECT_LE(shared.most, kLimit);
  EXPECT_EQ(shared.now, 0U);
  EXPECT_EQ(shared.queue->length(), 0U);
  for (std::uint64_t i = 0; i < kLimit; ++i) EXPECT_TRUE(shared.places.take(kLimit));
}

}  // namespace
}  // namespace sluice
