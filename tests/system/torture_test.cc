// Streams of all kinds at once, each verified byte by byte, and corner cases of forwarders that
// splice. SLUICE_SEED repeats a run, SLUICE_LONG=1 makes it long.

#include "tests/system/torture.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pattern.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"

namespace sluice::test {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

constexpr std::uint64_t kForth = 1;
constexpr std::uint64_t kPageBytes = 4096;
constexpr milliseconds kAtOnce{100};

class TortureTest : public ForwardingTest {
 protected:
  [[nodiscard]] bool splices() const { return GetParam().zero_copy != "never"; }

  /// Sends `size_bytes` each way and reads them. An adaptive pump splices afterwards.
  static void stream_both_ways(Forwarded& pair, std::uint64_t size_bytes);
};

void TortureTest::stream_both_ways(Forwarded& pair, std::uint64_t size_bytes) {
  for (auto [from, to] :
       {std::pair{&pair.client, &pair.upstream}, {&pair.upstream, &pair.client}}) {
    bool sent = false;
    std::thread sender([&sent, fd = from->get(), size_bytes] {
      sent = send_pattern(fd, Pattern(kForth), 0, size_bytes);
    });
    PatternChecker received{Pattern(kForth)};
    const Ending ending = read_pattern(to->get(), received, {.stop_after_bytes = size_bytes});
    sender.join();
    ASSERT_TRUE(sent);
    ASSERT_EQ(ending, Ending::open);
    ASSERT_FALSE(received.mismatch().has_value());
  }
}

TEST_P(TortureTest, RandomStreamsArriveAsTheyWereSent) {
  start();
  std::mt19937_64 random(seed());
  std::size_t orderly = 0;
  std::size_t total = 0;
  for (int round = 0; round < by_scale(1, 4, 100); ++round) {
    std::vector<std::unique_ptr<Exchange>> exchanges;
    for (int i = 0; i < by_scale(16, 48, 64); ++i) {
      const ConnectionPlan plan = draw_plan(random);
      exchanges.push_back(
          std::make_unique<Exchange>(plan, forward_one(plan.client_socket, plan.upstream_socket)));
    }
    EXPECT_TRUE(run(exchanges)) << "some streams do not move any more";
    for (const auto& exchange : exchanges) {
      EXPECT_EQ(exchange->verdict(), "");
      orderly += exchange->client.has_reset() || exchange->upstream.has_reset() ? 0U : 1U;
    }
    total += exchanges.size();
    if (HasFailure()) return;
  }
  const auto ends = daemon_->wait_for_ends(total);
  EXPECT_EQ(ends.size(), total) << "connections logged";
  const auto closed = std::count_if(
      ends.begin(), ends.end(), [](const ConnectionEnd& end) { return end.reason == "closed"; });
  EXPECT_GE(static_cast<std::size_t>(closed), orderly);
}

/// A file in which each page starts with the next `piece_bytes` of the pattern.
OwnedFd make_piece_file(std::uint64_t pieces, std::size_t piece_bytes) {
  OwnedFd file(::memfd_create("pieces", MFD_CLOEXEC));
  std::vector<std::byte> piece(piece_bytes);
  for (std::uint64_t i = 0; i < pieces; ++i) {
    Pattern(kForth).fill(i * piece_bytes, piece);
    EXPECT_EQ(::pwrite(file.get(), piece.data(), piece_bytes, static_cast<off_t>(i * kPageBytes)),
              static_cast<ssize_t>(piece_bytes));
  }
  return file;
}

/// Sends the pieces without copying: each stays on its own page, and takes one slot of the daemon's
/// pipe.
void send_pieces(int fd, int file, std::uint64_t pieces, std::size_t piece_bytes) {
  for (std::uint64_t i = 0; i < pieces; ++i) {
    auto offset = static_cast<off_t>(i * kPageBytes);
    ASSERT_EQ(::sendfile(fd, file, &offset, piece_bytes), static_cast<ssize_t>(piece_bytes));
  }
}

/// Sends the pieces to the running daemon, or to a stopped one, which then finds them all at once.
/// Returns the shortest time of a few tries: a scheduler's delay does not repeat, but the kernel's
/// delay does.
milliseconds time_pieces(Daemon& daemon, const Forwarded& pair, int file, std::uint64_t pieces,
                         std::size_t piece_bytes, bool stopped) {
  constexpr int kMostTries = 10;
  milliseconds fastest = milliseconds::max();
  for (int tries = 0; tries < kMostTries && fastest >= kAtOnce; ++tries) {
    if (stopped) daemon.process().signal(SIGSTOP);
    send_pieces(pair.client.get(), file, pieces, piece_bytes);
    const auto sent = SteadyClock::now();
    if (stopped) daemon.process().signal(SIGCONT);
    PatternChecker received{Pattern(kForth)};
    EXPECT_EQ(
        read_pattern(pair.upstream.get(), received, {.stop_after_bytes = pieces * piece_bytes}),
        Ending::open);
    EXPECT_FALSE(received.mismatch().has_value());
    fastest =
        std::min(fastest, std::chrono::duration_cast<milliseconds>(SteadyClock::now() - sent));
  }
  return fastest;
}

/// The kernel sends a pipe's content in batches of 16 slots. If that is all that the pipe holds,
/// and more was asked for, it delays the batch by 203 ms unless it fills whole segments. This tries
/// every number of slots around 16, with large segments.
TEST_P(TortureTest, SixteenSlotsInThePipeArriveAtOnce) {
  constexpr std::uint64_t kMostPieces = 50;
  upstream_ = listen_tcp();
  start();
  Forwarded pair = forward_one();
  ASSERT_NO_FATAL_FAILURE(stream_both_ways(pair, 8 << 20));
  for (const std::size_t piece_bytes : {std::size_t{1}, std::size_t{1000}, std::size_t{4000}}) {
    const OwnedFd file = make_piece_file(kMostPieces, piece_bytes);
    for (std::uint64_t pieces = 1; pieces <= kMostPieces; ++pieces) {
      for (const bool stopped : {false, true}) {
        EXPECT_LT(time_pieces(*daemon_, pair, file.get(), pieces, piece_bytes, stopped), kAtOnce)
            << pieces << " pieces of " << piece_bytes << (stopped ? ", daemon stopped" : "");
      }
    }
  }
}

/// An urgent byte ends splicing from a socket, which then stays readable for ever. Urgent bytes
/// must arrive in their place, without a stall and without making the daemon spin.
TEST_P(TortureTest, UrgentBytesArriveInTheirPlace) {
  start();
  for (const bool to_upstream : {true, false}) {
    Forwarded pair = forward_one();
    OwnedFd& sender = to_upstream ? pair.client : pair.upstream;
    OwnedFd& reader = to_upstream ? pair.upstream : pair.client;
    constexpr std::uint64_t kHalf = 400'000;
    PatternChecker received{Pattern(kForth)};
    ASSERT_TRUE(send_pattern(sender.get(), Pattern(kForth), 0, kHalf));
    std::byte urgent{};
    Pattern(kForth).fill(kHalf, std::span(&urgent, 1));
    ASSERT_EQ(::send(sender.get(), &urgent, 1, MSG_OOB | MSG_NOSIGNAL), 1);
    ASSERT_TRUE(send_pattern(sender.get(), Pattern(kForth), kHalf + 1, kHalf - 1));
    ASSERT_EQ(read_pattern(reader.get(), received, {.stop_after_bytes = 2 * kHalf}), Ending::open);
    // The very last byte is urgent; nothing follows it.
    Pattern(kForth).fill(2 * kHalf, std::span(&urgent, 1));
    ASSERT_EQ(::send(sender.get(), &urgent, 1, MSG_OOB | MSG_NOSIGNAL), 1);
    ASSERT_EQ(read_pattern(reader.get(), received, {.stop_after_bytes = 2 * kHalf + 1}),
              Ending::open);
    EXPECT_TRUE(daemon_->wait_until_quiet()) << "it spins behind an urgent byte";
    ASSERT_TRUE(send_pattern(sender.get(), Pattern(kForth), 2 * kHalf + 1, kHalf));
    finish_sending(sender.get());
    EXPECT_EQ(read_pattern(reader.get(), received), Ending::eof);
    EXPECT_EQ(received.received_bytes(), 3 * kHalf + 1);
    EXPECT_FALSE(received.mismatch().has_value());
  }
}

TEST_P(TortureTest, UrgentBytesBehindAStalledReaderDoNotSpin) {
  start();
  Forwarded pair = forward_one();
  std::vector<std::byte> chunk(50'000);
  std::uint64_t sent_bytes = 0;
  // Every piece ends in an urgent byte, so that the queue that fills last has one, whichever it is.
  for (;;) {
    Pattern(kForth).fill(sent_bytes, chunk);
    const ssize_t sent = ::send(pair.client.get(), chunk.data(), chunk.size(),
                                MSG_OOB | MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) sent_bytes += static_cast<std::uint64_t>(sent);
    if (sent < 0 && !writable_within(pair.client.get(), milliseconds(100))) break;
  }
  EXPECT_TRUE(daemon_->wait_until_quiet()) << "it spins behind an urgent byte";
  PatternChecker received{Pattern(kForth)};
  EXPECT_EQ(read_pattern(pair.upstream.get(), received, {.stop_after_bytes = sent_bytes}),
            Ending::open);
  EXPECT_FALSE(received.mismatch().has_value());
  EXPECT_EQ(received.received_bytes(), sent_bytes);
}

TEST_P(TortureTest, BulkIsSplicedAsTheModeSays) {
  constexpr std::uint64_t kBulk = 64 << 20;
  constexpr std::uint64_t kMostCopied = 1
                                        << 20;  ///< before a stream is promoted, and around its end
  start();
  Forwarded pair = forward_one();
  ASSERT_NO_FATAL_FAILURE(stream_both_ways(pair, kBulk));
  pair.client.reset();
  pair.upstream.reset();
  const auto ends = daemon_->wait_for_ends(1);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].to_upstream, kBulk);
  EXPECT_EQ(ends[0].to_client, kBulk);
  for (const std::uint64_t spliced : {ends[0].spliced_to_upstream, ends[0].spliced_to_client}) {
    EXPECT_LE(spliced, splices() ? kBulk : 0) << ends[0].line;
    EXPECT_GE(spliced, splices() ? kBulk - kMostCopied : 0) << ends[0].line;
  }
}

INSTANTIATE_TEST_SUITE_P(EveryMode, TortureTest, testing::ValuesIn(every_mode()), name_of_mode);

}  // namespace
}  // namespace sluice::test
