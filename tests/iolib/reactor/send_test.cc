#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
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

/// Passes on what one socket receives, and receives again right behind each send.
class Forwarder final : public Operation, public Sender {
 public:
  struct Sent {
    int result = 0;
    std::string bytes;
  };
  Forwarder(Reactor& reactor, Checkpoint& checkpoint, int from, int to)
      : reactor_(reactor), checkpoint_(checkpoint), from_(from), to_(to) {
    reactor_.receive(from_, *this);
  }

  std::vector<Sent> sent_;
  std::vector<int> received_;  ///< results
  bool ordered_ = true;        ///< no receive completed before its send
  std::function<void(std::span<const std::byte>)> at_complete_ = [](auto) {};
  std::function<void(std::span<const std::byte>)> at_report_ = [](auto) {};
  std::function<void()> behind_send_ = [this] { reactor_.receive(from_, *this); };

 private:
  void complete(const Completion& completion) override {
    ordered_ = ordered_ && !sending();
    received_.push_back(completion.result);
    if (completion.result > 0) {
      EXPECT_TRUE(reactor_.send(to_, completion.data, *this));
      EXPECT_TRUE(sending());
      at_complete_(completion.data);
      behind_send_();
    }
    checkpoint_.check();
  }
  void sent(int result, std::span<const std::byte> bytes) override {
    EXPECT_FALSE(sending());
    sent_.push_back({result, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}});
    at_report_(bytes);
    checkpoint_.check();
  }

  Reactor& reactor_;
  Checkpoint& checkpoint_;
  int from_;
  int to_;
};

class SendTest : public ReactorTest<UringReactor> {
 protected:
  std::unique_ptr<Forwarder> forwarder(int from, int to) {
    return std::make_unique<Forwarder>(reactor(), checkpoint_, from, to);
  }
  void end(Forwarder& forwarder) {
    reactor().cancel(forwarder);
    settle();
  }
};

TEST_F(SendTest, GoesOutWithTheTurnAndIsReportedWhole) {
  const SocketPair source = tcp_pair();
  const SocketPair target = tcp_pair();
  const auto forwarder = this->forwarder(source.near.get(), target.near.get());
  ASSERT_TRUE(test::send_all(source.far.get(), "hello"));
  // Nothing else happens, and a send that succeeds wakes nobody.
  forwarder->behind_send_ = [&] { reactor().hasten(); };
  ASSERT_TRUE(run_until([&] { return forwarder->sent_.size() == 1; }));
  EXPECT_EQ(forwarder->sent_[0].result, 5);
  EXPECT_EQ(forwarder->sent_[0].bytes, "hello");
  EXPECT_EQ(test::receive_text(target.far.get(), 5), "hello");
}

TEST_F(SendTest, IsReportedBeforeTheReceiveBehindIt) {
  const SocketPair source = tcp_pair();
  const SocketPair target = tcp_pair();
  const auto forwarder = this->forwarder(source.near.get(), target.near.get());
  std::string all;
  for (int i = 0; i < 100; ++i) {
    const std::string text = std::to_string(i) + ",";
    ASSERT_TRUE(test::send_all(source.far.get(), text));
    all += text;
    ASSERT_TRUE(run_until([&] { return forwarder->received_.size() == std::size_t(i) + 1; }));
  }
  EXPECT_TRUE(forwarder->ordered_);
  end(*forwarder);
  EXPECT_EQ(test::receive_text(target.far.get(), all.size()), all);
}

// What does not fit is not lost, and the receive that is in flight brings what comes behind it.
TEST_F(SendTest, AShortOneSaysHowMuchWasTaken) {
  const SocketPair source = tcp_pair();
  const SocketPair target = tcp_pair(test::kSmallBuffers);
  const auto forwarder = this->forwarder(source.near.get(), target.near.get());
  const std::string text(Reactor::kReceiveBytes, 'x');
  std::size_t taken = 0;
  for (std::size_t i = 0; taken == i * text.size(); ++i) {
    ASSERT_LT(i, 1000U) << "the target takes everything";
    ASSERT_TRUE(test::send_all(source.far.get(), text));
    ASSERT_TRUE(run_until([&] {
      std::size_t received = 0;
      for (const int bytes : forwarder->received_) received += std::size_t(std::max(bytes, 0));
      if (received < (i + 1) * text.size()) return false;
      reactor().hasten();
      return true;
    }));
    settle();
    taken = 0;
    for (const Forwarder::Sent& send : forwarder->sent_)
      taken += std::size_t(std::max(0, send.result));
  }
  EXPECT_TRUE(forwarder->ordered_);
  const Forwarder::Sent& last = forwarder->sent_.back();
  EXPECT_LT(last.result, static_cast<int>(last.bytes.size()));
  EXPECT_EQ(test::receive_text(target.far.get(), taken).size(), taken);
  end(*forwarder);
}

TEST_F(SendTest, AFailureIsReportedBeforeTheReceiveBehindIt) {
  const SocketPair source = tcp_pair();
  SocketPair target = tcp_pair();
  const auto forwarder = this->forwarder(source.near.get(), target.near.get());
  reset_on_close(target.far.get());
  target.far.reset();
  ASSERT_TRUE(test::send_all(source.far.get(), "lost"));
  ASSERT_TRUE(run_until([&] { return forwarder->received_.size() == 1; }));
  ASSERT_TRUE(test::send_all(source.far.get(), "more"));
  ASSERT_TRUE(run_until([&] { return forwarder->received_.size() == 2; }));
  EXPECT_TRUE(forwarder->ordered_);
  ASSERT_FALSE(forwarder->sent_.empty());
  EXPECT_TRUE(forwarder->sent_[0].result == -ECONNRESET || forwarder->sent_[0].result == -EPIPE);
  EXPECT_EQ(forwarder->sent_[0].bytes, "lost");
  end(*forwarder);
}

// Every one of them lends the buffer of its receive, and there are fewer buffers.
TEST_F(SendTest, MoreSendersThanBuffersAllGetTheirBytesThrough) {
  constexpr std::size_t kMany = 300;
  std::vector<SocketPair> sources;
  std::vector<SocketPair> targets;
  std::vector<std::unique_ptr<Forwarder>> forwarders;
  for (std::size_t i = 0; i < kMany; ++i) {
    sources.push_back(tcp_pair());
    targets.push_back(tcp_pair());
    forwarders.push_back(forwarder(sources[i].near.get(), targets[i].near.get()));
  }
  for (int round = 0; round < 3; ++round) {
    for (std::size_t i = 0; i < kMany; ++i) {
      ASSERT_TRUE(test::send_all(sources[i].far.get(), std::to_string(1000 + i)));
    }
    ASSERT_TRUE(run_until([&] {
      return std::ranges::all_of(forwarders, [&](const auto& forwarder) {
        return forwarder->received_.size() == std::size_t(round) + 1;
      });
    }));
    settle();
    for (std::size_t i = 0; i < kMany; ++i) {
      EXPECT_EQ(test::receive_text(targets[i].far.get(), 4), std::to_string(1000 + i));
    }
  }
  for (const auto& forwarder : forwarders) {
    EXPECT_TRUE(forwarder->ordered_);
    reactor().cancel(*forwarder);
  }
  settle();
}

TEST_F(SendTest, TakesOnlyWhatAReceiveHasBrought) {
  const SocketPair target = tcp_pair();
  const auto forwarder = this->forwarder(target.near.get(), target.near.get());
  std::array<std::byte, 4> own{};
  EXPECT_FALSE(reactor().send(target.near.get(), own, *forwarder));
  EXPECT_FALSE(forwarder->sending());
  end(*forwarder);
}

/// Remembers the reports of its sends.
class Follower final : public Sender {
 public:
  std::vector<Forwarder::Sent> sent_;
  std::function<void()> at_report_ = [] {};

 private:
  void sent(int result, std::span<const std::byte> bytes) override {
    sent_.push_back({result, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}});
    at_report_();
  }
};

TEST_F(SendTest, SeveralMaySendTheSameBytesOneOfThemOnceTheOtherIsReported) {
  const SocketPair source = tcp_pair();
  const SocketPair target = tcp_pair();
  const SocketPair copy = tcp_pair();
  const SocketPair late = tcp_pair();
  const auto forwarder = this->forwarder(source.near.get(), target.near.get());
  Follower second;
  Follower third;
  forwarder->at_complete_ = [&](std::span<const std::byte> bytes) {
    EXPECT_TRUE(reactor().send(copy.near.get(), bytes, second));
    reactor().hasten();
  };
  forwarder->at_report_ = [&](std::span<const std::byte> bytes) {
    EXPECT_TRUE(reactor().send(late.near.get(), bytes, third));
    reactor().hasten();
  };
  third.at_report_ = [&] { checkpoint_.check(); };
  for (int i = 0; i < 300; ++i) {  // more than there are buffers
    const std::string text = std::to_string(1000 + i);
    ASSERT_TRUE(test::send_all(source.far.get(), text));
    ASSERT_TRUE(run_until([&] { return third.sent_.size() == std::size_t(i) + 1; }));
    EXPECT_EQ(second.sent_.back().bytes, text);
    EXPECT_EQ(third.sent_.back().bytes, text);
    EXPECT_EQ(test::receive_text(target.far.get(), 4), text);
    EXPECT_EQ(test::receive_text(copy.far.get(), 4), text);
    EXPECT_EQ(test::receive_text(late.far.get(), 4), text);
  }
  end(*forwarder);
}

TEST_F(SendTest, OwnBytesGoOutWithTheTurn) {
  const SocketPair target = tcp_pair(test::kSmallBuffers);
  const std::string text(1 << 20, 'x');
  Follower sender;
  sender.at_report_ = [&] { checkpoint_.check(); };
  reactor().hasten();
  ASSERT_TRUE(reactor().send_own(target.near.get(), std::as_bytes(std::span(text)), sender));
  EXPECT_TRUE(sender.sending());
  ASSERT_TRUE(run_until([&] { return sender.sent_.size() == 1; }));
  const int taken = sender.sent_[0].result;
  EXPECT_GT(taken, 0);
  EXPECT_LT(taken, static_cast<int>(text.size()));
  EXPECT_EQ(test::receive_text(target.far.get(), static_cast<std::size_t>(taken)),
            text.substr(0, static_cast<std::size_t>(taken)));
}

TEST_F(SendTest, OnceItIsCarriedOutOwnBytesMayGo) {
  const SocketPair target = tcp_pair();
  auto text = std::make_unique<std::string>("as long as it takes");
  Follower sender;
  sender.at_report_ = [&] { checkpoint_.check(); };
  reactor().hasten();
  ASSERT_TRUE(reactor().send_own(target.near.get(), std::as_bytes(std::span(*text)), sender));
  reactor().carry_out();
  std::ranges::fill(*text, '?');
  EXPECT_TRUE(sender.sending());
  EXPECT_EQ(test::receive_text(target.far.get(), text->size()), "as long as it takes");
  ASSERT_TRUE(run_until([&] { return !sender.sending(); }));
}

TEST_F(SendTest, AReportComesWithinTheTimeThatItMayTake) {
  const SocketPair target = tcp_pair();
  const std::string text = "hello";
  Follower sender;
  sender.at_report_ = [&] { checkpoint_.check(); };
  ASSERT_TRUE(reactor().send_own(target.near.get(), std::as_bytes(std::span(text)), sender));
  const TimePoint before = reactor().now();  // from which the wait counts
  reactor().hasten(std::chrono::hours(1));
  reactor().hasten(std::chrono::milliseconds(20));
  ASSERT_TRUE(run_until([&] { return !sender.sending(); }));
  EXPECT_GE(Clock::now() - before, std::chrono::milliseconds(10));
}

TEST_F(SendTest, ADescriptorThatIsClosedBehindItHasSentAll) {
  const SocketPair source = tcp_pair();
  SocketPair target = tcp_pair();
  const auto forwarder = this->forwarder(source.near.get(), target.near.get());
  forwarder->behind_send_ = [&] { reactor().close(std::move(target.near)); };
  ASSERT_TRUE(test::send_all(source.far.get(), "last words"));
  ASSERT_TRUE(run_until([&] { return forwarder->received_.size() == 1; }));
  settle();
  EXPECT_EQ(test::receive_text(target.far.get(), 10), "last words");
  char end = 0;
  EXPECT_EQ(::recv(target.far.get(), &end, 1, 0), 0);
}

}  // namespace
}  // namespace sluice
