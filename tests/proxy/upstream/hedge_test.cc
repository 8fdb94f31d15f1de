#include "proxy/upstream/hedge.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "iolib/reactor/calling.h"
#include "iolib/reactor/task.h"
#include "tests/iolib/reactor/reactor_fixture.h"
#include "tests/support/slow_listeners.h"
#include "tests/support/socket_pair.h"
#include "tests/support/sockets.h"

namespace sluice {

using namespace std::chrono_literals;

// A server, and how long a connect to it may take.
struct Contestant {
  ServerRef server;
  Duration time = test::kPatience;
};

// Hedges to one other server, and remembers what it reported.
class Race final : public HedgedConnector {
 public:
  struct Lost {
    std::string server;
    int error = 0;
    friend bool operator==(const Lost&, const Lost&) = default;
    friend void PrintTo(const Lost& lost, std::ostream* out) {
      *out << lost.server << ": " << lost.error;
    }
  };

  Race(Checkpoint& checkpoint, Reactor& reactor, const Contestant& first, Duration hedge_after,
       std::optional<Contestant> other)
      : HedgedConnector(reactor, contender(reactor, first), hedge_after),
        checkpoint_(checkpoint),
        reactor_(reactor),
        other_(std::move(other)),
        task_(run()) {}

  void start() const { task_.start(); }
  [[nodiscard]] bool is_over() const { return task_.done(); }
  [[nodiscard]] int asked() const { return asked_; }
  [[nodiscard]] const std::vector<Lost>& lost() const { return lost_; }
  [[nodiscard]] std::string server() const { return outcome_->server->name; }
  /// 0: connected.
  [[nodiscard]] int error() const {
    return outcome_->connected.has_error() ? outcome_->connected.error().code : 0;
  }
  void close_connected() {
    reactor_.forget(outcome_->connected->fd.get());
    outcome_.reset();
  }
  /// Is cancelled at the end of the turn in which the hedge begins.
  void cancel_with_the_hedge() { cancels_with_the_hedge_ = true; }

 private:
  static Contender contender(const Reactor& reactor, const Contestant& contestant) {
    const ConnectOptions options{.endpoints = contestant.server->endpoints,
                                 .deadline = reactor.now() + contestant.time};
    return {ServerUse(contestant.server), false, options};
  }
  std::optional<Contender> hedge(const ServerRef& /*first*/) override {
    ++asked_;
    checkpoint_.check();
    if (cancels_with_the_hedge_) reactor_.defer(canceller_);
    if (!other_) return std::nullopt;
    return contender(reactor_, *other_);
  }
  void lost(Contender contender, const Error& error) override {
    lost_.push_back({contender.server->name, error.code});
    contender = {};
    checkpoint_.check();
  }
  Task<> run() {
    Outcome outcome = co_await *this;
    outcome_ = std::move(outcome);
    done_.check();
  }
  void cancel_now() { cancel(); }

  /// Tells the checkpoint once the task is done.
  class Done final : public Deferral {
   public:
    explicit Done(Race& race) : race_(race) {}
    void check() { race_.reactor_.defer(*this); }

   private:
    void deferred() override { race_.checkpoint_.check(); }
    Race& race_;
  };

  Checkpoint& checkpoint_;
  Reactor& reactor_;
  std::optional<Contestant> other_;
  int asked_ = 0;
  bool cancels_with_the_hedge_ = false;
  std::vector<Lost> lost_;
  std::optional<Outcome> outcome_;
  CallingDeferral<&Race::cancel_now> canceller_{*this};
  Done done_{*this};
  Task<> task_;
};

namespace {

constexpr Duration kSoon = 20ms;

template <class Engine>
class HedgeTest : public ReactorTest<Engine> {
 protected:
  static ServerRef server(const std::string& name, const Endpoint& endpoint) {
    auto server = std::make_shared<Server>();
    server->name = name;
    server->endpoints = {endpoint};
    server->load = std::make_shared<ServerLoad>();
    return server;
  }
  static std::uint32_t active(const ServerRef& server) { return server->load->active; }
  /// Starts one; its times count from now.
  [[nodiscard]] std::unique_ptr<Race> race(const Contestant& first, Duration hedge_after,
                                           std::optional<Contestant> other = std::nullopt) {
    this->settle();  // the reactor's time is now
    auto race = std::make_unique<Race>(this->checkpoint_, this->reactor(), first, hedge_after,
                                       std::move(other));
    race->start();
    return race;
  }
  [[nodiscard]] bool run_until_over(const Race& race) {
    return this->run_until([&] { return race.is_over(); });
  }
  [[nodiscard]] bool run_until_hedged(const Race& race) {
    const bool asked = this->run_until([&] { return race.asked() > 0; });
    this->settle();
    return asked;
  }
  [[nodiscard]] bool run_until_one_lost(const Race& race) {
    return this->run_until([&] { return !race.lost().empty(); });
  }
  /// This one has connected, and neither is counted in the loads once the connection is closed.
  void expect_winner(Race& race, const std::string& name) {
    ASSERT_TRUE(run_until_over(race));
    ASSERT_EQ(race.error(), 0);
    EXPECT_EQ(race.server(), name);
    race.close_connected();
    EXPECT_TRUE(this->sleeps_for(kSoon)) << "nothing is left";
  }
  void expect_cancelled(Race& race, std::size_t descriptors) {
    EXPECT_FALSE(race.is_over()) << "resumed from cancel()";
    ASSERT_TRUE(run_until_over(race));
    EXPECT_EQ(race.error(), ECANCELED);
    race.cancel();
    EXPECT_EQ(test::open_descriptors(), descriptors);
    EXPECT_TRUE(this->sleeps_for(kSoon)) << "nothing is left";
  }
};

using Losers = std::vector<Race::Lost>;

TYPED_TEST_SUITE(HedgeTest, Reactors, ReactorNames);

TYPED_TEST(HedgeTest, WhatConnectsAtOnceTakesNoTurn) {
  const test::Listener listener = test::listen_tcp();
  const auto race = this->race({this->server("a", test::endpoint_of(listener))}, 1ms);
  EXPECT_TRUE(race->is_over());
  this->expect_winner(*race, "a");
  EXPECT_EQ(race->asked(), 0);
}

TYPED_TEST(HedgeTest, WhatFailsAtOnceIsNotHedged) {
  const auto race = this->race({this->server("a", test::refusing())}, 1ms);
  ASSERT_TRUE(this->run_until_over(*race));
  EXPECT_EQ(race->error(), ECONNREFUSED);
  EXPECT_EQ(race->server(), "a");
  EXPECT_EQ(race->asked(), 0);
  EXPECT_EQ(race->lost(), Losers{});
}

TYPED_TEST(HedgeTest, WithoutATimeThereIsNoHedge) {
  const test::FullBacklog full;
  const auto race = this->race({this->server("a", full.endpoint())}, 0ms);
  EXPECT_TRUE(this->sleeps_for(4 * kBacklogPause));
  full.make_room();
  this->expect_winner(*race, "a");
  EXPECT_EQ(race->asked(), 0);
}

TYPED_TEST(HedgeTest, TheFirstWinsBeforeTheTime) {
  const test::FullBacklog full;
  const auto race = this->race({this->server("a", full.endpoint())}, 1h);
  this->settle();
  EXPECT_FALSE(race->is_over());
  full.make_room();
  this->expect_winner(*race, "a");
  EXPECT_EQ(race->asked(), 0);
}

TYPED_TEST(HedgeTest, TheFirstTimesOutBeforeTheTime) {
  const test::FullBacklog full;
  const auto race = this->race({this->server("a", full.endpoint()), kSoon}, 1h);
  ASSERT_TRUE(this->run_until_over(*race));
  EXPECT_EQ(race->error(), ETIMEDOUT);
  EXPECT_EQ(race->asked(), 0);
}

TYPED_TEST(HedgeTest, TheHedgeWinsAtOnce) {
  const test::BlackHole hole;
  const test::FullBacklog full;
  const test::Listener listener = test::listen_tcp();
  for (const Endpoint& slow : {hole.endpoint(), full.endpoint()}) {
    const ServerRef a = this->server("a", slow);
    const ServerRef b = this->server("b", test::endpoint_of(listener));
    const std::size_t before = test::open_descriptors();
    const auto race = this->race({a}, kSoon, Contestant{b});
    EXPECT_EQ(this->active(a), 1U);
    ASSERT_TRUE(this->run_until_over(*race));
    EXPECT_EQ(race->lost(), (Losers{{"a", ECANCELED}}));
    EXPECT_EQ(this->active(a), 0U);
    EXPECT_EQ(this->active(b), 1U);
    EXPECT_EQ(test::open_descriptors(), before + 1);
    this->expect_winner(*race, "b");
    EXPECT_EQ(this->active(b), 0U);
  }
}

TYPED_TEST(HedgeTest, TheHedgeWinsLater) {
  const test::FullBacklog slow;
  const test::FullBacklog less_slow;
  const ServerRef a = this->server("a", slow.endpoint());
  const ServerRef b = this->server("b", less_slow.endpoint());
  const auto race = this->race({a}, kSoon, Contestant{b});
  ASSERT_TRUE(this->run_until_hedged(*race));
  EXPECT_FALSE(race->is_over());
  EXPECT_EQ(this->active(a), 1U);
  EXPECT_EQ(this->active(b), 1U);
  less_slow.make_room();
  this->expect_winner(*race, "b");
  EXPECT_EQ(race->lost(), (Losers{{"a", ECANCELED}}));
}

TYPED_TEST(HedgeTest, TheFirstWinsAfterTheHedgeBegan) {
  const test::FullBacklog slow;
  const test::BlackHole slower;
  const ServerRef b = this->server("b", slower.endpoint());
  const std::size_t before = test::open_descriptors();
  const auto race = this->race({this->server("a", slow.endpoint())}, kSoon, Contestant{b});
  ASSERT_TRUE(this->run_until_hedged(*race));
  EXPECT_EQ(test::open_descriptors(), before + 2);
  slow.make_room();
  this->expect_winner(*race, "a");
  EXPECT_EQ(race->lost(), (Losers{{"b", ECANCELED}}));
  EXPECT_EQ(race->asked(), 1);
  EXPECT_EQ(this->active(b), 0U);
}

// Both are connected before the loop looks. The far end of the other one sees a reset.
TYPED_TEST(HedgeTest, OfTwoThatConnectInTheSameTurnOneIsUsed) {
  const test::BlackHole one;
  const test::BlackHole other;
  const auto race = this->race({this->server("a", one.endpoint())}, kSoon,
                               Contestant{this->server("b", other.endpoint())});
  ASSERT_TRUE(this->run_until_hedged(*race));
  const OwnedFd at_one = one.accept_next();
  const OwnedFd at_other = other.accept_next();
  const std::size_t before = test::open_descriptors();
  ASSERT_TRUE(this->run_until_over(*race));
  ASSERT_EQ(race->error(), 0);
  EXPECT_EQ(test::open_descriptors(), before - 1);
  ASSERT_EQ(race->lost().size(), 1U);
  EXPECT_EQ(race->lost()[0].error, ECANCELED);
  const bool first_won = race->server() == "a";
  EXPECT_EQ(race->lost()[0].server, first_won ? "b" : "a");
  std::vector<std::byte> bytes(1);
  const int loser = first_won ? at_other.get() : at_one.get();
  EXPECT_EQ(test::receive_some(loser, bytes).ending, test::Ending::reset);
  EXPECT_FALSE(test::readable_within(first_won ? at_one.get() : at_other.get(), 0ms));
  race->close_connected();
}

TYPED_TEST(HedgeTest, WithoutAnotherServerTheFirstIsWaitedFor) {
  const test::FullBacklog full;
  const auto race = this->race({this->server("a", full.endpoint())}, kSoon);
  ASSERT_TRUE(this->run_until_hedged(*race));
  EXPECT_TRUE(this->sleeps_for(2 * kSoon));
  EXPECT_FALSE(race->is_over());
  full.make_room();
  this->expect_winner(*race, "a");
  EXPECT_EQ(race->asked(), 1);
  EXPECT_EQ(race->lost(), Losers{});
}

TYPED_TEST(HedgeTest, WithoutADescriptorForTheHedgeTheFirstIsWaitedFor) {
  const test::FullBacklog full;
  const test::Listener listener = test::listen_tcp();
  const auto race = this->race({this->server("a", full.endpoint())}, kSoon,
                               Contestant{this->server("b", test::endpoint_of(listener))});
  {
    const test::NoMoreDescriptors none;
    ASSERT_TRUE(this->run_until_one_lost(*race));
  }
  EXPECT_EQ(race->lost(), (Losers{{"b", EMFILE}}));
  EXPECT_FALSE(race->is_over());
  full.make_room();
  this->expect_winner(*race, "a");
  EXPECT_EQ(race->asked(), 1);
}

TYPED_TEST(HedgeTest, IfTheFirstFailsTheHedgeIsWaitedFor) {
  const test::FullBacklog slow;
  const test::FullBacklog less_slow;
  const ServerRef a = this->server("a", slow.endpoint());
  // Long enough that a busy machine begins the hedge before the first has failed.
  const auto race =
      this->race({a, 25 * kSoon}, kSoon, Contestant{this->server("b", less_slow.endpoint())});
  ASSERT_TRUE(this->run_until_one_lost(*race));
  EXPECT_EQ(race->lost(), (Losers{{"a", ETIMEDOUT}}));
  EXPECT_EQ(this->active(a), 0U);
  EXPECT_FALSE(race->is_over());
  less_slow.make_room();
  this->expect_winner(*race, "b");
  EXPECT_EQ(race->lost().size(), 1U);
}

TYPED_TEST(HedgeTest, IfTheHedgeFailsTheFirstIsWaitedFor) {
  const test::FullBacklog full;
  const ServerRef b = this->server("b", test::refusing());
  const auto race = this->race({this->server("a", full.endpoint())}, kSoon, Contestant{b});
  ASSERT_TRUE(this->run_until_one_lost(*race));
  EXPECT_EQ(race->lost(), (Losers{{"b", ECONNREFUSED}}));
  EXPECT_EQ(this->active(b), 0U);
  EXPECT_TRUE(this->sleeps_for(2 * kSoon));
  EXPECT_FALSE(race->is_over());
  full.make_room();
  this->expect_winner(*race, "a");
  EXPECT_EQ(race->asked(), 1) << "one hedge at most";
}

TYPED_TEST(HedgeTest, IfBothFailTheOutcomeIsTheLater) {
  const test::FullBacklog one;
  const test::BlackHole other;
  for (const bool first_is_later : {false, true}) {
    const Duration sooner = 3 * kSoon;
    const Duration later = 30 * kSoon;  // so that a hedge that begins late changes nothing
    const ServerRef a = this->server("a", one.endpoint());
    const ServerRef b = this->server("b", other.endpoint());
    const std::size_t before = test::open_descriptors();
    const auto race = this->race({a, first_is_later ? later : sooner}, kSoon,
                                 Contestant{b, (first_is_later ? sooner : later) - kSoon});
    ASSERT_TRUE(this->run_until_over(*race));
    EXPECT_EQ(race->error(), ETIMEDOUT);
    EXPECT_EQ(race->server(), first_is_later ? "a" : "b");
    EXPECT_EQ(race->lost(), (Losers{{first_is_later ? "b" : "a", ETIMEDOUT}}));
    EXPECT_EQ(test::open_descriptors(), before);
    EXPECT_TRUE(this->sleeps_for(kSoon));
  }
}

// --- Cancelled ---

TYPED_TEST(HedgeTest, CancelledBeforeTheHedgeItEnds) {
  const test::BlackHole hole;
  const test::FullBacklog full;
  for (const Endpoint& slow : {hole.endpoint(), full.endpoint()}) {
    const std::size_t before = test::open_descriptors();
    const auto race = this->race({this->server("a", slow)}, 1h);
    race->cancel();
    race->cancel();
    this->expect_cancelled(*race, before);
    EXPECT_EQ(race->server(), "a");
    EXPECT_EQ(race->lost(), Losers{});
    EXPECT_EQ(race->asked(), 0);
  }
}

TYPED_TEST(HedgeTest, CancelledWithBothInFlightItEnds) {
  const test::BlackHole hole;
  const test::FullBacklog full;
  for (const bool hole_first : {false, true}) {
    const ServerRef a = this->server("a", hole_first ? hole.endpoint() : full.endpoint());
    const ServerRef b = this->server("b", hole_first ? full.endpoint() : hole.endpoint());
    const std::size_t before = test::open_descriptors();
    const auto race = this->race({a}, kSoon, Contestant{b});
    ASSERT_TRUE(this->run_until_hedged(*race));
    EXPECT_EQ(test::open_descriptors(), before + 2);
    race->cancel();
    this->expect_cancelled(*race, before);
    EXPECT_EQ(race->lost(), (Losers{{"b", ECANCELED}}));
  }
}

TYPED_TEST(HedgeTest, CancelledWithOneLeftItEnds) {
  const test::FullBacklog slow;
  const test::BlackHole hole;
  const std::size_t before = test::open_descriptors();
  const auto hedge_left = this->race({this->server("a", slow.endpoint()), 25 * kSoon}, kSoon,
                                     Contestant{this->server("b", hole.endpoint())});
  ASSERT_TRUE(this->run_until_one_lost(*hedge_left));
  EXPECT_EQ(hedge_left->lost(), (Losers{{"a", ETIMEDOUT}}));
  hedge_left->cancel();
  this->expect_cancelled(*hedge_left, before);
  EXPECT_EQ(hedge_left->server(), "b");

  const auto first_left = this->race({this->server("a", slow.endpoint())}, kSoon,
                                     Contestant{this->server("b", test::refusing())});
  ASSERT_TRUE(this->run_until_one_lost(*first_left));
  first_left->cancel();
  this->expect_cancelled(*first_left, before);
  EXPECT_EQ(first_left->server(), "a");
  EXPECT_EQ(first_left->lost().size(), 1U);
}

// The hedge has connected, and the first has not ended yet.
TYPED_TEST(HedgeTest, CancelledAfterItsDecisionItGivesUpTheWinner) {
  const test::BlackHole hole;
  const test::Listener listener = test::listen_tcp();
  const std::size_t before = test::open_descriptors();
  const auto race = this->race({this->server("a", hole.endpoint())}, kSoon,
                               Contestant{this->server("b", test::endpoint_of(listener))});
  race->cancel_with_the_hedge();
  this->expect_cancelled(*race, before);
  EXPECT_EQ(race->server(), "b");
  EXPECT_EQ(race->lost(), (Losers{{"a", ECANCELED}}));
  const OwnedFd accepted = test::accept_from(listener.fd.get());
  std::vector<std::byte> bytes(1);
  EXPECT_EQ(test::receive_some(accepted.get(), bytes).ending, test::Ending::reset);
}

}  // namespace
}  // namespace sluice
