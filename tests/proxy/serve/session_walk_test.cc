#include "proxy/serve/session_walk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "proxy/serve/shared.h"
#include "proxy/serve/worker.h"
#include "tests/iolib/reactor/reactor_fixture.h"
#include "tests/support/socket_pair.h"
#include "tests/support/sockets.h"

namespace sluice {
namespace {

constexpr std::size_t kEcho = 0;
constexpr std::size_t kOther = 1;

/// A worker of two echo routes, and its clients.
template <class Engine>
class SessionWalkTest : public ReactorTest<Engine> {
 protected:
  void SetUp() override {
    ReactorTest<Engine>::SetUp();
    if (this->IsSkipped()) return;
    std::vector<Route> routes;
    for (const char* name : {"echo", "other"}) {
      RouteConfig config;
      config.name = name;
      config.to = {{EchoEndpoint{}}};
      routes.push_back(make_route(routes.size(), config));
    }
    shared_.id_prefix = "run";
    shared_.on_drained = [this] {
      drained_ = true;
      this->reactor().stop();
    };
    worker_.emplace(shared_, this->reactor(), 0, std::move(routes));
    shared_.workers = {&*worker_};
    shared_.placement.add(worker_->relay_context());
  }
  void TearDown() override {
    if (!worker_) return;
    worker_->admission().drain();
    worker_->stop_sessions(EndReason::drain_timeout);
    run_until([this] { return drained_; });
  }
  void add_clients(std::size_t count, std::size_t route = kEcho) {
    for (std::size_t i = 0; i < count; ++i) {
      test::SocketPair pair = test::unix_pair();
      clients_.push_back(std::move(pair.far));
      worker_->admission().accepted({std::move(pair.near), route, Leg::Kind::unix_stream});
    }
  }
  [[nodiscard]] SessionPage list(SessionQuery query) {
    std::optional<SessionPage> page;
    worker_->list_sessions(std::move(query), [&](SessionPage found) { page = std::move(found); });
    run_until([&] { return page.has_value(); });
    return page.value_or(SessionPage());
  }
  [[nodiscard]] bool kill(std::uint64_t number) {
    std::optional<bool> found;
    worker_->kill_session(number, [&](bool was_here) { found = was_here; });
    run_until([&] { return found.has_value(); });
    return found.value_or(false);
  }
  /// Runs the loop a millisecond at a time.
  template <class Condition>
  void run_until(const Condition& condition) {
    const TimePoint deadline = Clock::now() + test::kPatience;
    while (!condition() && Clock::now() < deadline) {
      this->run_for(std::chrono::milliseconds(1));
    }
    EXPECT_TRUE(condition());
  }

  PipePool pool_{{}};
  ServerChanges server_changes_;
  Shared shared_{pool_, server_changes_, 10'000, false};
  std::optional<Worker> worker_;
  std::vector<OwnedFd> clients_;
  bool drained_ = false;
};

TYPED_TEST_SUITE(SessionWalkTest, Reactors, ReactorNames);

TYPED_TEST(SessionWalkTest, PagesHaveEachConnectionOnceInOrder) {
  constexpr std::size_t kClients = SessionWalks::kVisitsPerTurn + 100;
  this->add_clients(kClients);
  this->add_clients(3, kOther);
  for (const SessionOrder order :
       {SessionOrder::id, SessionOrder::age, SessionOrder::bytes, SessionOrder::idle}) {
    std::set<std::string> ids;
    SessionQuery query{.route = "echo", .order = order, .limit = 200};
    SessionPage page = this->list(query);
    EXPECT_EQ(page.items.size(), 200U);
    SessionPlace last;
    for (; !page.items.empty(); page = this->list(query)) {
      for (const SessionPage::Item& item : page.items) {
        EXPECT_LT(last, item.place);
        last = item.place;
        EXPECT_EQ(item.info.route, "echo");
        EXPECT_TRUE(ids.insert(item.info.id).second) << item.info.id;
      }
      EXPECT_EQ(page.more, ids.size() < kClients);
      query.after = last;
    }
    EXPECT_EQ(ids.size(), kClients);
  }
  EXPECT_EQ(this->list({.route = "none", .limit = 10}).items.size(), 0U);
  EXPECT_EQ(this->list({.route = "other", .limit = 10}).items.size(), 3U);
}

TYPED_TEST(SessionWalkTest, TheBusiestComeFirst) {
  this->add_clients(20);
  for (std::size_t i : {7U, 12U, 3U}) {
    ASSERT_TRUE(test::send_all(this->clients_[i].get(), std::string(100 * i, 'x')));
  }
  SessionPage page;
  this->run_until([&] {
    page = this->list({.order = SessionOrder::bytes, .limit = 3});
    return page.items.at(2).info.to_client_bytes > 0 &&
           page.items.at(0).info.to_client_bytes == 1'200;
  });
  std::vector<std::uint64_t> bytes;
  for (const SessionPage::Item& item : page.items) bytes.push_back(item.info.to_upstream_bytes);
  EXPECT_EQ(bytes, (std::vector<std::uint64_t>{1'200, 700, 300}));
  EXPECT_TRUE(page.more);
  // Those that moved bytes last are idle for the shortest time.
  page = this->list({.order = SessionOrder::idle, .limit = 20});
  for (const SessionPage::Item& item : std::span(page.items).last(3)) {
    EXPECT_GT(item.info.to_upstream_bytes, 0U);
  }
}

TYPED_TEST(SessionWalkTest, WhoComesAfterTheBeginningIsNotVisited) {
  constexpr std::size_t kClients = SessionWalks::kVisitsPerTurn + 3;
  for (const std::size_t before : {std::size_t{0}, kClients}) {
    this->add_clients(before);
    std::optional<SessionPage> page;
    this->worker_->list_sessions({.limit = 1'000},
                                 [&](SessionPage found) { page = std::move(found); });
    this->add_clients(1);
    // All that are left for a second turn can leave before it.
    for (std::size_t i = SessionWalks::kVisitsPerTurn; i < before; ++i) {
      this->clients_[i + 1].reset();
    }
    this->run_until([&] { return page.has_value(); });
    EXPECT_LE(page->items.size(), before == 0 ? 0 : kClients + 1);
    EXPECT_GE(page->items.size(), before == 0 ? 0 : SessionWalks::kVisitsPerTurn + 1);
    for (const SessionPage::Item& item : page->items) EXPECT_LE(item.place.number, kClients + 1);
  }
}

TYPED_TEST(SessionWalkTest, WhoEndsDuringAWalkIsSteppedOver) {
  this->add_clients(SessionWalks::kVisitsPerTurn + 50);
  // The walk stops before the 50 youngest; they and their neighbours leave before the next turn.
  std::optional<SessionPage> page;
  this->worker_->list_sessions({.limit = 1'000},
                               [&](SessionPage found) { page = std::move(found); });
  for (std::size_t i = 0; i < 60; ++i) {
    this->clients_[SessionWalks::kVisitsPerTurn - 10 + i].reset();
  }
  this->run_until([&] { return page.has_value(); });
  EXPECT_LE(page->items.size(), SessionWalks::kVisitsPerTurn + 50);
  EXPECT_GE(page->items.size(), SessionWalks::kVisitsPerTurn - 10);
  this->run_until(
      [&] { return this->worker_->stats().active == SessionWalks::kVisitsPerTurn - 10; });
  EXPECT_EQ(this->list({.limit = 1'000}).items.size(), SessionWalks::kVisitsPerTurn - 10);
}

TYPED_TEST(SessionWalkTest, AKillEndsThisConnectionAlone) {
  this->add_clients(SessionWalks::kVisitsPerTurn + 5);
  EXPECT_FALSE(this->kill(1U << 30));
  EXPECT_TRUE(this->kill(1)) << "the oldest, which a walk visits first";
  this->run_until(
      [&] { return this->worker_->stats().active == SessionWalks::kVisitsPerTurn + 4; });
  EXPECT_EQ(this->worker_->counts(*this->worker_->routes().at(kEcho))
                .ended[ending_index(EndReason::killed)],
            1U);
  EXPECT_FALSE(this->kill(1)) << "it is gone";
  ASSERT_TRUE(test::send_all(this->clients_[1].get(), std::string("still here")));
  this->run_until([&] {
    const SessionPage page = this->list({.order = SessionOrder::bytes, .limit = 1});
    return page.items.at(0).info.to_client_bytes == 10;
  });
  EXPECT_EQ(test::receive_text(this->clients_[1].get(), 10), "still here");
}

}  // namespace
}  // namespace sluice
