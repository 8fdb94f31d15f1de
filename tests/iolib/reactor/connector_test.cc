#include "iolib/reactor/connector.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
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
#include "tests/support/temp_dir.h"

namespace sluice {

// Has a connector only while it connects, as its users do.
class Attempt {
 public:
  Attempt(Checkpoint& checkpoint, Reactor& reactor, const ConnectOptions& options)
      : checkpoint_(checkpoint) {
    connector_.emplace(*this, reactor, options);
    connector_->start();
  }
  void cancel() { connector_->cancel(); }
  [[nodiscard]] bool is_over() const { return outcome_.has_value(); }
  [[nodiscard]] bool timed_out() const { return timed_out_; }
  [[nodiscard]] Connected& connected() { return **outcome_; }
  [[nodiscard]] bool failed() const { return outcome_->has_error(); }
  [[nodiscard]] Error error() const { return outcome_->error(); }

 private:
  void ended(Result<Connected> connected) {
    EXPECT_FALSE(is_over());
    timed_out_ = connector_->timed_out();
    outcome_ = std::move(connected);
    connector_.reset();
    checkpoint_.check();
  }

  Checkpoint& checkpoint_;
  std::optional<Result<Connected>> outcome_;
  bool timed_out_ = false;
  std::optional<CallingConnector<&Attempt::ended>> connector_;
};

namespace {

using namespace std::chrono_literals;

using Endpoints = std::vector<Endpoint>;

using test::BlackHole;
using test::endpoint_of;
using test::FullBacklog;
using test::refusing;

template <class Engine>
class ConnectorTest : public ReactorTest<Engine> {
 protected:
  /// Begins to connect within `time` from now.
  [[nodiscard]] Attempt attempt(const Endpoints& to, Duration time = test::kPatience,
                                std::size_t first = 0) {
    this->settle();  // the reactor's time is now
    return {this->checkpoint_, this->reactor(), {to, first, this->reactor().now() + time}};
  }
  [[nodiscard]] bool run_until_over(const Attempt& attempt) {
    return this->run_until([&] { return attempt.is_over(); });
  }
  /// Of a connection that stands.
  void close(Connected& connected) {
    this->reactor().forget(connected.fd.get());
    connected.fd.reset();
  }
  /// It has ended because it was cancelled, and nothing is left of it.
  void expect_cancelled(const Attempt& attempt, std::size_t descriptors) {
    EXPECT_FALSE(attempt.is_over()) << "called from cancel()";
    ASSERT_TRUE(run_until_over(attempt));
    ASSERT_TRUE(attempt.failed());
    EXPECT_EQ(attempt.error().code, ECANCELED);
    EXPECT_EQ(test::open_descriptors(), descriptors);
    EXPECT_TRUE(this->sleeps_for(20ms));
  }
};

TYPED_TEST_SUITE(ConnectorTest, Reactors, ReactorNames);

TYPED_TEST(ConnectorTest, WithoutAnAddressItFailsAtOnce) {
  const Endpoints none;
  const Attempt attempt = this->attempt(none);
  ASSERT_TRUE(attempt.is_over());
  ASSERT_TRUE(attempt.failed());
  EXPECT_EQ(attempt.error().to_string(), "connect: no address: No such file or directory");
  EXPECT_FALSE(attempt.timed_out());
}

TYPED_TEST(ConnectorTest, ItBeginsWithTheAddressThatItIsTold) {
  const test::Listener one = test::listen_tcp();
  const test::Listener other = test::listen_tcp();
  const Endpoints both{endpoint_of(one), endpoint_of(other)};
  for (const std::size_t first : {0U, 1U, 2U, 3U}) {
    Attempt attempt = this->attempt(both, test::kPatience, first);
    ASSERT_TRUE(this->run_until_over(attempt));
    ASSERT_FALSE(attempt.failed()) << attempt.error().to_string();
    EXPECT_EQ(attempt.connected().which, first % 2);
    EXPECT_EQ(attempt.connected().broken, 0);
    const OwnedFd accepted = test::accept_from((first % 2 == 0 ? one : other).fd.get());
    EXPECT_TRUE(test::send_all(attempt.connected().fd.get(), "hello"));
    EXPECT_EQ(test::receive_text(accepted.get(), 5), "hello");
    this->close(attempt.connected());
  }
}

TYPED_TEST(ConnectorTest, WhatIsConnectedSendsAtOnceAndIsKeptAlive) {
  const test::Listener listener = test::listen_tcp();
  const Endpoints one{endpoint_of(listener)};
  Attempt attempt = this->attempt(one);
  ASSERT_TRUE(this->run_until_over(attempt));
  ASSERT_FALSE(attempt.failed());
  this->settle();
  const int fd = attempt.connected().fd.get();
  const std::vector<std::pair<int, int>> options{{IPPROTO_TCP, TCP_NODELAY},
                                                 {SOL_SOCKET, SO_KEEPALIVE}};
  for (const auto& [level, option] : options) {
    int value = 0;
    socklen_t size = sizeof value;
    ASSERT_EQ(::getsockopt(fd, level, option, &value, &size), 0);
    EXPECT_EQ(value, 1) << option;
  }
  this->close(attempt.connected());
}

TYPED_TEST(ConnectorTest, AfterOneThatRefusesComesTheNext) {
  const test::Listener listener = test::listen_tcp();
  const Endpoints all{refusing(), endpoint_of(listener), refusing()};
  Attempt attempt = this->attempt(all, test::kPatience, 2);
  ASSERT_TRUE(this->run_until_over(attempt));
  ASSERT_FALSE(attempt.failed()) << attempt.error().to_string();
  EXPECT_EQ(attempt.connected().which, 1U);
  EXPECT_FALSE(attempt.timed_out());
  this->close(attempt.connected());
}

TYPED_TEST(ConnectorTest, TheErrorIsThatOfTheLastAttempt) {
  const test::TempDir folder;
  const Endpoints both{refusing(), make_endpoint(UnixEndpoint{folder.file("missing")})};
  const std::size_t before = test::open_descriptors();
  const Attempt first = this->attempt(both);
  ASSERT_TRUE(this->run_until_over(first));
  ASSERT_TRUE(first.failed());
  EXPECT_EQ(first.error().code, ENOENT);
  EXPECT_EQ(first.error().context, "connect " + both[1].text);
  const Attempt second = this->attempt(both, test::kPatience, 1);
  ASSERT_TRUE(this->run_until_over(second));
  ASSERT_TRUE(second.failed());
  EXPECT_EQ(second.error().code, ECONNREFUSED);
  EXPECT_EQ(second.error().context, "connect " + both[0].text);
  EXPECT_EQ(test::open_descriptors(), before);
}

TYPED_TEST(ConnectorTest, WithoutADescriptorItFails) {
  const test::Listener listener = test::listen_tcp();
  const Endpoints to{endpoint_of(listener)};
  this->settle();
  const test::NoMoreDescriptors none;
  const Attempt attempt(this->checkpoint_, this->reactor(), {to, 0, TimePoint::max()});
  ASSERT_TRUE(attempt.is_over());
  ASSERT_TRUE(attempt.failed());
  EXPECT_EQ(attempt.error().code, EMFILE);
}

TYPED_TEST(ConnectorTest, OneThatDoesNotAnswerGetsItsShareOfTheTime) {
  constexpr Duration kTime = 4s;
  constexpr std::size_t kAddresses = 20;
  const BlackHole hole;
  const test::Listener listener = test::listen_tcp();
  Endpoints all(kAddresses, hole.endpoint());
  all[1] = endpoint_of(listener);
  Attempt attempt = this->attempt(all, kTime);
  const TimePoint began = this->reactor().now();
  ASSERT_TRUE(this->run_until_over(attempt));
  ASSERT_FALSE(attempt.failed()) << attempt.error().to_string();
  EXPECT_EQ(attempt.connected().which, 1U);
  EXPECT_TRUE(attempt.timed_out());
  EXPECT_GE(this->reactor().now() - began, kTime / kAddresses);
  EXPECT_LT(this->reactor().now() - began, kTime);
  this->close(attempt.connected());
}

TYPED_TEST(ConnectorTest, TheLastGetsAllThatIsLeft) {
  constexpr Duration kTime = 100ms;
  const BlackHole hole;
  const Endpoints both{refusing(), hole.endpoint()};
  const std::size_t before = test::open_descriptors();
  const Attempt attempt = this->attempt(both, kTime);
  const TimePoint began = this->reactor().now();
  ASSERT_TRUE(this->run_until_over(attempt));
  ASSERT_TRUE(attempt.failed());
  EXPECT_EQ(attempt.error().code, ETIMEDOUT);
  EXPECT_EQ(attempt.error().context, "connect " + both[1].text);
  EXPECT_TRUE(attempt.timed_out());
  EXPECT_GE(this->reactor().now() - began, kTime);
  EXPECT_EQ(test::open_descriptors(), before);
}

// The loop has not looked when the time is over.
TYPED_TEST(ConnectorTest, AConnectionThatStandsWhenTheTimeIsOverIsTaken) {
  const BlackHole hole;
  const Endpoints to{hole.endpoint()};
  Attempt attempt = this->attempt(to, 50ms);
  ASSERT_FALSE(attempt.is_over());
  const TimePoint began = this->reactor().now();
  const OwnedFd accepted = hole.accept_next();
  std::this_thread::sleep_until(began + 50ms);
  ASSERT_TRUE(this->run_until_over(attempt));
  ASSERT_FALSE(attempt.failed()) << attempt.error().to_string();
  EXPECT_EQ(attempt.connected().broken, 0);
  EXPECT_FALSE(attempt.timed_out());
  this->close(attempt.connected());
}

TYPED_TEST(ConnectorTest, OneThatWasResetSinceWasConnected) {
  const BlackHole hole;
  const test::Listener listener = test::listen_tcp();
  const Endpoints both{hole.endpoint(), endpoint_of(listener)};
  Attempt attempt = this->attempt(both);
  ASSERT_FALSE(attempt.is_over());
  OwnedFd accepted = hole.accept_next();
  EXPECT_TRUE(test::send_all(accepted.get(), "bye"));
  test::reset(std::move(accepted));
  ASSERT_TRUE(this->run_until_over(attempt));
  ASSERT_FALSE(attempt.failed()) << attempt.error().to_string();
  EXPECT_EQ(attempt.connected().which, 0U);
  EXPECT_EQ(attempt.connected().broken, ECONNRESET);
  EXPECT_EQ(test::receive_text(attempt.connected().fd.get(), 3), "bye");
  this->close(attempt.connected());
}

// --- A full backlog ---

TYPED_TEST(ConnectorTest, AFullBacklogIsWaitedFor) {
  const FullBacklog full;
  const Endpoints to{full.endpoint()};
  Attempt attempt = this->attempt(to);
  EXPECT_TRUE(this->sleeps_for(4 * kBacklogPause));
  EXPECT_FALSE(attempt.is_over());
  full.make_room();
  ASSERT_TRUE(this->run_until_over(attempt));
  ASSERT_FALSE(attempt.failed()) << attempt.error().to_string();
  EXPECT_FALSE(attempt.timed_out());
  this->close(attempt.connected());
}

TYPED_TEST(ConnectorTest, ButOnlyForItsShareOfTheTime) {
  constexpr Duration kTime = 100ms;
  const FullBacklog full;
  const test::Listener listener = test::listen_tcp();
  const Endpoints both{full.endpoint(), endpoint_of(listener)};
  Attempt attempt = this->attempt(both, kTime);
  const TimePoint began = this->reactor().now();
  ASSERT_TRUE(this->run_until_over(attempt));
  ASSERT_FALSE(attempt.failed()) << attempt.error().to_string();
  EXPECT_EQ(attempt.connected().which, 1U);
  EXPECT_TRUE(attempt.timed_out());
  EXPECT_GE(this->reactor().now() - began, kTime / 2);
  this->close(attempt.connected());
}

TYPED_TEST(ConnectorTest, ABacklogThatStaysFullTimesOut) {
  constexpr Duration kTime = 3 * kBacklogPause / 2;
  const FullBacklog full;
  const Endpoints to{full.endpoint()};
  const std::size_t before = test::open_descriptors();
  const Attempt attempt = this->attempt(to, kTime);
  const TimePoint began = this->reactor().now();
  ASSERT_TRUE(this->run_until_over(attempt));
  ASSERT_TRUE(attempt.failed());
  EXPECT_EQ(attempt.error().code, ETIMEDOUT);
  EXPECT_TRUE(attempt.timed_out());
  EXPECT_GE(this->reactor().now() - began, kTime);
  EXPECT_EQ(test::open_descriptors(), before);
}

// Within its last pause, and the loop looks only later.
TYPED_TEST(ConnectorTest, RoomThatThereIsWhenTheTimeIsOverIsTaken) {
  const FullBacklog full;
  const Endpoints to{full.endpoint()};
  Attempt attempt = this->attempt(to, kBacklogPause / 2);
  const TimePoint began = this->reactor().now();
  full.make_room();
  std::this_thread::sleep_until(began + kBacklogPause);
  ASSERT_TRUE(this->run_until_over(attempt));
  ASSERT_FALSE(attempt.failed()) << attempt.error().to_string();
  this->close(attempt.connected());
}

// --- Cancelled ---

TYPED_TEST(ConnectorTest, CancelledWhileItWaitsItEnds) {
  const BlackHole hole;
  const test::Listener listener = test::listen_tcp();
  const Endpoints both{hole.endpoint(), endpoint_of(listener)};
  const std::size_t before = test::open_descriptors();
  Attempt attempt = this->attempt(both);
  this->settle();
  ASSERT_FALSE(attempt.is_over());
  attempt.cancel();
  attempt.cancel();
  this->expect_cancelled(attempt, before);
  EXPECT_EQ(attempt.error().context, "connect " + both[0].text);
}

TYPED_TEST(ConnectorTest, CancelledInTheTurnInWhichItBeginsItEnds) {
  const BlackHole hole;
  const FullBacklog full;
  for (const Endpoint& endpoint : {hole.endpoint(), full.endpoint()}) {
    const Endpoints to{endpoint};
    const std::size_t before = test::open_descriptors();
    Attempt attempt = this->attempt(to);
    attempt.cancel();
    this->expect_cancelled(attempt, before);
  }
}

TYPED_TEST(ConnectorTest, CancelledWhileItPausesItEnds) {
  const FullBacklog full;
  const Endpoints to{full.endpoint()};
  const std::size_t before = test::open_descriptors();
  Attempt attempt = this->attempt(to);
  EXPECT_TRUE(this->sleeps_for(2 * kBacklogPause));
  attempt.cancel();
  full.make_room();
  this->expect_cancelled(attempt, before);
}

// The loop has found that an attempt's time is over, and the attempt is not over yet.
TYPED_TEST(ConnectorTest, CancelledWhileAnAttemptIsGivenUpItEnds) {
  constexpr Duration kTime = 20ms;
  const BlackHole hole;
  const test::Listener listener = test::listen_tcp();
  const Endpoints both{hole.endpoint(), endpoint_of(listener)};
  const std::size_t before = test::open_descriptors();
  Attempt attempt = this->attempt(both, kTime);
  const TimePoint over = this->reactor().now() + kTime / 2;
  CallingTimer<&Attempt::cancel> canceller{attempt};
  this->reactor().set_timer(canceller, over + 1ns);
  std::this_thread::sleep_until(over + 1ms);
  this->expect_cancelled(attempt, before);
  EXPECT_FALSE(attempt.timed_out());
}

// The far end sees a reset: nobody is there who would serve it.
TYPED_TEST(ConnectorTest, CancelledItGivesUpWhatHasComeMeanwhile) {
  const BlackHole hole;
  const Endpoints to{hole.endpoint()};
  Attempt attempt = this->attempt(to);
  const OwnedFd accepted = hole.accept_next();
  const std::size_t before = test::open_descriptors();
  attempt.cancel();
  this->expect_cancelled(attempt, before - 1);
  std::vector<std::byte> bytes(1);
  EXPECT_EQ(test::receive_some(accepted.get(), bytes).ending, test::Ending::reset);
}

// --- For coroutines ---

template <class Engine>
class AwaitedConnectorTest : public ConnectorTest<Engine> {
 protected:
  [[nodiscard]] Task<> connect(AwaitedConnector& connector) {
    Result<Connected> connected = co_await connector;
    error_ = connected.has_error() ? connected.error().code : 0;
    if (connected.has_value()) this->close(*connected);
    this->checkpoint_.check();
  }

  int error_ = -1;
};
TYPED_TEST_SUITE(AwaitedConnectorTest, Reactors, ReactorNames);

TYPED_TEST(AwaitedConnectorTest, WhatIsConnectedAtOnceTakesNoTurn) {
  const test::Listener listener = test::listen_tcp();
  const Endpoints to{endpoint_of(listener)};
  AwaitedConnector connector(
      this->reactor(), {.endpoints = to, .deadline = this->reactor().now() + test::kPatience});
  const Task<> task = this->connect(connector);
  task.start();
  EXPECT_TRUE(task.done());
  EXPECT_EQ(this->error_, 0);
}

TYPED_TEST(AwaitedConnectorTest, ItIsResumedOnceItIsConnectedOrCancelled) {
  for (const int expected : {0, ECANCELED}) {
    const FullBacklog full;
    const Endpoints to{full.endpoint()};
    AwaitedConnector connector(
        this->reactor(), {.endpoints = to, .deadline = this->reactor().now() + test::kPatience});
    this->error_ = -1;
    const Task<> task = this->connect(connector);
    task.start();
    expected == 0 ? full.make_room() : connector.cancel();
    EXPECT_FALSE(task.done());
    ASSERT_TRUE(this->run_until([&] { return this->error_ >= 0; }));
    EXPECT_TRUE(task.done());
    EXPECT_EQ(this->error_, expected);
    connector.cancel();
  }
}

}  // namespace
}  // namespace sluice
