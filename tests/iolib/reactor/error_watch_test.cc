#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/iolib/reactor/reactor_fixture.h"
#include "tests/support/pattern.h"
#include "tests/support/socket_pair.h"
#include "tests/support/sockets.h"

namespace sluice {
namespace {

using test::SocketPair;
using test::tcp_pair;

constexpr Duration kWindow = std::chrono::milliseconds(100);

template <class Engine>
class ErrorWatchTest : public ReactorTest<Engine> {
 protected:
  [[nodiscard]] std::unique_ptr<Probe> watch(int fd) {
    auto probe = this->probe();
    this->reactor().watch_errors(fd, *probe);
    return probe;
  }
  /// True if the watch reports an error, now or soon. If a reader was faster it took the error
  /// away, and the socket has hung up.
  [[nodiscard]] bool fires(const Probe& watch) {
    return this->run_until([&watch] {
      return std::any_of(watch.seen().begin(), watch.seen().end(), [](const Probe::Seen& seen) {
        return seen.result > 0 && (seen.result & (POLLERR | POLLHUP)) != 0;
      });
    });
  }
  /// True if the watch reports nothing and the loop sleeps.
  [[nodiscard]] bool stays_quiet(const Probe& watch) {
    const std::size_t before = watch.completions();
    return this->sleeps_for(kWindow) && watch.completions() == before && watch.in_flight();
  }
};

TYPED_TEST_SUITE(ErrorWatchTest, Reactors, ReactorNames);

TYPED_TEST(ErrorWatchTest, FiresForAResetBehindUnreadDataAndTakesNothingAway) {
  SocketPair pair = tcp_pair();
  const auto watch = this->watch(pair.near.get());
  ASSERT_TRUE(test::send_all(pair.far.get(), "unread"));
  EXPECT_TRUE(this->stays_quiet(*watch));
  test::reset(std::move(pair.far));
  EXPECT_TRUE(this->fires(*watch));
  const auto receive = this->probe();
  this->reactor().receive(pair.near.get(), *receive);
  ASSERT_TRUE(this->run_until_complete(*receive));
  EXPECT_EQ(receive->last().data, "unread");
  this->reactor().receive(pair.near.get(), *receive);
  ASSERT_TRUE(this->run_until_complete(*receive));
  EXPECT_EQ(receive->last().result, -ECONNRESET);
}

TYPED_TEST(ErrorWatchTest, DoesNotSpinBehindAResetThatNobodyTakes) {
  SocketPair pair = tcp_pair();
  const auto watch = this->watch(pair.near.get());
  ASSERT_TRUE(test::send_all(pair.far.get(), "unread"));
  test::reset(std::move(pair.far));
  EXPECT_TRUE(this->fires(*watch));
  EXPECT_TRUE(this->sleeps_for(kWindow));
  EXPECT_LE(watch->completions(), 2U);
}

TYPED_TEST(ErrorWatchTest, FiresForAResetThatCameBeforeIt) {
  SocketPair pair = tcp_pair();
  test::reset(std::move(pair.far));
  const auto watch = this->watch(pair.near.get());
  EXPECT_TRUE(this->fires(*watch));
}

TYPED_TEST(ErrorWatchTest, FiresForAResetAfterAFin) {
  SocketPair pair = tcp_pair();
  const auto watch = this->watch(pair.near.get());
  test::finish_sending(pair.far.get());
  EXPECT_TRUE(this->stays_quiet(*watch)) << "a FIN alone is no error";
  test::reset(std::move(pair.far));
  EXPECT_TRUE(this->fires(*watch));
}

TYPED_TEST(ErrorWatchTest, FiresForAResetAtAClosedWindow) {
  SocketPair pair = tcp_pair(test::kSmallBuffers);
  const auto watch = this->watch(pair.near.get());
  const auto sent = test::send_until_full(pair.far.get(), test::Pattern(1), 1 << 20,
                                          std::chrono::milliseconds(20));
  ASSERT_GT(sent, test::unread_bytes(pair.near.get())) << "the window is open";
  EXPECT_TRUE(this->stays_quiet(*watch));
  test::reset(std::move(pair.far));
  EXPECT_TRUE(this->fires(*watch));
}

TYPED_TEST(ErrorWatchTest, StaysQuietWhileDataComesInAndLiesUnread) {
  const SocketPair pair = tcp_pair();
  const auto watch = this->watch(pair.near.get());
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(test::send_all(pair.far.get(), "x"));
    this->settle();
  }
  EXPECT_TRUE(this->stays_quiet(*watch));
  EXPECT_EQ(watch->completions(), 0U);
}

TYPED_TEST(ErrorWatchTest, StaysQuietBehindAnUrgentByte) {
  const SocketPair pair = tcp_pair();
  const int on = 1;
  ASSERT_EQ(::setsockopt(pair.near.get(), SOL_SOCKET, SO_OOBINLINE, &on, sizeof on), 0);
  const auto watch = this->watch(pair.near.get());
  ASSERT_TRUE(test::send_all(pair.far.get(), "before"));
  test::send_urgent(pair.far.get(), std::byte{'!'});
  EXPECT_TRUE(this->stays_quiet(*watch));
  ASSERT_TRUE(test::send_all(pair.far.get(), "after"));
  test::send_urgent(pair.far.get(), std::byte{'!'});
  EXPECT_TRUE(this->stays_quiet(*watch));
  EXPECT_EQ(watch->completions(), 0U);
}

// Also applies to waits behind an urgent byte: a direction that waits to write, or to read again
// after it has read everything, has nothing to do.
TYPED_TEST(ErrorWatchTest, NoRequestSpinsBehindAnUrgentByte) {
  const SocketPair pair = tcp_pair(test::kSmallBuffers);
  const int on = 1;
  ASSERT_EQ(::setsockopt(pair.near.get(), SOL_SOCKET, SO_OOBINLINE, &on, sizeof on), 0);
  const auto watch = this->watch(pair.near.get());
  const std::string bytes(4096, 'x');
  while (::send(pair.near.get(), bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) {
  }
  const auto writable = this->probe();
  this->reactor().wait_writable(pair.near.get(), *writable);
  const auto receive = this->probe();
  this->reactor().receive(pair.near.get(), *receive);
  test::send_urgent(pair.far.get(), std::byte{'!'});
  ASSERT_TRUE(this->run_until_complete(*receive));
  EXPECT_EQ(receive->text(), "!");
  this->reactor().receive(pair.near.get(), *receive);
  EXPECT_TRUE(this->stays_quiet(*watch));
  EXPECT_EQ(receive->completions(), 1U);
  EXPECT_EQ(writable->completions(), 0U);
}

TYPED_TEST(ErrorWatchTest, FiresWhileOtherRequestsWaitOnTheSameSocket) {
  SocketPair pair = tcp_pair(test::kSmallBuffers);
  const std::string bytes(4096, 'x');
  while (::send(pair.near.get(), bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) {
  }
  const auto watch = this->watch(pair.near.get());
  const auto receive = this->probe();
  const auto writable = this->probe();
  this->reactor().receive(pair.near.get(), *receive);
  this->reactor().wait_writable(pair.near.get(), *writable);
  this->settle();
  test::reset(std::move(pair.far));
  EXPECT_TRUE(this->fires(*watch));
  EXPECT_TRUE(
      this->run_until([&] { return receive->completions() == 1 && writable->completions() == 1; }));
  EXPECT_EQ(receive->last().result, -ECONNRESET);
}

TYPED_TEST(ErrorWatchTest, CancelledItCompletesOnceAndFiresNoMore) {
  SocketPair pair = tcp_pair();
  const auto watch = this->watch(pair.near.get());
  this->settle();
  this->reactor().cancel(*watch);
  ASSERT_TRUE(this->run_until([&] { return !watch->in_flight(); }));
  EXPECT_EQ(watch->completions(), 1U);
  EXPECT_EQ(watch->last().result, -ECANCELED);
  test::reset(std::move(pair.far));
  this->settle();
  EXPECT_EQ(watch->completions(), 1U);
}

TYPED_TEST(ErrorWatchTest, CancelledItCanBeStartedAgain) {
  SocketPair pair = tcp_pair();
  const auto watch = this->watch(pair.near.get());
  for (std::size_t i = 1; i <= 3; ++i) {
    this->settle();
    this->reactor().cancel(*watch);
    ASSERT_TRUE(this->run_until([&] { return !watch->in_flight(); }));
    ASSERT_EQ(watch->completions(), i);
    ASSERT_EQ(watch->last().result, -ECANCELED);
    this->reactor().watch_errors(pair.near.get(), *watch);
  }
  EXPECT_TRUE(this->stays_quiet(*watch));
  test::reset(std::move(pair.far));
  EXPECT_TRUE(this->fires(*watch));
}

TYPED_TEST(ErrorWatchTest, CancelledAfterItFiredItCompletesForGood) {
  SocketPair pair = tcp_pair();
  const auto watch = this->watch(pair.near.get());
  test::reset(std::move(pair.far));
  EXPECT_TRUE(this->fires(*watch));
  this->reactor().cancel(*watch);
  ASSERT_TRUE(this->run_until([&] { return !watch->in_flight(); }));
  const std::size_t completions = watch->completions();
  EXPECT_FALSE(watch->last().more);
  this->settle();
  EXPECT_EQ(watch->completions(), completions);
}

TYPED_TEST(ErrorWatchTest, ManyResetsAtOnceReachAllWatches) {
  constexpr std::size_t kSockets = 150;
  std::vector<SocketPair> pairs(kSockets);
  std::vector<std::unique_ptr<Probe>> watches;
  for (SocketPair& pair : pairs) {
    pair = tcp_pair();
    watches.push_back(this->watch(pair.near.get()));
  }
  this->settle();
  for (SocketPair& pair : pairs) test::reset(std::move(pair.far));
  for (const auto& watch : watches) ASSERT_TRUE(this->fires(*watch));
}

TYPED_TEST(ErrorWatchTest, TellsOfAUnixPeerThatIsGone) {
  SocketPair pair = test::unix_pair();
  const auto watch = this->watch(pair.near.get());
  EXPECT_TRUE(this->stays_quiet(*watch));
  pair.far.reset();
  EXPECT_TRUE(this->run_until(
      [&] { return !watch->seen().empty() && (watch->last().result & POLLHUP) != 0; }));
}

}  // namespace
}  // namespace sluice
