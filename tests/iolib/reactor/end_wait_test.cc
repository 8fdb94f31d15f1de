#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "tests/iolib/reactor/reactor_fixture.h"
#include "tests/support/socket_pair.h"
#include "tests/support/sockets.h"

namespace sluice {
namespace {

/// wait_end().
template <class Engine>
class EndWaitTest : public ReactorTest<Engine> {
 protected:
  [[nodiscard]] std::unique_ptr<Probe> wait(int fd) {
    auto probe = this->probe();
    this->reactor().wait_end(fd, *probe);
    return probe;
  }
  /// Whether it completes, now or soon, for an end.
  [[nodiscard]] bool completes(const Probe& wait) {
    return this->run_until([&wait] { return wait.completions() > 0; }) && wait.last().result > 0 &&
           !wait.in_flight();
  }
  [[nodiscard]] bool stays_quiet(const Probe& wait) {
    return this->sleeps_for(std::chrono::milliseconds(50)) && wait.completions() == 0;
  }
};

TYPED_TEST_SUITE(EndWaitTest, Reactors, ReactorNames);

TYPED_TEST(EndWaitTest, SeesAFinBehindUnreadDataAndTakesNothingAway) {
  for (const bool unix : {false, true}) {
    test::SocketPair pair = unix ? test::unix_pair() : test::tcp_pair();
    ASSERT_TRUE(test::send_all(pair.far.get(), std::string_view("before")));
    const auto wait = this->wait(pair.near.get());
    EXPECT_TRUE(this->stays_quiet(*wait));
    for (int i = 0; i < 10; ++i) {
      ASSERT_TRUE(test::send_all(pair.far.get(), std::string_view("x")));
      this->settle();
    }
    EXPECT_TRUE(this->stays_quiet(*wait)) << "whatever comes";
    pair.far.reset();
    EXPECT_TRUE(this->completes(*wait));
    const auto receive = this->probe();
    this->reactor().receive(pair.near.get(), *receive);
    ASSERT_TRUE(this->run_until_complete(*receive));
    EXPECT_EQ(receive->last().data, "beforexxxxxxxxxx");
    this->reactor().forget(pair.near.get());
  }
}

TYPED_TEST(EndWaitTest, SeesAnEndThatCameBefore) {
  test::SocketPair pair = test::tcp_pair();
  ASSERT_TRUE(test::send_all(pair.far.get(), std::string_view("x")));
  test::finish_sending(pair.far.get());
  const auto wait = this->wait(pair.near.get());
  EXPECT_TRUE(this->completes(*wait));
  const auto again = this->wait(pair.near.get());
  EXPECT_TRUE(this->completes(*again)) << "each request";
}

TYPED_TEST(EndWaitTest, SeesAReset) {
  test::SocketPair pair = test::tcp_pair();
  const auto wait = this->wait(pair.near.get());
  test::reset(std::move(pair.far));
  EXPECT_TRUE(this->completes(*wait));
}

TYPED_TEST(EndWaitTest, CancelledItCompletesAndCanBeStartedAgain) {
  test::SocketPair pair = test::tcp_pair();
  const auto wait = this->wait(pair.near.get());
  for (int i = 0; i < 2; ++i) {
    this->settle();
    this->reactor().cancel(*wait);
    ASSERT_TRUE(this->run_until_complete(*wait));
    EXPECT_EQ(wait->last().result, -ECANCELED);
    this->reactor().wait_end(pair.near.get(), *wait);
    ASSERT_TRUE(test::send_all(pair.far.get(), std::string_view("x")));
  }
  pair.far.reset();
  ASSERT_TRUE(this->run_until_complete(*wait));
  EXPECT_GT(wait->last().result, 0);
}

/// As a session does once it is served.
TYPED_TEST(EndWaitTest, WhoReadsAfterItSeesWhatCameMeanwhile) {
  test::SocketPair pair = test::tcp_pair();
  const auto wait = this->wait(pair.near.get());
  this->settle();
  ASSERT_TRUE(test::send_all(pair.far.get(), std::string_view("x")));
  this->settle();
  this->reactor().cancel(*wait);
  ASSERT_TRUE(this->run_until_complete(*wait));
  this->reactor().forget(pair.near.get());
  const auto receive = this->probe();
  this->reactor().receive(pair.near.get(), *receive);
  ASSERT_TRUE(this->run_until_complete(*receive));
  EXPECT_EQ(receive->last().data, "x");
}

}  // namespace
}  // namespace sluice
