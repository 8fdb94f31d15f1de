#include "iolib/mirror/mirror.h"

#include <gtest/gtest.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "iolib/mirror/stream.h"
#include "tests/iolib/relay/relay_fixture.h"
#include "tests/support/in_background.h"
#include "tests/support/temp_dir.h"

namespace sluice::mirror {
namespace {

using namespace std::chrono_literals;
using test::Ending;
using test::Pattern;

const Pattern kAnswers(3);
/// More than all sockets on the way hold.
constexpr std::uint64_t kMuch = 32 << 20;
constexpr std::uint64_t kNoBound = 1 << 30;

/// Reads and drops the whole stream as fast as possible. `bytes` is the count so far.
void drop_whole(int fd, std::atomic<std::uint64_t>& bytes) {
  test::set_nonblocking(fd, false);
  for (;;) {
    const ssize_t got = ::recv(fd, nullptr, 1 << 20, MSG_TRUNC);
    if (got <= 0) return;
    bytes += static_cast<std::uint64_t>(got);
  }
}

/// The SYNs that a listener has dropped because its backlog was full.
std::uint32_t dropped_connects(int listener) {
  std::array<std::uint32_t, SK_MEMINFO_VARS> values{};
  socklen_t size = sizeof values;
  EXPECT_EQ(::getsockopt(listener, SOL_SOCKET, SO_MEMINFO, values.data(), &size), 0);
  return values[SK_MEMINFO_DROPS];
}

/// Relayed connections. The client's direction is mirrored to the test's listener.
class MirrorTest : public RelayTest {
 protected:
  void SetUp() override {
    RelayTest::SetUp();
    if (!IsSkipped()) listener_ = test::listen_tcp();
  }
  void TearDown() override {
    sessions_.clear();
    if (mirror_) {
      loop_->call([this] { mirror_->stop(); });
      EXPECT_TRUE(test::wait_until([this] { return streams() == 0; }));
      loop_->call([this] { mirror_.reset(); });
    }
    listener_.fd.reset();
    RelayTest::TearDown();
  }

  /// The listener's address.
  [[nodiscard]] virtual Endpoint address() const {
    return make_endpoint(*numeric_address({"127.0.0.1", listener_.port}));
  }
  void make_mirror(const Mirror::Options& options = {.budget_bytes = kNoBound}) {
    loop_->call([&] {
      mirror_ = std::make_unique<Mirror>(loop_->reactor(), std::vector{address()}, options);
      mirror_->on_event = [this](Event event, const Detail& detail) {
        events_.push_back(event);
        last_ = detail;
      };
    });
  }
  sluice::RelaySession& start_mirrored(const StreamOptions& options = {.max_lag_bytes = kNoBound},
                                       SessionOptions session = {}) {
    session.before = [this, options](Relay& relay) {
      Stream* const stream = mirror_->open(options);
      if (stream == nullptr) return;
      Pump& pump = relay.to_upstream();
      stream->set_direction([&pump, stream] { pump.detach(*stream); });
      pump.attach(*stream);
    };
    return start(std::move(session));
  }
  [[nodiscard]] OwnedFd accept_mirror() { return test::accept_from(listener_.fd.get()); }

  [[nodiscard]] std::size_t streams() {
    return loop_->call([this] { return mirror_->size(); });
  }
  [[nodiscard]] std::vector<Event> events() {
    return loop_->call([this] { return events_; });
  }
  /// The detail of the last event.
  [[nodiscard]] Detail last_detail() {
    return loop_->call([this] { return last_; });
  }
  [[nodiscard]] bool wait_for(Count what, std::uint64_t count) {
    return test::wait_until([&] { return mirror_->count(what) == count; });
  }
  /// Moves `size` bytes to the upstream; the client's stream stays open.
  static void move(sluice::RelaySession& session, std::uint64_t size) {
    auto sender = test::in_background(
        [&] { return test::send_pattern(session.client.get(), kToUpstream, 0, size); });
    test::PatternChecker checker(kToUpstream);
    test::read_pattern(session.upstream.get(), checker, {.stop_after_bytes = size});
    EXPECT_EQ(checker.received_bytes(), size);
    EXPECT_EQ(checker.mismatch(), std::nullopt);
    EXPECT_TRUE(sender.get());
  }
  static void finish(sluice::RelaySession& session) {
    test::finish_sending(session.client.get());
    test::finish_sending(session.upstream.get());
    EXPECT_EQ(session.end(), EndReason::closed);
  }

  test::Listener listener_;
  std::unique_ptr<Mirror> mirror_;  ///< used on the loop's thread only, except its counts
  std::vector<Event> events_;       ///< used on the loop's thread only
  Detail last_;                     ///< the same
};

TEST_P(MirrorTest, GetsExactlyTheClientsBytesAndTheirEnd) {
  make_mirror();
  sluice::RelaySession& session = start_mirrored();
  const OwnedFd mirror = accept_mirror();
  constexpr std::uint64_t kSize = 8 << 20;
  auto sender = test::in_background(
      [&] { return send_in_pieces(session.client.get(), kToUpstream, kSize, test::seed()); });
  auto mirrored = test::in_background([&] { return read_whole(mirror.get(), kToUpstream, kSize); });
  EXPECT_EQ(read_whole(session.upstream.get(), kToUpstream, kSize), "");
  EXPECT_TRUE(sender.get());
  EXPECT_EQ(mirrored.get(), "");
  // The other direction is not mirrored.
  EXPECT_TRUE(test::send_pattern(session.upstream.get(), kToClient, 0, kSize / 8));
  test::finish_sending(session.upstream.get());
  EXPECT_EQ(read_whole(session.client.get(), kToClient, kSize / 8), "");
  EXPECT_EQ(session.end(), EndReason::closed);
  test::finish_sending(mirror.get());
  EXPECT_TRUE(wait_for(Count::active, 0));
  EXPECT_EQ(mirror_->count(Count::bytes), kSize);
  EXPECT_EQ(mirror_->count(Count::lag), 0U);
  EXPECT_EQ(mirror_->count(Count::unfinished) + mirror_->count(Count::ended), 0U);
}

TEST_P(MirrorTest, SeveralMirrorsEachGetAllOfIt) {
  make_mirror();
  SessionOptions options;
  options.before = [this](Relay& relay) {
    for (int i = 0; i < 3; ++i) {
      Stream* const stream = mirror_->open({.max_lag_bytes = kNoBound});
      Pump& pump = relay.to_upstream();
      stream->set_direction([&pump, stream] { pump.detach(*stream); });
      pump.attach(*stream);
    }
  };
  sluice::RelaySession& session = start(std::move(options));
  constexpr std::uint64_t kSize = 3 << 20;
  std::vector<OwnedFd> mirrors;
  std::vector<std::future<std::string>> read;
  for (int i = 0; i < 3; ++i) {
    mirrors.push_back(accept_mirror());
    read.push_back(test::in_background(
        [fd = mirrors.back().get()] { return read_whole(fd, kToUpstream, kSize); }));
  }
  move(session, kSize);
  finish(session);
  for (auto& each : read) EXPECT_EQ(each.get(), "");
}

TEST_P(MirrorTest, ItsAnswersAreThrownAwayHoweverManyTheyAre) {
  make_mirror();
  sluice::RelaySession& session = start_mirrored();
  const OwnedFd mirror = accept_mirror();
  EXPECT_TRUE(test::send_pattern(mirror.get(), kAnswers, 0, kMuch));
  test::finish_sending(mirror.get());
  // A mirror that has answered may go on reading.
  auto mirrored =
      test::in_background([&] { return read_whole(mirror.get(), kToUpstream, 100'000); });
  move(session, 100'000);
  finish(session);
  EXPECT_EQ(mirrored.get(), "");
  EXPECT_EQ(test::receive_text(session.client.get(), 1), "");
}

TEST_P(MirrorTest, WhatCameBeforeItsConnectionStoodIsKept) {
  // Nothing accepts, and the backlog is full: the kernel answers no further SYN.
  listener_ = test::listen_tcp(0);
  std::vector<OwnedFd> fillers;
  fillers.push_back(test::connect_tcp(listener_.port));
  make_mirror();
  sluice::RelaySession& session =
      start_mirrored({.max_lag_bytes = kNoBound, .connect_timeout = 30s});
  constexpr std::uint64_t kSize = 2 << 20;
  move(session, kSize);
  // A tap may get forwarded bytes a moment later.
  EXPECT_TRUE(wait_for(Count::lag, kSize));
  finish(session);
  static_cast<void>(accept_mirror());
  const OwnedFd mirror = accept_mirror();
  EXPECT_EQ(read_whole(mirror.get(), kToUpstream, kSize), "");
  EXPECT_EQ(mirror_->count(Count::copied), kSize);
}

TEST_P(MirrorTest, AHalfCloseIsPassedOnWhileTheOtherWayGoesOn) {
  make_mirror();
  sluice::RelaySession& session = start_mirrored();
  const OwnedFd mirror = accept_mirror();
  move(session, 1000);
  test::finish_sending(session.client.get());
  EXPECT_EQ(read_whole(mirror.get(), kToUpstream, 1000), "");
  EXPECT_TRUE(test::send_all(mirror.get(), "an answer"));
  EXPECT_TRUE(test::send_all(session.upstream.get(), "hello"));
  EXPECT_EQ(test::receive_text(session.client.get(), 5), "hello");
  EXPECT_EQ(mirror_->count(Count::active), 1U);
  test::finish_sending(session.upstream.get());
  EXPECT_EQ(session.end(), EndReason::closed);
}

TEST_P(MirrorTest, AResetComesAfterAllThatCameBeforeIt) {
  make_mirror();
  sluice::RelaySession& session = start_mirrored();
  const OwnedFd mirror = accept_mirror();
  move(session, kMuch);
  test::reset(std::move(session.client));
  EXPECT_EQ(session.end(), EndReason::client_reset);
  // It begins to read only now.
  EXPECT_EQ(read_until(mirror.get(), kToUpstream, Ending::reset), kMuch);
  EXPECT_TRUE(wait_for(Count::active, 0));
}

TEST_P(MirrorTest, ItOutlivesTheConnectionUntilItHasEverything) {
  make_mirror();
  sluice::RelaySession& session = start_mirrored();
  const OwnedFd mirror = accept_mirror();
  move(session, kMuch);
  finish(session);
  EXPECT_EQ(mirror_->count(Count::active), 1U);
  EXPECT_EQ(read_whole(mirror.get(), kToUpstream, kMuch), "");
}

TEST_P(MirrorTest, ButNotForLong) {
  make_mirror({.budget_bytes = kNoBound, .drain_time = 50ms});
  sluice::RelaySession& session = start_mirrored();
  const OwnedFd mirror = accept_mirror();
  move(session, kMuch);
  finish(session);
  EXPECT_TRUE(wait_for(Count::active, 0));
  EXPECT_EQ(mirror_->count(Count::unfinished), 1U);
  EXPECT_EQ(mirror_->count(Count::lag), 0U);
  EXPECT_LT(read_until(mirror.get(), kToUpstream, Ending::reset), kMuch);
}

TEST_P(MirrorTest, OneThatOnlyDoesNotCloseHasWhatItWasToHave) {
  make_mirror({.budget_bytes = kNoBound, .drain_time = 50ms});
  sluice::RelaySession& session = start_mirrored();
  const OwnedFd mirror = accept_mirror();
  move(session, 1000);
  finish(session);
  EXPECT_TRUE(wait_for(Count::active, 0));
  EXPECT_EQ(mirror_->count(Count::unfinished), 0U);
  EXPECT_EQ(read_whole(mirror.get(), kToUpstream, 1000), "");
}

TEST_P(MirrorTest, BeyondTheLagItIsCutAndTheConnectionGoesOn) {
  make_mirror();
  constexpr std::uint64_t kLag = 1 << 20;
  sluice::RelaySession& session = start_mirrored({.connection = 7, .max_lag_bytes = kLag});
  const OwnedFd mirror = accept_mirror();
  move(session, kMuch);
  EXPECT_EQ(mirror_->count(Count::lagged), 1U);
  EXPECT_EQ(mirror_->count(Count::lag), 0U);
  EXPECT_LT(read_until(mirror.get(), kToUpstream, Ending::reset), kMuch);
  EXPECT_EQ(events(), std::vector{Event::lagged});
  EXPECT_EQ(last_detail().connection, 7U);
  EXPECT_EQ(last_detail().limit, Limit::lag);
  finish(session);
  // The next connection is mirrored again.
  sluice::RelaySession& next = start_mirrored({.max_lag_bytes = kLag});
  const OwnedFd next_mirror = accept_mirror();
  move(next, 1000);
  finish(next);
  EXPECT_EQ(read_whole(next_mirror.get(), kToUpstream, 1000), "");
}

// As on a busy worker: each turn of the mirror comes with a turn of the direction, which brings a
// whole pipe of bytes. In each turn the mirror has taken everything that it was sent.
TEST_P(MirrorTest, OneThatStopsForAMomentCatchesUpWithAFastStream) {
  make_mirror();
  constexpr std::uint64_t kLag = 24 << 20;
  Stream* stream = loop_->call([&] { return mirror_->open({.max_lag_bytes = kLag}); });
  const OwnedFd mirror = accept_mirror();
  const std::vector<std::byte> bytes(1 << 20);
  std::uint64_t offset = 0;
  const auto append = [&] {
    stream->append(offset, bytes);
    offset += bytes.size();
  };
  loop_->call([&] {
    while (mirror_->count(Count::lag) < 4 * bytes.size()) append();
  });
  std::atomic<std::uint64_t> dropped = 0;
  auto reader = test::in_background([&] { drop_whole(mirror.get(), dropped); });
  std::promise<void> done;
  int turns = 0;
  const std::function<void()> turn = [&] {
    const auto cut = [&] { return mirror_->count(Count::lagged) > 0; };
    while (dropped < mirror_->count(Count::bytes) && !cut()) std::this_thread::yield();
    if (cut() || ++turns > 400) return done.set_value();
    append();
    loop_->reactor().post(turn);
  };
  loop_->reactor().post(turn);
  done.get_future().wait();
  EXPECT_EQ(mirror_->count(Count::lagged), 0U) << "after " << turns << " turns";
  EXPECT_TRUE(wait_for(Count::lag, 0));
  loop_->call([&] { stream->eof(offset); });
  reader.get();
  if (mirror_->count(Count::lagged) == 0) {
    EXPECT_EQ(dropped, offset);
  }
}

// Each message goes to the mirror by itself until one is short. Then others come behind its rest.
TEST_P(MirrorTest, MessagesBehindOneThatItsSocketTakesInPartKeepTheirOrder) {
  constexpr std::uint64_t kMessageBytes = 20'000;
  constexpr std::uint64_t kMostMessages = 4'000;
  make_mirror();
  sluice::RelaySession& session = start_mirrored();
  test::PatternChecker at_upstream(kToUpstream);
  std::uint64_t sent = 0;
  const auto send_message = [&] {
    EXPECT_TRUE(test::send_pattern(session.client.get(), kToUpstream, sent, kMessageBytes));
    sent += kMessageBytes;
    test::read_pattern(session.upstream.get(), at_upstream, {.stop_after_bytes = sent});
  };
  send_message();
  const OwnedFd mirror = accept_mirror();
  ASSERT_TRUE(wait_for(Count::bytes, sent));
  while (mirror_->count(Count::lag) < 4 * kMessageBytes && sent < kMostMessages * kMessageBytes) {
    send_message();
  }
  EXPECT_GE(mirror_->count(Count::lag), 4 * kMessageBytes);
  EXPECT_EQ(at_upstream.mismatch(), std::nullopt);
  finish(session);
  EXPECT_EQ(read_whole(mirror.get(), kToUpstream, sent), "");
  EXPECT_TRUE(wait_for(Count::bytes, sent));
  EXPECT_TRUE(wait_for(Count::lag, 0));
}

TEST_P(MirrorTest, TheBudgetBoundsAllTogether) {
  constexpr std::size_t kBudget = 2 << 20;
  make_mirror({.budget_bytes = kBudget});
  std::vector<OwnedFd> mirrors;
  std::vector<sluice::RelaySession*> connections;
  std::uint64_t most = 0;
  for (int i = 0; i < 6; ++i) {
    connections.push_back(&start_mirrored());
    mirrors.push_back(accept_mirror());
    move(*connections.back(), kMuch);
    most = std::max(most, mirror_->count(Count::lag));
  }
  EXPECT_GT(mirror_->count(Count::lagged), 0U);
  EXPECT_LE(most, kBudget);
  EXPECT_EQ(last_detail().limit, Limit::budget);
  for (sluice::RelaySession* connection : connections) finish(*connection);
}

TEST_P(MirrorTest, SheddingLastsUntilTheOthersHaveCaughtUp) {
  make_mirror();
  constexpr std::uint64_t kLag = kMuch;
  const StreamOptions options{.max_lag_bytes = kLag, .on_lag = OnLag::shed};
  sluice::RelaySession& lagging = start_mirrored(options);
  const OwnedFd lagging_mirror = accept_mirror();
  move(lagging, kLag);
  ASSERT_GT(mirror_->count(Count::lag), 0U);
  sluice::RelaySession& worst = start_mirrored(options);
  const OwnedFd worst_mirror = accept_mirror();
  move(worst, 2 * kLag);
  EXPECT_EQ(events(), (std::vector{Event::lagged, Event::shedding}));
  sluice::RelaySession& kept_away = start_mirrored(options);
  move(kept_away, 1000);
  EXPECT_EQ(mirror_->count(Count::shed), 1U);
  EXPECT_EQ(mirror_->count(Count::streams), 2U);
  // Now the other mirror stream reads.
  test::PatternChecker checker(kToUpstream);
  test::read_pattern(lagging_mirror.get(), checker, {.stop_after_bytes = kLag});
  EXPECT_EQ(checker.mismatch(), std::nullopt);
  EXPECT_EQ(checker.received_bytes(), kLag);
  EXPECT_EQ(events(), (std::vector{Event::lagged, Event::shedding, Event::caught_up}));
  sluice::RelaySession& mirrored = start_mirrored(options);
  const OwnedFd mirror = accept_mirror();
  move(mirrored, 1000);
  for (sluice::RelaySession* session : {&lagging, &worst, &kept_away, &mirrored}) finish(*session);
  EXPECT_EQ(read_whole(mirror.get(), kToUpstream, 1000), "");
}

TEST_P(MirrorTest, SheddingIsCommonToAllThatMirrorToAServer) {
  Shedding shedding;
  make_mirror({.budget_bytes = kNoBound, .shedding = &shedding});
  const auto open = [this] {
    return loop_->call([this] { return mirror_->open({.on_lag = OnLag::shed}); });
  };
  Stream* const stream = open();
  // Another thread's streams do this.
  shedding.fell_behind();
  shedding.fell_behind();
  loop_->call([&] { stream->overrun(0, 1); });
  EXPECT_EQ(events(), (std::vector{Event::lagged, Event::shedding}));
  EXPECT_FALSE(shedding.begin());
  EXPECT_EQ(open(), nullptr);
  EXPECT_EQ(mirror_->count(Count::shed), 1U);
  EXPECT_FALSE(shedding.caught_up());
  EXPECT_EQ(open(), nullptr);
  EXPECT_TRUE(shedding.caught_up());
  EXPECT_NE(open(), nullptr);
  // Shedding does not begin where nothing could end it.
  EXPECT_FALSE(shedding.begin());
}

TEST_P(MirrorTest, OneThatBreaksOffDoesNoHarm) {
  make_mirror();
  sluice::RelaySession& session = start_mirrored({.connection = 7});
  OwnedFd mirror = accept_mirror();
  move(session, 1000);
  test::reset(std::move(mirror));
  EXPECT_TRUE(wait_for(Count::ended, 1));
  EXPECT_TRUE(wait_for(Count::active, 0));
  EXPECT_EQ(events(), std::vector{Event::ended});
  EXPECT_EQ(last_detail().connection, 7U);
  EXPECT_EQ(last_detail().error.code, ECONNRESET);
  move(session, 100'000);
  EXPECT_EQ(session.look([](Relay& relay) { return relay.to_upstream().tapped(); }), false);
  finish(session);
}

// As a proxy does whose servers are down.
TEST_P(MirrorTest, OneThatBreaksOffAtOnceIsLeftAlone) {
  make_mirror();
  const auto open = [this] { return loop_->call([this] { return mirror_->open({}) != nullptr; }); };
  const auto broken_off = [&](std::uint64_t count) {
    test::reset(accept_mirror());
    return wait_for(Count::ended, count) && wait_for(Count::active, 0);
  };
  ASSERT_TRUE(open());
  EXPECT_TRUE(broken_off(1));
  ASSERT_TRUE(open());
  EXPECT_TRUE(broken_off(2));
  EXPECT_EQ(events(), (std::vector{Event::ended, Event::ended, Event::opened}));
  EXPECT_EQ(last_detail().error.code, ECONNRESET);
  EXPECT_FALSE(open());
  EXPECT_EQ(mirror_->count(Count::refused), 1U);
  // A probe that merely connects is not enough.
  ASSERT_TRUE(test::wait_until(open));
  EXPECT_TRUE(broken_off(3));
  EXPECT_EQ(events().size(), 6U);
  EXPECT_EQ(events().back(), Event::opened);
  // A probe that is not broken off is.
  ASSERT_TRUE(test::wait_until(open));
  const OwnedFd probe = accept_mirror();
  EXPECT_TRUE(test::wait_until([this] { return events().back() == Event::closed; }));
  EXPECT_TRUE(open());
}

// The mirror has already ended before the first byte. What is sent then causes a reset, which
// nothing waits for.
TEST_P(MirrorTest, OneThatClosesAtOnceTakesNothing) {
  make_mirror();
  for (std::uint64_t i = 1; i <= 2; ++i) {
    Stream* const stream = loop_->call([this] { return mirror_->open({}); });
    ASSERT_NE(stream, nullptr);
    accept_mirror().reset();
    loop_->call([&] {
      const std::vector<std::byte> bytes(100);
      stream->append(0, bytes);
      stream->eof(bytes.size());
      stream->closed({});
    });
    EXPECT_TRUE(wait_for(Count::active, 0));
    EXPECT_EQ(mirror_->count(Count::ended), i);
  }
  EXPECT_EQ(events(), (std::vector{Event::ended, Event::ended, Event::opened}));
}

TEST_P(MirrorTest, ABreakerKeepsConnectionsAwayUntilItIsBack) {
  listener_ = test::bind_tcp();
  make_mirror();
  sluice::RelaySession& first = start_mirrored();
  move(first, 1000);
  // Two tries, a short time apart, both fail.
  EXPECT_TRUE(wait_for(Count::failed, 1));
  EXPECT_EQ(events(), std::vector{Event::opened});
  sluice::RelaySession& second = start_mirrored();
  move(second, 1000);
  EXPECT_EQ(mirror_->count(Count::refused), 1U);
  // The half-open breaker finds the mirror still down.
  ASSERT_TRUE(test::wait_until([&] {
    start_mirrored();
    return events().size() == 3;
  }));
  EXPECT_EQ(events(), (std::vector{Event::opened, Event::half_opened, Event::opened}));
  test::start_listening(listener_);
  ASSERT_TRUE(test::wait_until([&] {
    start_mirrored();
    return events().size() >= 4;
  }));
  ASSERT_TRUE(test::wait_until([&] { return events().size() == 5; }));
  EXPECT_EQ(events().back(), Event::closed);
  const OwnedFd probe = accept_mirror();
  sluice::RelaySession& last = start_mirrored();
  const OwnedFd mirror = accept_mirror();
  move(last, 1000);
  for (sluice::RelaySession* session : {&first, &second, &last}) finish(*session);
  EXPECT_EQ(read_whole(mirror.get(), kToUpstream, 1000), "");
}

TEST_P(MirrorTest, ARetryFindsOneThatWasJustRestarted) {
  listener_ = test::bind_tcp();
  make_mirror();
  // The first try fails at once. The second comes later, and succeeds.
  loop_->call([this] {
    Stream* stream = mirror_->open({});
    ASSERT_NE(stream, nullptr);
    test::start_listening(listener_);
    stream->reset(0);
  });
  static_cast<void>(accept_mirror());
  EXPECT_TRUE(wait_for(Count::active, 0));
  EXPECT_EQ(mirror_->count(Count::failed), 0U);
  EXPECT_TRUE(events().empty());
}

TEST_P(MirrorTest, OneThatDoesNotAnswerTimesOut) {
  listener_ = test::listen_tcp(0);
  const OwnedFd filler = test::connect_tcp(listener_.port);
  make_mirror();
  sluice::RelaySession& session =
      start_mirrored({.max_lag_bytes = kNoBound, .connect_timeout = 20ms});
  EXPECT_TRUE(wait_for(Count::failed, 1));
  move(session, 1000);
  finish(session);
  EXPECT_EQ(events(), std::vector{Event::opened});
  // There was no retry: it would only have taken as long again.
  EXPECT_EQ(dropped_connects(listener_.fd.get()), 1U);
}

TEST_P(MirrorTest, OneThatDoesNotAnswerIsConnectedToByAFewOnly) {
  listener_ = test::listen_tcp(0);
  const OwnedFd filler = test::connect_tcp(listener_.port);
  make_mirror();
  const auto refused = [this] {
    return loop_->call([this] { return mirror_->open({.connect_timeout = 30s}) == nullptr; });
  };
  EXPECT_TRUE(test::wait_until(refused));
  EXPECT_GE(mirror_->count(Count::streams), Mirror::kMostUnanswered);
  EXPECT_GE(mirror_->count(Count::refused), 1U);
  EXPECT_TRUE(refused());
  // An answer to one stream counts for all.
  EXPECT_TRUE(events().empty());
  static_cast<void>(accept_mirror());
  const OwnedFd answered = accept_mirror();
  EXPECT_TRUE(test::wait_until([&] { return !refused(); }));
}

TEST_P(MirrorTest, ABurstToOneThatAnswersIsMirroredAsAWhole) {
  make_mirror();
  constexpr std::size_t kBurst = 4 * Mirror::kMostUnanswered;
  loop_->call([this] {
    for (std::size_t i = 0; i < kBurst; ++i) ASSERT_NE(mirror_->open({}), nullptr);
  });
  for (std::size_t i = 0; i < kBurst; ++i) static_cast<void>(accept_mirror());
  EXPECT_EQ(mirror_->count(Count::refused), 0U);
}

// For tests without a relay.
const auto kEachEngine =
    testing::Values(RelayMode{.engine = Engine::uring}, RelayMode{.engine = Engine::asio});

/// Streams without a relay.
class BareTest : public MirrorTest {
 protected:
  /// A stream with `size` bytes, ended or still open. With many bytes it has connected, or tried
  /// to, on return.
  [[nodiscard]] Stream* open_with(std::uint64_t size, bool ends = true) {
    return loop_->call([&] {
      Stream* const stream = mirror_->open({.connect_timeout = 30s});
      if (stream == nullptr) return stream;
      std::vector<std::byte> bytes(size);
      kToUpstream.fill(0, bytes);
      if (size > 0) stream->append(0, bytes);
      if (!ends) return stream;
      stream->eof(size);
      stream->closed({});
      return stream;
    });
  }
};
INSTANTIATE_TEST_SUITE_P(Engines, BareTest, kEachEngine, name_of_relay_mode);

TEST_P(BareTest, OneThatResetsOnceItHasEverythingIsNotDown) {
  make_mirror();
  for (int i = 0; i < 3; ++i) {
    Stream* const stream = open_with(1000);
    ASSERT_NE(stream, nullptr);
    OwnedFd mirror = accept_mirror();
    EXPECT_EQ(read_whole(mirror.get(), kToUpstream, 1000), "");
    test::reset(std::move(mirror));
    EXPECT_TRUE(wait_for(Count::active, 0));
  }
  EXPECT_EQ(mirror_->count(Count::ended) + mirror_->count(Count::unfinished), 0U);
  EXPECT_TRUE(events().empty());
}

// Its reset overtakes the bytes that its kernel had no room for.
TEST_P(BareTest, OneThatResetsWhileItLacksBytesBreaksOff) {
  listener_ = test::listen_tcp(4096, {.receive_buffer_bytes = 4096});
  make_mirror();
  constexpr std::uint64_t kSize = 200'000;
  ASSERT_NE(open_with(kSize), nullptr);
  OwnedFd mirror = accept_mirror();
  EXPECT_TRUE(wait_for(Count::bytes, kSize));
  test::reset(std::move(mirror));
  EXPECT_TRUE(wait_for(Count::active, 0));
  EXPECT_EQ(mirror_->count(Count::ended), 1U);
  EXPECT_EQ(events(), std::vector{Event::ended});
}

// A reset of an empty stream does not show that the mirror is well, either.
TEST_P(BareTest, OneThatResetsWhatIsEmptyIsStillFoundDown) {
  make_mirror();
  const auto open = [this] { return loop_->call([this] { return mirror_->open({}); }); };
  const auto open_empty = [this] { return open_with(0); };
  const auto reset_at = [this](Stream* stream, bool at_its_end) {
    ASSERT_NE(stream, nullptr);
    OwnedFd mirror = accept_mirror();
    if (at_its_end) {
      EXPECT_EQ(test::receive_text(mirror.get(), 1), "");
    }
    test::reset(std::move(mirror));
    EXPECT_TRUE(wait_for(Count::active, 0));
  };
  reset_at(open(), false);
  reset_at(open_empty(), true);
  reset_at(open(), false);
  EXPECT_EQ(events(), (std::vector{Event::ended, Event::ended, Event::opened}));
  // A probe, however, has to end either well or badly.
  Stream* probe = nullptr;
  ASSERT_TRUE(test::wait_until([&] { return (probe = open_empty()) != nullptr; }));
  reset_at(probe, true);
  EXPECT_EQ(events().back(), Event::closed);
}

TEST_P(BareTest, OneThatResetsBehindItsAnswerIsNotDown) {
  make_mirror();
  for (std::uint64_t i = 1; i <= 3; ++i) {
    Stream* const stream = open_with(1000, false);
    ASSERT_NE(stream, nullptr);
    OwnedFd mirror = accept_mirror();
    // A receive finds the reset, or the send of the next bytes.
    loop_->call([&] {
      EXPECT_TRUE(test::send_all(mirror.get(), "an answer"));
      test::reset(std::move(mirror));
      if (i == 2) stream->append(1000, std::vector<std::byte>(Mirror::kGatherBytes));
    });
    EXPECT_TRUE(wait_for(Count::active, 0));
    EXPECT_EQ(mirror_->count(Count::ended), i);
  }
  EXPECT_EQ(events(), std::vector(3, Event::ended));
}

TEST_P(BareTest, WhatIsStoppedIsUnfinishedWhereTheMirrorLacksSomething) {
  make_mirror();
  const auto stop = [this] {
    // A second stop changes nothing, and is not counted.
    loop_->call([this] { mirror_->stop(), mirror_->stop(); });
    EXPECT_TRUE(wait_for(Count::active, 0));
    return mirror_->count(Count::unfinished);
  };
  const auto open_and_send = [this](std::uint64_t size, bool ends) {
    EXPECT_NE(open_with(size, ends), nullptr);
    OwnedFd mirror = accept_mirror();
    test::PatternChecker checker(kToUpstream);
    test::read_pattern(mirror.get(), checker, {.stop_after_bytes = size});
    EXPECT_EQ(checker.received_bytes(), size);
    if (ends) {
      EXPECT_EQ(test::receive_text(mirror.get(), 1), "");
    }
    // Once the answer is acknowledged, so are all bytes before it.
    EXPECT_TRUE(test::send_all(mirror.get(), "!"));
    EXPECT_TRUE(test::wait_until([&] { return test::unacknowledged_bytes(mirror.get()) == 0; }));
    return mirror;
  };
  // The mirror has every byte, and the end if there was one.
  {
    const OwnedFd going_on = open_and_send(1000, false);
    const OwnedFd ended = open_and_send(1000, true);
    EXPECT_EQ(stop(), 0U);
  }
  // The stream has not connected yet. It has no bytes, so none are missing.
  loop_->call([this] {
    ASSERT_NE(mirror_->open({}), nullptr);
    mirror_->stop();
  });
  EXPECT_EQ(stop(), 0U);
  loop_->call([this] {
    mirror_->open({})->eof(0);
    mirror_->open({})->append(0, std::vector<std::byte>(1));
    mirror_->stop();
  });
  EXPECT_EQ(stop(), 2U);
  // This mirror does not read.
  ASSERT_NE(open_with(3 << 20, false), nullptr);
  const OwnedFd stuck = accept_mirror();
  EXPECT_GT(mirror_->count(Count::lag), 0U);
  EXPECT_EQ(stop(), 3U);
}

TEST_P(BareTest, WhatIsStoppedUnacknowledgedIsUnfinished) {
  listener_ = test::listen_tcp(4096, {.receive_buffer_bytes = 4096});
  make_mirror();
  constexpr std::uint64_t kSize = 200'000;
  ASSERT_NE(open_with(kSize), nullptr);
  const OwnedFd mirror = accept_mirror();
  EXPECT_TRUE(wait_for(Count::bytes, kSize));
  EXPECT_EQ(mirror_->count(Count::lag), 0U);
  loop_->call([this] { mirror_->stop(); });
  EXPECT_TRUE(wait_for(Count::active, 0));
  EXPECT_EQ(mirror_->count(Count::unfinished), 1U);
}

/// A unix socket whose backlog is full until a connection is accepted.
class FullBacklogTest : public BareTest {
 protected:
  void SetUp() override {
    BareTest::SetUp();
    if (IsSkipped()) return;
    listener_.fd = test::listen_unix(path_);
    ASSERT_EQ(::listen(listener_.fd.get(), 0), 0);
    filler_ = test::connect_unix(path_);
  }
  void TearDown() override {
    filler_.reset();
    BareTest::TearDown();
  }
  [[nodiscard]] Endpoint address() const override { return make_endpoint(UnixEndpoint{path_}); }
  /// A stream that has found the backlog full.
  [[nodiscard]] Stream* open_to_full(bool ends = true) { return open_with(kSize, ends); }
  void make_room() { static_cast<void>(accept_mirror()); }

  static constexpr std::uint64_t kSize = Mirror::kGatherBytes;

 private:
  test::TempDir folder_;
  std::string path_ = folder_.file("mirror");
  OwnedFd filler_;
};
INSTANTIATE_TEST_SUITE_P(Engines, FullBacklogTest, kEachEngine, name_of_relay_mode);

TEST_P(FullBacklogTest, ItIsWaitedForLongerThanARetryIs) {
  make_mirror();
  ASSERT_NE(open_to_full(), nullptr);
  EXPECT_FALSE(test::wait_until([this] { return mirror_->count(Count::failed) > 0; },
                                2 * Breaker::kRetrySpan));
  make_room();
  EXPECT_EQ(read_whole(accept_mirror().get(), kToUpstream, kSize), "");
  EXPECT_TRUE(wait_for(Count::active, 0));
  EXPECT_EQ(mirror_->count(Count::failed) + mirror_->count(Count::ended), 0U);
  EXPECT_TRUE(events().empty());
}

TEST_P(FullBacklogTest, ButNotBeyondTheTimeout) {
  make_mirror();
  loop_->call([this] { ASSERT_NE(mirror_->open({.connect_timeout = 20ms}), nullptr); });
  EXPECT_TRUE(wait_for(Count::failed, 1));
  EXPECT_TRUE(wait_for(Count::active, 0));
  EXPECT_EQ(events(), std::vector{Event::opened});
  EXPECT_EQ(last_detail().error.code, ETIMEDOUT);
}

// The loop is blocked until the time is over.
TEST_P(FullBacklogTest, RoomThatThereIsWhenTheTimeIsOverIsTaken) {
  make_mirror();
  loop_->call([this] {
    Stream* const stream = mirror_->open({.connect_timeout = 20ms});
    ASSERT_NE(stream, nullptr);
    stream->append(0, std::vector<std::byte>(kSize));
    make_room();
    std::this_thread::sleep_for(20ms);
  });
  EXPECT_TRUE(wait_for(Count::bytes, kSize));
  EXPECT_EQ(mirror_->count(Count::failed), 0U);
}

TEST_P(FullBacklogTest, SoItIsWhenTheDrainTimeIsOver) {
  make_mirror({.budget_bytes = kNoBound, .drain_time = 50ms});
  loop_->call([this] {
    Stream* const stream = mirror_->open({.connect_timeout = 30s});
    ASSERT_NE(stream, nullptr);
    stream->append(0, std::vector<std::byte>(kSize));
    stream->eof(kSize);
    stream->closed({});
    make_room();
    std::this_thread::sleep_for(100ms);
  });
  EXPECT_TRUE(wait_for(Count::bytes, kSize));
  EXPECT_EQ(mirror_->count(Count::failed), 0U);
}

TEST_P(FullBacklogTest, OrItsOwnEnd) {
  make_mirror({.budget_bytes = kNoBound, .drain_time = 50ms});
  ASSERT_NE(open_to_full(), nullptr);
  EXPECT_TRUE(wait_for(Count::active, 0));
  EXPECT_EQ(mirror_->count(Count::failed), 1U);
  EXPECT_EQ(last_detail().error.code, ETIMEDOUT);
}

TEST_P(FullBacklogTest, OrAStop) {
  make_mirror();
  ASSERT_NE(open_to_full(), nullptr);
  loop_->call([this] { mirror_->stop(); });
  EXPECT_TRUE(wait_for(Count::active, 0));
  EXPECT_EQ(mirror_->count(Count::failed), 0U);
  EXPECT_EQ(mirror_->count(Count::unfinished), 1U);
}

TEST_P(FullBacklogTest, WhoLagsMeanwhileStillFindsOutWhetherItCanBeReached) {
  make_mirror();
  Stream* const stream = open_to_full(false);
  ASSERT_NE(stream, nullptr);
  loop_->call([&] { stream->overrun(kSize, 1); });
  EXPECT_EQ(mirror_->count(Count::active), 1U);
  make_room();
  EXPECT_EQ(test::receive_text(accept_mirror().get(), 1), "");
  EXPECT_TRUE(wait_for(Count::active, 0));
  EXPECT_EQ(mirror_->count(Count::failed), 0U);
  EXPECT_EQ(events(), std::vector{Event::lagged});
}

TEST_P(FullBacklogTest, AFewOnlyWaitForIt) {
  make_mirror();
  const auto refused = [this] { return open_to_full() == nullptr; };
  EXPECT_TRUE(test::wait_until(refused));
  EXPECT_GE(mirror_->count(Count::streams), Mirror::kMostUnanswered);
  EXPECT_TRUE(events().empty());
  make_room();
  const OwnedFd answered = accept_mirror();
  EXPECT_TRUE(test::wait_until([&] { return !refused(); }));
}

/// A mirror that hangs: the kernel accepts for it, but the program does nothing.
class HungTest : public MirrorTest {
 protected:
  /// The pace allows one more than its burst.
  static constexpr int kAtOnce = Pace::kBurst + 1;

  void TearDown() override {
    mirrors_.clear();
    MirrorTest::TearDown();
  }
  /// Uses up the connects that are allowed without a sign of life. The next turn is hours away.
  void use_up() {
    make_mirror({.most_streams = 2 * kAtOnce, .drain_time = 1'000h});
    open_some(kAtOnce);
    for (int i = 0; i < kAtOnce; ++i) mirrors_.push_back(accept_mirror());
    EXPECT_TRUE(events().empty());
  }
  void open_some(int count) {
    loop_->call([&] {
      for (int i = 0; i < count; ++i) last_opened_ = mirror_->open({.connect_timeout = 1h});
    });
  }
  /// A stream with much to send does not wait.
  void send_much(Stream& stream) {
    loop_->call([&] { stream.append(0, std::vector<std::byte>(Mirror::kGatherBytes)); });
  }
  [[nodiscard]] bool comes() const { return test::readable_within(listener_.fd.get(), 50ms); }
  void expect_waiting(std::uint64_t count) {
    EXPECT_TRUE(wait_for(Count::waiting, count));
    EXPECT_FALSE(comes());
  }

  std::vector<OwnedFd> mirrors_;
  Stream* last_opened_ = nullptr;
};
INSTANTIATE_TEST_SUITE_P(Engines, HungTest, kEachEngine, name_of_relay_mode);

TEST_P(HungTest, SignsOfLifeLetTwoGoAndAPlaceThatIsLeftOne) {
  use_up();
  open_some(8);
  expect_waiting(8);
  EXPECT_EQ(events(), std::vector{Event::paced});
  send_much(*last_opened_);
  mirrors_.push_back(accept_mirror());
  expect_waiting(7);
  EXPECT_TRUE(test::send_all(mirrors_[0].get(), "!"));
  for (int i = 0; i < 2; ++i) mirrors_.push_back(accept_mirror());
  expect_waiting(5);
  mirrors_[1].reset();
  for (int i = 0; i < 2; ++i) mirrors_.push_back(accept_mirror());
  expect_waiting(3);
  test::reset(std::move(mirrors_[2]));
  mirrors_.push_back(accept_mirror());
  expect_waiting(2);
  for (OwnedFd& mirror : mirrors_) mirror.reset();
  for (int i = 0; i < 2; ++i) static_cast<void>(accept_mirror());
  EXPECT_TRUE(
      test::wait_until([this] { return std::ranges::count(events(), Event::unpaced) == 1; }));
  EXPECT_EQ(mirror_->count(Count::waiting), 0U);
}

TEST_P(HungTest, TurnsComeWithoutASignOfLifeToo) {
  make_mirror({.most_streams = 2 * kAtOnce, .drain_time = 2 * kAtOnce * 1ms});
  open_some(2 * kAtOnce);
  for (int i = 0; i < 2 * kAtOnce; ++i) mirrors_.push_back(accept_mirror());
  EXPECT_EQ(events(), std::vector{Event::paced});
}

TEST_P(HungTest, WhoWaitsForItsTurnIsRefusedWithTheBreaker) {
  use_up();
  open_some(50);
  expect_waiting(50);
  listener_.fd.reset();
  open_some(1);
  send_much(*last_opened_);
  EXPECT_TRUE(wait_for(Count::failed, 1));
  EXPECT_TRUE(wait_for(Count::refused, 50));
  EXPECT_TRUE(wait_for(Count::active, kAtOnce));
  EXPECT_EQ(mirror_->count(Count::waiting), 0U);
}

TEST_P(HungTest, WhoLagsWhileItWaitsIsGone) {
  use_up();
  open_some(2);
  expect_waiting(2);
  loop_->call([this] { last_opened_->overrun(0, 1); });
  EXPECT_TRUE(wait_for(Count::active, kAtOnce + 1));
  expect_waiting(1);
  loop_->call([this] { mirror_->open({})->overrun(0, 1); });
  EXPECT_TRUE(wait_for(Count::active, kAtOnce + 1));
  expect_waiting(1);
}

// Otherwise all waiting streams would be refused, although an answer may still come.
TEST_P(HungTest, NobodyHasATurnWhileNobodyIsAnswered) {
  use_up();
  open_some(5);
  expect_waiting(5);
  ASSERT_EQ(::listen(listener_.fd.get(), 0), 0);
  const OwnedFd filler = test::connect_tcp(listener_.port);
  for (std::size_t i = 0; i < Mirror::kMostUnanswered; ++i) {
    open_some(1);
    send_much(*last_opened_);
  }
  const auto refused = [this] {
    return loop_->call([this] { return mirror_->open({}) == nullptr; });
  };
  EXPECT_TRUE(test::wait_until(refused));
  const std::uint64_t waiting = mirror_->count(Count::waiting);
  EXPECT_TRUE(test::send_all(mirrors_[0].get(), "!"));
  EXPECT_FALSE(test::wait_until([&] { return mirror_->count(Count::waiting) != waiting; }, 50ms));
  static_cast<void>(accept_mirror());
  mirrors_.push_back(accept_mirror());
  EXPECT_TRUE(wait_for(Count::waiting, waiting - 2));
}

// They lag long before the connect times out; the mirror's address is down as well.
TEST_P(MirrorTest, BulkStreamsToOneThatDoesNotAnswerOpenTheBreaker) {
  listener_ = test::listen_tcp(0);
  const OwnedFd filler = test::connect_tcp(listener_.port);
  make_mirror();
  const StreamOptions options{.max_lag_bytes = 1 << 20, .connect_timeout = 500ms};
  sluice::RelaySession& first = start_mirrored(options);
  move(first, kMuch);
  EXPECT_TRUE(wait_for(Count::failed, 1));
  EXPECT_TRUE(wait_for(Count::active, 0));
  EXPECT_EQ(mirror_->count(Count::lagged), 1U);
  EXPECT_EQ(mirror_->count(Count::lag), 0U);
  EXPECT_EQ(events(), (std::vector{Event::lagged, Event::opened}));
  EXPECT_FALSE(*first.look([](Relay& relay) { return relay.to_upstream().tapped(); }));
  finish(first);
}

TEST_P(MirrorTest, AProbeThatLagsStillTellsTheBreaker) {
  listener_ = test::listen_tcp(0);
  OwnedFd filler = test::connect_tcp(listener_.port);
  make_mirror();
  // Opens a stream that lags at once.
  const auto lag_once = [this](Duration connect_timeout) {
    return loop_->call([&] {
      Stream* const stream = mirror_->open({.connect_timeout = connect_timeout});
      if (stream != nullptr) stream->overrun(0, 1);
      return stream != nullptr;
    });
  };
  const auto probe = [&](Duration connect_timeout) {
    return test::wait_until([&] { return lag_once(connect_timeout); });
  };
  ASSERT_TRUE(lag_once(20ms));
  EXPECT_TRUE(wait_for(Count::failed, 1));
  ASSERT_TRUE(probe(20ms));
  EXPECT_TRUE(wait_for(Count::failed, 2));
  EXPECT_EQ(events(), (std::vector{Event::lagged, Event::opened, Event::half_opened, Event::lagged,
                                   Event::opened}));
  // The next probe finds the mirror back, late. It has nothing to send, but the others benefit.
  ASSERT_TRUE(probe(30s));
  static_cast<void>(accept_mirror());
  EXPECT_EQ(test::receive_text(accept_mirror().get(), 1), "");
  EXPECT_TRUE(wait_for(Count::active, 0));
  EXPECT_EQ(events().back(), Event::closed);
  EXPECT_EQ(mirror_->count(Count::failed), 2U);
}

// It does not matter whether the short connection ends in order.
TEST_P(MirrorTest, AProbeWhoseClientLeavesAtOnceStillTellsTheBreaker) {
  listener_ = test::bind_tcp();
  make_mirror();
  const auto come_and_leave = [this] {
    return loop_->call([this] {
      Stream* const stream = mirror_->open({});
      if (stream != nullptr) {
        stream->reset(0);
        stream->closed({});
      }
      return stream != nullptr;
    });
  };
  ASSERT_TRUE(come_and_leave());
  EXPECT_TRUE(wait_for(Count::failed, 1));
  test::start_listening(listener_);
  ASSERT_TRUE(test::wait_until(come_and_leave));
  static_cast<void>(accept_mirror());
  EXPECT_TRUE(wait_for(Count::active, 0));
  EXPECT_EQ(events(), (std::vector{Event::opened, Event::half_opened, Event::closed}));
}

TEST_P(MirrorTest, StreamsHaveABound) {
  make_mirror({.most_streams = 8});
  std::vector<sluice::RelaySession*> connections;
  std::vector<OwnedFd> mirrors;
  const auto start_some = [&](int count) {
    for (int i = 0; i < count; ++i) connections.push_back(&start_mirrored());
  };
  start_some(10);
  for (int i = 0; i < 8; ++i) mirrors.push_back(accept_mirror());
  EXPECT_EQ(mirror_->count(Count::streams), 8U);
  EXPECT_EQ(mirror_->count(Count::crowded), 2U);
  EXPECT_EQ(events(), std::vector{Event::crowded});
  test::reset(std::move(connections[0]->client));
  EXPECT_TRUE(wait_for(Count::active, 7));
  EXPECT_EQ(events(), std::vector{Event::crowded});
  test::reset(std::move(connections[1]->client));
  EXPECT_TRUE(wait_for(Count::active, 6));
  EXPECT_EQ(events(), (std::vector{Event::crowded, Event::uncrowded}));
  start_some(3);
  EXPECT_EQ(mirror_->count(Count::streams), 10U);
  EXPECT_EQ(events(), (std::vector{Event::crowded, Event::uncrowded, Event::crowded}));
}

TEST_P(MirrorTest, StoppedItResetsAndTheConnectionGoesOn) {
  make_mirror();
  sluice::RelaySession& session = start_mirrored();
  const OwnedFd mirror = accept_mirror();
  move(session, 1000);
  loop_->call([this] { mirror_->stop(); });
  EXPECT_EQ(read_until(mirror.get(), kToUpstream, Ending::reset), 1000U);
  EXPECT_TRUE(wait_for(Count::active, 0));
  move(session, 1000);
  finish(session);
}

TEST_P(MirrorTest, SmallPiecesAreGatheredForAMoment) {
  make_mirror();
  Stream* stream = nullptr;
  std::vector<std::byte> bytes(100);
  kToUpstream.fill(0, bytes);
  loop_->call([&] { stream = mirror_->open({.on_lag = OnLag::shed}); });
  const OwnedFd mirror = accept_mirror();
  loop_->call([&] {
    // The first byte goes at once; those right behind it wait.
    stream->append(0, std::span(bytes).first(1));
    EXPECT_EQ(mirror_->count(Count::bytes), 1U);
    for (std::size_t i = 1; i < bytes.size(); ++i)
      stream->append(i, std::span(bytes).subspan(i, 1));
    EXPECT_EQ(mirror_->count(Count::bytes), 1U);
    EXPECT_EQ(mirror_->count(Count::lag), 99U);
    // Gathering is not lagging: another stream's lag does not begin shedding.
    Stream* const other = mirror_->open({.on_lag = OnLag::shed});
    other->overrun(0, 1);
    EXPECT_EQ(events_, std::vector{Event::lagged});
  });
  test::PatternChecker checker(kToUpstream);
  test::read_pattern(mirror.get(), checker, {.stop_after_bytes = bytes.size()});
  EXPECT_EQ(checker.received_bytes(), bytes.size());
  EXPECT_EQ(checker.mismatch(), std::nullopt);
  loop_->call([&] {
    const std::vector<std::byte> much(Mirror::kGatherBytes);
    stream->append(100, bytes);
    stream->append(200, much);
    EXPECT_EQ(mirror_->count(Count::bytes), 200 + much.size());
    stream->append(200 + much.size(), bytes);
    // An end does not wait.
    stream->eof(300 + much.size());
    EXPECT_EQ(mirror_->count(Count::bytes), 300 + much.size());
    EXPECT_EQ(mirror_->count(Count::lag), 0U);
  });
}

// The connect does not delay a connection's first bytes, and a fast stream does not wait for it.
TEST_P(MirrorTest, ConnectsAfterAMomentOrWithMuch) {
  make_mirror();
  const auto comes = [this] { return test::readable_within(listener_.fd.get(), 0ms); };
  loop_->call([&] {
    Stream* const stream = mirror_->open({});
    const std::vector<std::byte> much(Mirror::kGatherBytes);
    stream->append(0, std::span(much).first(much.size() - 1));
    EXPECT_FALSE(comes());
    stream->append(much.size() - 1, std::span(much).first(1));
    EXPECT_TRUE(comes());
  });
  static_cast<void>(accept_mirror());
  loop_->call([&] { mirror_->open({})->eof(0); });
  static_cast<void>(accept_mirror());
}

// A pump that lost bytes on the way to this tap makes such calls.
TEST_P(MirrorTest, AStreamWithAHoleIsCut) {
  make_mirror();
  loop_->call([this] {
    const std::vector<std::byte> bytes(10);
    Stream* overrun = mirror_->open({});
    overrun->append(0, bytes);
    overrun->overrun(10, 5);
    Stream* skipped = mirror_->open({});
    skipped->append(0, bytes);
    skipped->append(11, bytes);
    Stream* short_end = mirror_->open({});
    short_end->append(0, bytes);
    short_end->eof(11);
  });
  for (int i = 0; i < 3; ++i) {
    const OwnedFd mirror = accept_mirror();
    test::PatternChecker checker(kToUpstream);
    EXPECT_EQ(test::read_pattern(mirror.get(), checker), Ending::reset);
    EXPECT_LE(checker.received_bytes(), 10U);
  }
  EXPECT_EQ(mirror_->count(Count::lagged), 3U);
  EXPECT_EQ(last_detail().limit, Limit::hole);
}

INSTANTIATE_TEST_SUITE_P(Modes, MirrorTest, testing::ValuesIn(every_relay_mode()),
                         name_of_relay_mode);

}  // namespace
}  // namespace sluice::mirror
