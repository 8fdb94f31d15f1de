#include <fcntl.h>
#include <gtest/gtest.h>
#include <liburing.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "iolib/base/endpoint.h"
#include "tests/iolib/reactor/reactor_fixture.h"
#include "tests/support/pattern.h"
#include "tests/support/socket_pair.h"
#include "tests/support/sockets.h"

namespace sluice {
namespace {

using test::SocketPair;
using test::tcp_pair;

// More than the 128 buffers that receives share.
constexpr std::size_t kManySockets = 150;

TYPED_TEST_SUITE(ReactorTest, Reactors, ReactorNames);

// --- Receiving

TYPED_TEST(ReactorTest, ReceivesWhatWasSent) {
  const SocketPair pair = tcp_pair();
  const auto receive = this->probe();
  this->reactor().receive(pair.near.get(), *receive);
  this->settle();
  EXPECT_EQ(receive->completions(), 0U);
  EXPECT_TRUE(receive->in_flight());
  ASSERT_TRUE(test::send_all(pair.far.get(), "hello"));
  ASSERT_TRUE(this->run_until_complete(*receive));
  EXPECT_EQ(receive->last().result, 5);
  EXPECT_EQ(receive->last().data, "hello");
  EXPECT_FALSE(receive->last().more);
  EXPECT_FALSE(receive->in_flight());
}

TYPED_TEST(ReactorTest, ReceivesNoMoreThanIsAskedFor) {
  const SocketPair pair = tcp_pair();
  const auto receive = this->probe();
  ASSERT_TRUE(test::send_all(pair.far.get(), "0123456789"));
  this->reactor().receive(pair.near.get(), *receive, 4);
  ASSERT_TRUE(this->run_until_complete(*receive));
  EXPECT_EQ(receive->last().data, "0123");
  this->reactor().receive(pair.near.get(), *receive);
  ASSERT_TRUE(this->run_until_complete(*receive));
  EXPECT_EQ(receive->last().data, "456789");
}

TYPED_TEST(ReactorTest, AStreamFillsWholeBuffers) {
  const SocketPair pair = tcp_pair({.near_receive_bytes = 1 << 20});
  const auto receive = this->probe();
  ASSERT_TRUE(test::send_all(pair.far.get(), std::string(2 * Reactor::kReceiveBytes, 'x')));
  for (int i = 0; i < 2; ++i) {
    this->reactor().receive(pair.near.get(), *receive);
    ASSERT_TRUE(this->run_until_complete(*receive));
    EXPECT_EQ(receive->last().data.size(), Reactor::kReceiveBytes);
  }
}

TYPED_TEST(ReactorTest, TheEndOfTheStreamIsZero) {
  SocketPair pair = tcp_pair();
  const auto receive = this->probe();
  ASSERT_TRUE(test::send_all(pair.far.get(), "last"));
  pair.far.reset();
  this->reactor().receive(pair.near.get(), *receive);
  ASSERT_TRUE(this->run_until_complete(*receive));
  EXPECT_EQ(receive->last().data, "last");
  this->reactor().receive(pair.near.get(), *receive);
  ASSERT_TRUE(this->run_until_complete(*receive));
  EXPECT_EQ(receive->last().result, 0);
}

TYPED_TEST(ReactorTest, AResetIsAnErrorAfterWhatHadCome) {
  SocketPair pair = tcp_pair();
  const auto receive = this->probe();
  ASSERT_TRUE(test::send_all(pair.far.get(), "last"));
  test::reset(std::move(pair.far));
  this->reactor().receive(pair.near.get(), *receive);
  ASSERT_TRUE(this->run_until_complete(*receive));
  EXPECT_EQ(receive->last().data, "last");
  this->reactor().receive(pair.near.get(), *receive);
  ASSERT_TRUE(this->run_until_complete(*receive));
  EXPECT_EQ(receive->last().result, -ECONNRESET);
}

// A receive that brings less than it asked for has not always emptied the socket.
TYPED_TEST(ReactorTest, ReceivesBytesOnBothSidesOfAnUrgentByte) {
  const SocketPair pair = tcp_pair();
  const int on = 1;
  ASSERT_EQ(::setsockopt(pair.near.get(), SOL_SOCKET, SO_OOBINLINE, &on, sizeof on), 0);
  const auto receive = this->probe();
  receive->then = [&](const Probe::Seen&) { this->reactor().receive(pair.near.get(), *receive); };
  ASSERT_TRUE(test::send_all(pair.far.get(), "before"));
  test::send_urgent(pair.far.get(), std::byte{'!'});
  ASSERT_TRUE(test::send_all(pair.far.get(), "after"));
  this->reactor().receive(pair.near.get(), *receive);
  ASSERT_TRUE(this->run_until([&] { return receive->text().size() == 12; }));
  EXPECT_EQ(receive->text(), "before!after");
  ASSERT_TRUE(test::send_all(pair.far.get(), "more"));
  EXPECT_TRUE(this->run_until([&] { return receive->text() == "before!aftermore"; }));
  this->reactor().cancel(*receive);
  receive->then = nullptr;
  this->settle();
}

TYPED_TEST(ReactorTest, ReceivesBytesBehindADescriptorThatAUnixPeerSent) {
  const SocketPair pair = test::unix_pair();
  const auto receive = this->probe();
  receive->then = [&](const Probe::Seen&) { this->reactor().receive(pair.near.get(), *receive); };
  ASSERT_TRUE(test::send_all(pair.far.get(), "before"));
  test::send_descriptor(pair.far.get(), std::byte{'!'}, pair.far.get());
  ASSERT_TRUE(test::send_all(pair.far.get(), "after"));
  this->reactor().receive(pair.near.get(), *receive);
  ASSERT_TRUE(this->run_until([&] { return receive->text().size() == 12; }));
  EXPECT_EQ(receive->text(), "before!after");
  this->reactor().cancel(*receive);
  receive->then = nullptr;
  this->settle();
}

TYPED_TEST(ReactorTest, WaitingReceivesHoldNoBuffer) {
  std::vector<SocketPair> idle(kManySockets);
  std::vector<std::unique_ptr<Probe>> waiting;
  for (SocketPair& pair : idle) {
    pair = tcp_pair();
    waiting.push_back(this->probe());
    this->reactor().receive(pair.near.get(), *waiting.back());
  }
  this->settle();
  const SocketPair busy = tcp_pair();
  const auto receive = this->probe();
  for (int i = 0; i < 100; ++i) {
    this->reactor().receive(busy.near.get(), *receive);
    ASSERT_TRUE(test::send_all(busy.far.get(), "x"));
    ASSERT_TRUE(this->run_until_complete(*receive));
    ASSERT_EQ(receive->last().data, "x");
  }
  for (std::size_t i = 0; i < idle.size(); ++i) {
    ASSERT_EQ(waiting[i]->completions(), 0U);
    ASSERT_TRUE(test::send_all(idle[i].far.get(), "y"));
    ASSERT_TRUE(this->run_until_complete(*waiting[i]));
    ASSERT_EQ(waiting[i]->last().data, "y");
  }
}

TYPED_TEST(ReactorTest, MoreReadyReceiversThanBuffersAllGetTheirBytesInOrder) {
  constexpr std::size_t kEach = 40'000;
  std::vector<SocketPair> pairs(kManySockets);
  std::vector<std::unique_ptr<Probe>> receivers;
  std::size_t total = 0;
  for (std::size_t i = 0; i < kManySockets; ++i) {
    pairs[i] = tcp_pair();
    ASSERT_TRUE(test::send_pattern(pairs[i].far.get(), test::Pattern(i), 0, kEach));
    receivers.push_back(this->probe());
    receivers[i]->then = [this, &pairs, &receivers, &total, i](const Probe::Seen& seen) {
      total += seen.data.size();
      if (receivers[i]->text().size() < kEach && seen.result > 0) {
        this->reactor().receive(pairs[i].near.get(), *receivers[i]);
      }
    };
  }
  for (std::size_t i = 0; i < kManySockets; ++i) {
    this->reactor().receive(pairs[i].near.get(), *receivers[i]);
  }
  EXPECT_TRUE(this->run_until([&] { return total >= kManySockets * kEach; }));
  for (std::size_t i = 0; i < kManySockets; ++i) {
    ASSERT_EQ(receivers[i]->text().size(), kEach) << "receiver " << i;
    ASSERT_EQ(test::Pattern(i).first_mismatch(0, std::as_bytes(std::span(receivers[i]->text()))),
              std::nullopt)
        << "receiver " << i;
  }
}

TYPED_TEST(ReactorTest, ReceiversBeyondTheBuffersCanBeCancelled) {
  std::vector<SocketPair> pairs(kManySockets);
  std::vector<std::unique_ptr<Probe>> receivers;
  std::size_t completed = 0;
  for (std::size_t i = 0; i < kManySockets; ++i) {
    pairs[i] = tcp_pair();
    ASSERT_TRUE(test::send_all(pairs[i].far.get(), "x"));
    receivers.push_back(this->probe());
    receivers[i]->then = [&](const Probe::Seen&) {
      // The first one that gets a byte cancels all.
      if (++completed > 1) return;
      for (const auto& receiver : receivers) this->reactor().cancel(*receiver);
    };
  }
  for (std::size_t i = 0; i < kManySockets; ++i) {
    this->reactor().receive(pairs[i].near.get(), *receivers[i]);
  }
  EXPECT_TRUE(this->run_until([&] { return completed == kManySockets; }));
  this->settle();
  for (std::size_t i = 0; i < kManySockets; ++i) {
    ASSERT_EQ(receivers[i]->completions(), 1U);
    const int result = receivers[i]->last().result;
    ASSERT_TRUE(result == 1 || result == -ECANCELED) << result;
    ASSERT_EQ(test::unread_bytes(pairs[i].near.get()), result == 1 ? 0U : 1U);
  }
}

// --- Waiting for readiness

TYPED_TEST(ReactorTest, ReadableTakesNothingAndHoldsForAsLongAsBytesAreUnread) {
  const SocketPair pair = tcp_pair();
  const auto wait = this->probe();
  this->reactor().wait_readable(pair.near.get(), *wait);
  this->settle();
  EXPECT_EQ(wait->completions(), 0U);
  ASSERT_TRUE(test::send_all(pair.far.get(), "abc"));
  ASSERT_TRUE(this->run_until_complete(*wait));
  EXPECT_GT(wait->last().result, 0);
  this->reactor().wait_readable(pair.near.get(), *wait);
  ASSERT_TRUE(this->run_until_complete(*wait));
  EXPECT_EQ(test::unread_bytes(pair.near.get()), 3U);
  EXPECT_EQ(test::receive_text(pair.near.get(), 3), "abc");
  this->reactor().wait_readable(pair.near.get(), *wait);
  this->settle();
  EXPECT_EQ(wait->completions(), 2U);
}

// The reactor does not see what other calls take.
TYPED_TEST(ReactorTest, ReadableTellsOfWhatAnotherCallHasLeft) {
  const SocketPair pair = tcp_pair();
  const auto readable = this->probe();
  ASSERT_TRUE(test::send_all(pair.far.get(), "0123"));
  for (int i = 0; i < 4; ++i) {
    this->reactor().wait_readable(pair.near.get(), *readable);
    ASSERT_TRUE(this->run_until_complete(*readable));
    char byte = 0;
    ASSERT_EQ(::recv(pair.near.get(), &byte, 1, MSG_DONTWAIT), 1);
  }
  this->reactor().wait_readable(pair.near.get(), *readable);
  this->settle();
  EXPECT_TRUE(readable->in_flight());
  ASSERT_TRUE(test::send_all(pair.far.get(), "4"));
  EXPECT_TRUE(this->run_until_complete(*readable));
}

TYPED_TEST(ReactorTest, ReadableMeansEndedOrFailedToo) {
  for (const bool with_reset : {false, true}) {
    SocketPair pair = tcp_pair();
    const auto wait = this->probe();
    this->reactor().wait_readable(pair.near.get(), *wait);
    this->settle();
    EXPECT_EQ(wait->completions(), 0U);
    if (with_reset) {
      test::reset(std::move(pair.far));
    } else {
      test::finish_sending(pair.far.get());
    }
    ASSERT_TRUE(this->run_until_complete(*wait));
    EXPECT_GT(wait->last().result, 0);
    this->reactor().forget(pair.near.get());
  }
}

TYPED_TEST(ReactorTest, ReadingAndWritingOnOneSocketDoNotDisturbEachOther) {
  const SocketPair pair = tcp_pair(test::kSmallBuffers);
  const auto receive = this->probe();
  const auto writable = this->probe();
  fill(pair.near.get());
  this->reactor().receive(pair.near.get(), *receive);
  this->reactor().wait_writable(pair.near.get(), *writable);
  this->settle();
  ASSERT_TRUE(test::send_all(pair.far.get(), "x"));
  ASSERT_TRUE(this->run_until_complete(*receive));
  EXPECT_EQ(writable->completions(), 0U);
  std::vector<std::byte> taken(1 << 16);
  while (::recv(pair.far.get(), taken.data(), taken.size(), MSG_DONTWAIT) > 0) {
  }
  this->reactor().receive(pair.near.get(), *receive);
  ASSERT_TRUE(this->run_until_complete(*writable));
  EXPECT_EQ(receive->completions(), 1U);
}

// --- Accepting

TYPED_TEST(ReactorTest, AcceptsManyConnections) {
  constexpr std::size_t kConnections = 200;
  const test::Listener listener = test::listen_tcp();
  test::set_nonblocking(listener.fd.get(), true);
  std::vector<OwnedFd> accepted;
  const auto accept = this->probe();
  accept->then = [&](const Probe::Seen& seen) {
    ASSERT_GE(seen.result, 0);
    EXPECT_TRUE(seen.more);
    accepted.emplace_back(seen.result);
  };
  this->reactor().accept(listener.fd.get(), *accept);
  std::vector<OwnedFd> clients;
  for (std::size_t i = 0; i < kConnections; ++i) {
    clients.push_back(test::connect_tcp(listener.port));
    // The first ones come while the loop runs, the others all at once.
    if (i >= 10) continue;
    ASSERT_TRUE(this->run_until([&] { return accepted.size() == clients.size(); }));
  }
  ASSERT_TRUE(this->run_until([&] { return accepted.size() == kConnections; }));
  std::set<int> numbers;
  for (const OwnedFd& fd : accepted) {
    numbers.insert(fd.get());
    EXPECT_NE(::fcntl(fd.get(), F_GETFL) & O_NONBLOCK, 0);
    EXPECT_NE(::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC, 0);
  }
  EXPECT_EQ(numbers.size(), kConnections);
  ASSERT_TRUE(test::send_all(clients.back().get(), "hi"));
  EXPECT_EQ(test::receive_text(accepted.back().get(), 2), "hi");
  EXPECT_TRUE(accept->in_flight());
}

TYPED_TEST(ReactorTest, AcceptingOneLeavesTheOthersQueued) {
  const test::Listener listener = test::listen_tcp();
  test::set_nonblocking(listener.fd.get(), true);
  const std::vector<OwnedFd> clients = [&] {
    std::vector<OwnedFd> fds;
    for (int i = 0; i < 3; ++i) fds.push_back(test::connect_tcp(listener.port));
    return fds;
  }();
  for (int i = 0; i < 2; ++i) {
    const auto accept = this->probe();
    this->reactor().accept_one(listener.fd.get(), *accept);
    ASSERT_TRUE(this->run_until_complete(*accept));
    const OwnedFd accepted(accept->last().result);
    ASSERT_TRUE(accepted);
    EXPECT_FALSE(accept->last().more);
    EXPECT_FALSE(accept->in_flight());
    EXPECT_EQ(accept->completions(), 1U);
  }
  this->reactor().forget(listener.fd.get());
  EXPECT_TRUE(OwnedFd(::accept(listener.fd.get(), nullptr, nullptr)));
  EXPECT_FALSE(OwnedFd(::accept(listener.fd.get(), nullptr, nullptr)));
}

TYPED_TEST(ReactorTest, AcceptingWithoutDescriptorsFailsAndCanBeStartedAgain) {
  const test::Listener listener = test::listen_tcp();
  test::set_nonblocking(listener.fd.get(), true);
  const auto accept = this->probe();
  const OwnedFd client = test::connect_tcp(listener.port);
  {
    // io_uring checks the limit when a request begins, not when a connection comes.
    const test::NoMoreDescriptors none;
    this->reactor().accept(listener.fd.get(), *accept);
    ASSERT_TRUE(this->run_until_complete(*accept));
    EXPECT_EQ(accept->last().result, -EMFILE);
    EXPECT_FALSE(accept->last().more);
    EXPECT_FALSE(accept->in_flight());
    EXPECT_TRUE(this->sleeps_for(std::chrono::milliseconds(100)));
    EXPECT_EQ(accept->completions(), 1U);
  }
  // The connection is still queued.
  this->reactor().accept(listener.fd.get(), *accept);
  ASSERT_TRUE(this->run_until_complete(*accept));
  const OwnedFd accepted(accept->last().result);
  ASSERT_TRUE(accepted);
  ASSERT_TRUE(test::send_all(client.get(), "hi"));
  EXPECT_EQ(test::receive_text(accepted.get(), 2), "hi");
}

// --- Cancelling

TYPED_TEST(ReactorTest, EveryKindOfRequestCanBeCancelledAndCompletesOnce) {
  const SocketPair pair = tcp_pair(test::kSmallBuffers);
  const SocketPair other = tcp_pair();
  const test::Listener listener = test::listen_tcp();
  test::set_nonblocking(listener.fd.get(), true);
  fill(pair.near.get());
  std::vector<std::unique_ptr<Probe>> probes;
  for (int i = 0; i < 5; ++i) probes.push_back(this->probe());
  this->reactor().receive(pair.near.get(), *probes[0]);
  this->reactor().wait_writable(pair.near.get(), *probes[1]);
  this->reactor().watch_errors(pair.near.get(), *probes[2]);
  this->reactor().wait_readable(other.near.get(), *probes[3]);
  this->reactor().accept(listener.fd.get(), *probes[4]);
  this->settle();
  for (const auto& probe : probes) {
    ASSERT_EQ(probe->completions(), 0U);
    this->reactor().cancel(*probe);
    this->reactor().cancel(*probe);
    EXPECT_EQ(probe->completions(), 0U) << "cancel must not complete from within";
    EXPECT_TRUE(probe->in_flight());
  }
  ASSERT_TRUE(this->run_until([&] {
    return std::all_of(probes.begin(), probes.end(),
                       [](const auto& probe) { return !probe->in_flight(); });
  }));
  // Bytes that come now belong to no request.
  ASSERT_TRUE(test::send_all(pair.far.get(), "x"));
  ASSERT_TRUE(test::send_all(other.far.get(), "x"));
  const OwnedFd client = test::connect_tcp(listener.port);
  this->settle();
  for (const auto& probe : probes) {
    ASSERT_EQ(probe->completions(), 1U);
    EXPECT_EQ(probe->last().result, -ECANCELED);
    EXPECT_FALSE(probe->last().more);
    this->reactor().cancel(*probe);
  }
  this->settle();
  for (const auto& probe : probes) EXPECT_EQ(probe->completions(), 1U);
  EXPECT_EQ(test::unread_bytes(other.near.get()), 1U);
}

TYPED_TEST(ReactorTest, ACancelledRequestCanBeStartedAgainAtOnce) {
  const SocketPair pair = tcp_pair();
  const auto receive = this->probe();
  receive->then = [&](const Probe::Seen& seen) {
    if (seen.result == -ECANCELED) this->reactor().receive(pair.near.get(), *receive);
  };
  for (std::size_t i = 0; i < 20; ++i) {
    if (i == 0) this->reactor().receive(pair.near.get(), *receive);
    this->reactor().cancel(*receive);
    ASSERT_TRUE(this->run_until_complete(*receive));
    ASSERT_EQ(receive->completions(), i + 1);
    ASSERT_TRUE(receive->in_flight());
  }
  ASSERT_TRUE(test::send_all(pair.far.get(), "x"));
  ASSERT_TRUE(this->run_until_complete(*receive));
  EXPECT_EQ(receive->text(), "x");
}

// Bytes that the kernel had received before the cancellation are delivered, or still in the socket.
TYPED_TEST(ReactorTest, BytesThatComeBeforeTheCancellationAreKept) {
  for (int round = 0; round < 20; ++round) {
    const SocketPair pair = tcp_pair();
    const SocketPair other = tcp_pair();
    const auto receive = this->probe();
    const auto first = this->probe();
    first->then = [&](const Probe::Seen&) { this->reactor().cancel(*receive); };
    this->reactor().receive(other.near.get(), *first);
    this->reactor().receive(pair.near.get(), *receive);
    if (round % 2 == 0) this->settle();
    ASSERT_TRUE(test::send_all(other.far.get(), "x"));
    ASSERT_TRUE(test::send_all(pair.far.get(), "kept"));
    ASSERT_TRUE(this->run_until([&] { return receive->completions() == 1; }));
    const int result = receive->last().result;
    ASSERT_TRUE(result == 4 || result == -ECANCELED) << result;
    if (result == -ECANCELED) {
      this->reactor().receive(pair.near.get(), *receive);
      ASSERT_TRUE(this->run_until_complete(*receive));
    }
    EXPECT_EQ(receive->text(), "kept");
    EXPECT_EQ(test::unread_bytes(pair.near.get()), 0U);
    this->reactor().forget(pair.near.get());
    this->reactor().forget(other.near.get());
  }
}

// --- Forgetting

TYPED_TEST(ReactorTest, ADescriptorsNumberCanBeUsedAgainAfterItWasForgotten) {
  int number = -1;
  for (int round = 0; round < 50; ++round) {
    SocketPair pair = tcp_pair();
    if (number >= 0 && pair.near.get() != number) {
      // Always the same number, each time for another socket.
      ASSERT_EQ(::dup3(pair.near.get(), number, O_CLOEXEC), number);
      pair.near.reset(number);
    }
    number = pair.near.get();
    const std::string text = "round " + std::to_string(round);
    const auto receive = this->probe();
    const auto writable = this->probe();
    const auto watch = this->probe();
    this->reactor().watch_errors(number, *watch);
    this->reactor().wait_writable(number, *writable);
    this->reactor().receive(number, *receive);
    this->settle();
    ASSERT_EQ(receive->completions(), 0U);
    ASSERT_EQ(writable->completions(), 1U);
    ASSERT_TRUE(test::send_all(pair.far.get(), text));
    ASSERT_TRUE(this->run_until_complete(*receive));
    ASSERT_EQ(receive->text(), text);
    // The requests that are still in flight below must not reach the number's next owner.
    this->reactor().receive(number, *receive);
    this->settle();
    this->reactor().cancel(*receive);
    this->reactor().cancel(*watch);
    ASSERT_TRUE(this->run_until([&] { return !receive->in_flight() && !watch->in_flight(); }));
    ASSERT_EQ(watch->completions(), 1U);
    ASSERT_EQ(watch->last().result, -ECANCELED);
    this->reactor().forget(number);
    pair.far.reset();
    pair.near.reset();
  }
}

TYPED_TEST(ReactorTest, ForgettingWhatWasNeverUsedIsNothing) {
  this->reactor().forget(12'345);
  const SocketPair pair = tcp_pair();
  this->reactor().forget(pair.near.get());
  const auto wait = this->probe();
  this->reactor().wait_writable(pair.near.get(), *wait);
  EXPECT_TRUE(this->run_until_complete(*wait));
}

// --- A kernel that is short of memory or threads

class UringReactorTest : public ReactorTest<UringReactor> {
 protected:
  /// Ends all requests of this program with ECANCELED, as the kernel does when it lacks a thread.
  static void end_all_requests() {
    io_uring_sync_cancel_reg all{};
    all.fd = -1;
    all.flags = IORING_ASYNC_CANCEL_ANY;
    all.timeout = {-1, -1};
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      if (std::filesystem::read_symlink(entry.path(), gone) != "anon_inode:[io_uring]") continue;
      const int ring = std::stoi(entry.path().filename());
      EXPECT_GE(::syscall(SYS_io_uring_register, ring, IORING_REGISTER_SYNC_CANCEL, &all, 1), 0);
    }
  }
};

TEST_F(UringReactorTest, WhatTheKernelEndsUnaskedIsMadeAgainAndNotTakenForAnError) {
  const SocketPair pair = tcp_pair();
  SocketPair full = tcp_pair();
  fill(full.near.get());
  const auto receive = probe();
  const auto writable = probe();
  const auto watch = probe();
  reactor().receive(pair.near.get(), *receive);
  reactor().wait_writable(full.near.get(), *writable);
  reactor().watch_errors(full.near.get(), *watch);
  settle();
  end_all_requests();
  settle();
  EXPECT_EQ(receive->completions() + writable->completions() + watch->completions(), 0U);
  ASSERT_TRUE(test::send_all(pair.far.get(), "hello"));
  ASSERT_TRUE(run_until_complete(*receive));
  EXPECT_EQ(receive->last().data, "hello");
  reset_on_close(full.far.get());
  full.far.reset();
  ASSERT_TRUE(run_until_complete(*watch));
  EXPECT_NE(watch->last().result & POLLERR, 0);
  EXPECT_GT(writable->last().result, 0);
}

TEST_F(UringReactorTest, WhatIsToBeMadeAgainCanBeCancelled) {
  const SocketPair pair = tcp_pair();
  const auto receive = probe();
  reactor().receive(pair.near.get(), *receive);
  settle();
  end_all_requests();
  settle();
  reactor().cancel(*receive);
  ASSERT_TRUE(run_until_complete(*receive));
  EXPECT_EQ(receive->last().result, -ECANCELED);
}

}  // namespace
}  // namespace sluice
