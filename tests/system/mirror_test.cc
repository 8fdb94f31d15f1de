// Mirrors. Each gets exactly the client's bytes. Whatever a mirror does, or fails to do, does not
// affect forwarding.

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "iolib/mirror/sample.h"
#include "tests/support/regex.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/mirror_server.h"
#include "tests/system/outcome.h"
#include "tests/system/recorded.h"
#include "tests/system/torture.h"

namespace sluice::test {
namespace {

using capture::Side;

/// No test's reader ever lags this much.
const std::vector<std::string> kPatient{"--mirror-max-lag", "1GiB", "--mirror-buffers", "4GiB"};

class MirrorTest : public ForwardingTest {
 protected:
  void start_mirrored(const std::vector<std::string>& addresses,
                      std::vector<std::string> more = kPatient) {
    for (const std::string& address : addresses) more.insert(more.end(), {"--mirror", address});
    start(more);
  }
  /// The counters that SIGUSR1 prints.
  [[nodiscard]] LogFields stats() const {
    const Regex line("stats accepted=");
    const std::size_t before = count_lines(daemon_->log(), line);
    daemon_->process().signal(SIGUSR1);
    EXPECT_TRUE(wait_until([&] { return count_lines(daemon_->log(), line) > before; }, kLate));
    LogFields fields;
    for (const std::string& each : lines_of(daemon_->log())) {
      if (line.is_in(each)) fields = parse_text_line(each);
    }
    return fields;
  }
  [[nodiscard]] bool wait_for_stat(const std::string& name, const std::string& value) const {
    return wait_until([&] { return stats()[name] == value; }, kLate);
  }
  /// The states of mirrors in the log, in order.
  [[nodiscard]] std::vector<std::string> states() const {
    std::vector<std::string> states;
    for (const std::string& line : lines_of(daemon_->log())) {
      if (line.find(" mirror address=") == line.npos) continue;
      states.push_back(parse_text_line(line)["state"]);
    }
    return states;
  }
  /// A connection whose mirror has not read these bytes, and one that was cut because of many more.
  struct Lagging {
    static constexpr std::uint64_t kBytes = 16 << 20;
    Forwarded pair;
    OwnedFd mirror;
    Forwarded worst;
    OwnedFd worst_mirror;
  };
  [[nodiscard]] Lagging begin_shedding(int mirror);
  void run_exchanges(std::size_t count, const std::vector<MirrorServer*>& mirrors);
};

MirrorTest::Lagging MirrorTest::begin_shedding(int mirror) {
  Lagging lagging;
  lagging.pair = forward_one();
  lagging.mirror = accept_from(mirror);
  EXPECT_EQ(
      transfer(lagging.pair.client.get(), lagging.pair.upstream.get(), Pattern(1), Lagging::kBytes),
      "");
  lagging.worst = forward_one();
  lagging.worst_mirror = accept_from(mirror);
  EXPECT_EQ(transfer(lagging.worst.client.get(), lagging.worst.upstream.get(), Pattern(1),
                     4 * Lagging::kBytes),
            "");
  EXPECT_TRUE(daemon_->wait_for_log(Regex("mirror .*state=shedding")));
  return lagging;
}

/// Empty, or the problem with what a mirror got of an exchange.
std::string mirror_verdict(const MirrorServer::Stream& mirror, const Exchange& exchange) {
  const std::uint64_t got = mirror.received.received_bytes();
  if (!mirror.done) return "no end";
  if (mirror.received.mismatch()) {
    return "a wrong byte at " + std::to_string(*mirror.received.mismatch());
  }
  if (got > exchange.client.sent_bytes()) return "more than was sent";
  if (got < exchange.upstream.received().received_bytes()) return "less than the upstream has";
  if (exchange.upstream.ending() == Ending::eof && mirror.ending != Ending::eof) {
    return "another end than the upstream's";
  }
  // As for the upstream itself (stream_verdict): once it has closed and its FIN was forwarded, a
  // client's reset may look like an end.
  const bool upstream_left =
      exchange.upstream.has_reset() || exchange.upstream.plan().closes_after_sending;
  if (mirror.ending == Ending::eof && got != exchange.client.sent_bytes() && !upstream_left) {
    return "a clean end after " + std::to_string(got) + " of " +
           std::to_string(exchange.client.sent_bytes());
  }
  return {};
}

/// Runs random streams all at once, and compares what every mirror got with what was sent.
void MirrorTest::run_exchanges(std::size_t count, const std::vector<MirrorServer*>& mirrors) {
  std::mt19937_64 random(seed());
  std::vector<std::unique_ptr<Exchange>> running;
  std::vector<MirrorServer::Stream*> streams;
  for (std::size_t i = 0; i < count; ++i) {
    const ConnectionPlan plan = draw_plan(random);
    running.push_back(
        std::make_unique<Exchange>(plan, forward_one(plan.client_socket, plan.upstream_socket)));
    for (MirrorServer* mirror : mirrors) streams.push_back(&mirror->accept(Pattern(plan.seed)));
  }
  EXPECT_TRUE(run(running)) << "some streams do not move any more";
  for (MirrorServer* mirror : mirrors) EXPECT_TRUE(mirror->wait_for_ends());
  std::size_t clean = 0;
  std::size_t undisturbed = 0;
  for (std::size_t i = 0; i < streams.size(); ++i) {
    const Exchange& exchange = *running[i / mirrors.size()];
    EXPECT_EQ(exchange.verdict(), "");
    EXPECT_EQ(mirror_verdict(*streams[i], exchange), "")
        << testing::PrintToString(exchange.plan.client);
    if (streams[i]->ending == Ending::eof) ++clean;
    if (!exchange.plan.client.resets_after && !exchange.plan.upstream.resets_after) ++undisturbed;
  }
  EXPECT_GE(clean, undisturbed);
  EXPECT_TRUE(wait_for_stat("mirror_active", "0"));
  EXPECT_EQ(stats()["mirror_lagged"], "0");
  EXPECT_EQ(stats()["mirror_lag"], "0");
}

TEST_P(MirrorTest, RandomStreamsReachTwoMirrorsAsTheyWere) {
  MirrorServer one;
  MirrorServer other;
  start_mirrored({one.address(), other.address()});
  run_exchanges(by_scale(15U, 40U, 200U), {&one, &other});
}

TEST_P(MirrorTest, ALargeStreamIsForwardedRecordedAndMirroredTwice) {
  const auto size = by_scale<std::uint64_t>(8 << 20, 64 << 20, 512 << 20);
  TempDir folder;
  MirrorServer one;
  MirrorServer other;
  std::vector<std::string> more = kPatient;
  more.insert(more.end(), {"--capture", folder.file("capture"), "--capture-full", "block"});
  start_mirrored({one.address(), other.address()}, more);
  descriptors_before_ = descriptors();
  Forwarded pair = forward_one();
  const MirrorServer::Stream& first = one.accept(Pattern(1));
  const MirrorServer::Stream& second = other.accept(Pattern(1));
  EXPECT_EQ(transfer(pair.client.get(), pair.upstream.get(), Pattern(1), size), "");
  EXPECT_EQ(transfer(pair.upstream.get(), pair.client.get(), Pattern(2), size / 8), "");
  finish_sending(pair.client.get());
  // The other direction still works.
  EXPECT_TRUE(one.wait_for_ends() && other.wait_for_ends());
  EXPECT_EQ(transfer(pair.upstream.get(), pair.client.get(), Pattern(3), 1000), "");
  finish_sending(pair.upstream.get());
  const auto ends = daemon_->wait_for_ends(1);
  ASSERT_EQ(ends.size(), 1U) << daemon_->log();
  EXPECT_EQ(ends[0].spliced_to_upstream > size / 2, GetParam().zero_copy != "never");
  for (const MirrorServer::Stream* mirror : {&first, &second}) {
    EXPECT_EQ(mirror->received.received_bytes(), size);
    EXPECT_EQ(mirror->received.mismatch(), std::nullopt);
    EXPECT_EQ(mirror->ending, Ending::eof);
  }
  EXPECT_EQ(daemon_->terminate(), 0) << daemon_->log();
  daemon_.reset();
  const Recorded recorded = check_capture(
      folder.file("capture"), [](const RecordedConnection&, Side) { return Pattern(1); });
  EXPECT_EQ(recorded.only().client().recorded, size);
  EXPECT_EQ(recorded.only().client().mismatch, std::nullopt);
}

TEST_P(MirrorTest, OneThatNeverReadsIsCutAtItsLagAndForwardingGoesOn) {
  constexpr std::uint64_t kLag = 4 << 20;
  const auto size = by_scale<std::uint64_t>(64 << 20, 256 << 20, 1 << 30);
  StuckServer stuck(100);
  // One worker, because each worker's allocator may keep what it once had.
  start_mirrored({stuck.address()}, {"--workers", "1"});
  const std::uint64_t before_bytes = daemon_->pss_bytes();
  for (int i = 0; i < 3; ++i) {
    Forwarded pair = forward_one();
    EXPECT_EQ(transfer(pair.client.get(), pair.upstream.get(), Pattern(1), size), "");
    EXPECT_TRUE(wait_for_stat("mirror_lagged", std::to_string(i + 1)));
    EXPECT_EQ(stats()["mirror_lag"], "0");
  }
  EXPECT_EQ(stuck.accepted(), 3U);
  EXPECT_EQ(states().front(), "lagged");
  EXPECT_TRUE(daemon_->wait_for_log(
      Regex("state=lagged connection=\\S+-0-1 reason=\"it lags by more than --mirror-max-lag\"")));
  if (!sanitized()) {
    EXPECT_LT(daemon_->pss_bytes(), before_bytes + 2 * kLag);
  }
}

TEST_P(MirrorTest, MemoryForAllStuckOnesHasABound) {
  constexpr std::uint64_t kBuffers = 8 << 20;
  StuckServer stuck(100);
  start_mirrored({stuck.address()}, {"--mirror-buffers", "8MiB", "--workers", "1"});
  const std::uint64_t before_bytes = daemon_->pss_bytes();
  std::vector<Forwarded> pairs;
  std::uint64_t most = 0;
  for (int i = 0; i < 30; ++i) {
    pairs.push_back(forward_one());
    // Less than one stream's lag limit, and more than its sockets hold.
    EXPECT_EQ(transfer(pairs.back().client.get(), pairs.back().upstream.get(), Pattern(1), 4 << 20),
              "");
    most = std::max<std::uint64_t>(most, std::stoull(stats()["mirror_lag"]));
  }
  EXPECT_GT(most, kBuffers / 2);
  EXPECT_LE(most, kBuffers);
  if (!sanitized()) {
    EXPECT_LT(daemon_->pss_bytes(), before_bytes + 2 * kBuffers);
  }
}

TEST_P(MirrorTest, ShedKeepsNewConnectionsAwayWhileOthersLag) {
  const Listener mirror = listen_tcp();
  start_mirrored({loopback_address(mirror.port)},
                 {"--mirror-on-lag", "shed", "--mirror-max-lag", "24MiB", "--workers", "1"});
  const Lagging lagging = begin_shedding(mirror.fd.get());
  Forwarded shed = forward_established();
  EXPECT_EQ(stats()["mirror_shed"], "1");
  PatternChecker checker(Pattern(1));
  read_pattern(lagging.mirror.get(), checker, {.stop_after_bytes = Lagging::kBytes});
  EXPECT_EQ(checker.received_bytes(), Lagging::kBytes);
  EXPECT_TRUE(daemon_->wait_for_log(Regex("mirror .*state=caught_up")));
  Forwarded next = forward_established();
  const OwnedFd next_mirror = accept_from(mirror.fd.get());
  EXPECT_EQ(receive_text(next_mirror.get(), 1), "?");
  EXPECT_EQ(states(), (std::vector<std::string>{"lagged", "shedding", "caught_up"}));
}

// Whatever worker a connection is on.
TEST_P(MirrorTest, ShedKeepsTheConnectionsOfAllWorkersAway) {
  constexpr int kMany = 16;
  const Listener mirror = listen_tcp();
  start_mirrored({loopback_address(mirror.port)},
                 {"--mirror-on-lag", "shed", "--mirror-max-lag", "24MiB", "--workers", "2"});
  const Lagging lagging = begin_shedding(mirror.fd.get());
  std::vector<Forwarded> pairs;
  for (int i = 0; i < kMany; ++i) pairs.push_back(forward_established());
  EXPECT_EQ(stats()["mirror_shed"], std::to_string(kMany));
  PatternChecker checker(Pattern(1));
  read_pattern(lagging.mirror.get(), checker, {.stop_after_bytes = Lagging::kBytes});
  EXPECT_TRUE(daemon_->wait_for_log(Regex("mirror .*state=caught_up")));
  for (int i = 0; i < kMany; ++i) pairs.push_back(forward_established());
  EXPECT_EQ(stats()["mirror_streams"], std::to_string(2 + kMany));
  EXPECT_EQ(states(), (std::vector<std::string>{"lagged", "shedding", "caught_up"}));
}

// As a proxy does whose servers are down.
TEST_P(MirrorTest, OneThatBreaksOffAtOnceIsToldAndLeftAlone) {
  StuckServer breaking(0);
  start_mirrored({breaking.address()}, {"--workers", "1"});
  // A stream that has ended by then could be complete, so the connections stay open.
  std::vector<Forwarded> pairs;
  const auto ask = [&] { pairs.push_back(forward_established()); };
  ask();
  EXPECT_TRUE(daemon_->wait_for_log(Regex("mirror .*state=ended connection=\\S+-0-1 reason=\"")));
  EXPECT_TRUE(wait_until([&] { return ask(), states().back() == "open"; }, kLate));
  EXPECT_TRUE(daemon_->wait_for_log(Regex("mirror .*state=open reason=\"\\w+: ")));
  EXPECT_TRUE(wait_until([&] { return ask(), stats()["mirror_refused"] != "0"; }, kLate));
}

TEST_P(MirrorTest, OneThatIsDownIsLeftAloneUntilItIsBack) {
  const Listener mirror = bind_tcp();
  start_mirrored({loopback_address(mirror.port)}, {"--workers", "1"});
  Forwarded first = forward_established();
  EXPECT_TRUE(daemon_->wait_for_log(Regex("mirror .*state=open reason=\".*refused")));
  // One connection is enough, unless it comes so late that the breaker lets a probe through.
  EXPECT_TRUE(wait_until(
      [&] {
        static_cast<void>(forward_established());
        return stats()["mirror_refused"] != "0";
      },
      kLate));
  const auto look = [&] {
    Forwarded pair = forward_established();
    return states().back();
  };
  EXPECT_TRUE(wait_until([&] { return look() == "open" && states().size() >= 3; }, kLate));
  start_listening(mirror);
  EXPECT_TRUE(wait_until([&] { return look() == "closed"; }, kLate));
  EXPECT_EQ(states()[0] + states()[1] + states()[2], "openhalf_openopen");
  const OwnedFd probe = accept_from(mirror.fd.get());
  EXPECT_EQ(receive_text(probe.get(), 1), "?");
}

TEST_P(MirrorTest, AShareIsChosenByTheClientsAddressAndPort) {
  MirrorServer mirror;
  std::vector<std::string> more = kPatient;
  more.insert(more.end(), {"--mirror-sample", "0.5"});
  start_mirrored({mirror.address()}, more);
  std::size_t chosen = 0;
  for (int i = 0; i < 60; ++i) {
    Forwarded pair = forward_established();
    const std::uint16_t port = local_port(pair.client.get());
    const std::uint64_t hash = mirror::sample_hash(*numeric_address({"127.0.0.1", port}));
    if (mirror::in_sample(hash, mirror::kWholeShare / 2)) {
      ++chosen;
      mirror.accept(Pattern(1));
    }
    EXPECT_TRUE(mirror.nobody_waits()) << port;
  }
  EXPECT_EQ(stats()["mirror_streams"], std::to_string(chosen));
  EXPECT_GT(chosen, 10U);
  EXPECT_LT(chosen, 50U);
}

/// The number that an id's end, WORKER-NUMBER, stands for, as defined in the man page.
std::uint64_t number_in_id(const std::string& id) {
  const std::size_t number = id.rfind('-') + 1;
  const std::size_t worker = id.rfind('-', number - 2) + 1;
  return std::stoull(id.substr(worker)) << 48 | std::stoull(id.substr(number));
}

TEST_P(MirrorTest, AShareOfUnixClientsIsChosenByTheConnectionsId) {
  TempDir folder;
  // The second of two unix sockets belongs to the second worker.
  const std::string path = folder.file("other");
  MirrorServer mirror;
  std::vector<std::string> more = kPatient;
  more.insert(more.end(), {"--mirror-sample", "0.5", "--workers", "2", "--listen",
                           "unix:" + folder.file("one"), "--listen", "unix:" + path});
  start_mirrored({mirror.address()}, more);
  std::size_t chosen = 0;
  for (std::size_t i = 0; i < 60; ++i) {
    connect_unix(path).reset();
    accept_from(upstream_.fd.get()).reset();
    const auto ends = daemon_->wait_for_ends(i + 1);
    ASSERT_EQ(ends.size(), i + 1);
    const std::uint64_t number = number_in_id(ends.back().id);
    EXPECT_EQ(number, (std::uint64_t{1} << 48) + i + 1);
    if (mirror::in_sample(mirror::sample_hash(number), mirror::kWholeShare / 2)) {
      ++chosen;
      mirror.accept(Pattern(1));
    }
    EXPECT_TRUE(mirror.nobody_waits()) << ends.back().id;
  }
  EXPECT_EQ(stats()["mirror_streams"], std::to_string(chosen));
  EXPECT_GT(chosen, 10U);
  EXPECT_LT(chosen, 50U);
}

TEST_P(MirrorTest, AStopLetsAMirrorHaveWhatWaits) {
  const Listener mirror = listen_tcp();
  start_mirrored({loopback_address(mirror.port)});
  constexpr std::uint64_t kSize = 24 << 20;
  Forwarded pair = forward_one();
  const OwnedFd slow = accept_from(mirror.fd.get());
  EXPECT_EQ(transfer(pair.client.get(), pair.upstream.get(), Pattern(1), kSize), "");
  finish_sending(pair.client.get());
  finish_sending(pair.upstream.get());
  EXPECT_EQ(daemon_->wait_for_ends(1).size(), 1U);
  daemon_->process().signal(SIGTERM);
  EXPECT_TRUE(daemon_->wait_for_log(Regex("draining")));
  PatternChecker checker(Pattern(1));
  EXPECT_EQ(read_pattern(slow.get(), checker), Ending::eof);
  EXPECT_EQ(checker.received_bytes(), kSize);
  EXPECT_EQ(checker.mismatch(), std::nullopt);
  finish_sending(slow.get());
  EXPECT_EQ(daemon_->process().wait(kLate), 0);
  daemon_.reset();
}

TEST_P(MirrorTest, AStopDoesNotWaitForOneThatIsStuckBeyondItsTimeout) {
  StuckServer stuck(10);
  start_mirrored({stuck.address()}, {"--drain-timeout", "100ms", "--mirror-max-lag", "64MiB"});
  Forwarded pair = forward_one();
  EXPECT_EQ(transfer(pair.client.get(), pair.upstream.get(), Pattern(1), 24 << 20), "");
  pair = {};
  EXPECT_EQ(daemon_->wait_for_ends(1).size(), 1U);
  EXPECT_EQ(daemon_->terminate(), 0);
  EXPECT_NE(daemon_->log().find("ended reason=\"drain timeout\""), std::string::npos)
      << daemon_->log();
  daemon_.reset();
}

TEST_P(MirrorTest, AUnixSocketIsAMirrorToo) {
  TempDir folder;
  const std::string path = folder.file("mirror");
  const OwnedFd mirror = listen_unix(path);
  start_mirrored({"unix:" + path});
  Forwarded pair = forward_one();
  const OwnedFd mirrored = accept_from(mirror.get());
  // Meanwhile the mirror answers, which a unix socket can only drop by copying.
  EXPECT_TRUE(send_pattern(mirrored.get(), Pattern(9), 0, 4 << 20));
  constexpr std::uint64_t kSize = 4 << 20;
  EXPECT_EQ(transfer(pair.client.get(), pair.upstream.get(), Pattern(1), kSize), "");
  finish_sending(pair.client.get());
  PatternChecker checker(Pattern(1));
  EXPECT_EQ(read_pattern(mirrored.get(), checker), Ending::eof);
  EXPECT_EQ(checker.received_bytes(), kSize);
  EXPECT_EQ(checker.mismatch(), std::nullopt);
}

// A relay whose mirror was cut may move to another worker.
TEST_P(MirrorTest, HeavyStreamsWhoseMirrorsWereCutMayMove) {
  StuckServer stuck(100);
  start_mirrored({stuck.address()}, {"--workers", "2", "--mirror-max-lag", "64KiB"});
  const auto size = by_scale<std::uint64_t>(16 << 20, 96 << 20, 512 << 20);
  std::vector<Forwarded> pairs;
  for (int i = 0; i < 8; ++i) pairs.push_back(forward_one());
  std::vector<std::thread> threads;
  for (Forwarded& pair : pairs) {
    threads.emplace_back([&pair, size] {
      EXPECT_EQ(transfer(pair.client.get(), pair.upstream.get(), Pattern(1), size), "");
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(stats()["mirror_lagged"], "8");
  pairs.clear();
  EXPECT_EQ(daemon_->wait_for_ends(8, kLate).size(), 8U);
  EXPECT_EQ(stats()["mirror_active"], "0");
}

/// The CPU time of each of a process's workers, in nanoseconds.
std::vector<std::uint64_t> worker_times(pid_t pid) {
  std::vector<std::uint64_t> times;
  const std::filesystem::path tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    std::string name;
    std::ifstream(task.path() / "comm") >> name;
    if (!name.starts_with("worker-")) continue;
    std::ifstream(task.path() / "schedstat") >> times.emplace_back();
  }
  return times;
}

// All connections to a unix socket arrive at the worker that it belongs to.
TEST_P(MirrorTest, MirroredConnectionsAreSpreadOverTheWorkers) {
  TempDir folder;
  const std::string path = folder.file("clients");
  MirrorServer mirror;
  auto options = kPatient;
  options.insert(options.end(), {"--workers", "2", "--listen", "unix:" + path});
  start_mirrored({mirror.address()}, options);
  const auto size = by_scale<std::uint64_t>(32 << 20, 128 << 20, 512 << 20);
  std::vector<Forwarded> pairs;
  std::vector<MirrorServer::Stream*> streams;
  for (int i = 0; i < 4; ++i) {
    OwnedFd client = connect_unix(path);
    pairs.push_back({std::move(client), accept_from(upstream_.fd.get())});
    streams.push_back(&mirror.accept(Pattern(1)));
  }
  std::vector<std::thread> threads;
  for (Forwarded& pair : pairs) {
    threads.emplace_back([&pair, size] {
      EXPECT_EQ(transfer(pair.client.get(), pair.upstream.get(), Pattern(1), size), "");
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::vector<std::uint64_t> times = worker_times(daemon_->process().pid());
  ASSERT_EQ(times.size(), 2U);
  EXPECT_GT(10 * std::min(times[0], times[1]), times[0] + times[1]);
  for (Forwarded& pair : pairs) finish_sending(pair.client.get());
  EXPECT_TRUE(mirror.wait_for_ends());
  for (const MirrorServer::Stream* stream : streams) {
    EXPECT_EQ(stream->ending, Ending::eof);
    EXPECT_EQ(stream->received.mismatch(), std::nullopt);
    EXPECT_EQ(stream->received.received_bytes(), size);
  }
  EXPECT_EQ(stats()["mirror_lagged"], "0");
}

std::vector<Mode> mirror_modes() {
  if (scale() == Scale::quick) return {{"uring", "auto"}, {"epoll", "never"}};
  return {{"uring", "auto"}, {"uring", "never"}, {"epoll", "auto"}, {"epoll", "never"}};
}

INSTANTIATE_TEST_SUITE_P(EveryMode, MirrorTest, testing::ValuesIn(mirror_modes()), name_of_mode);

using MirrorCrowdTest = MirrorTest;

TEST_P(MirrorCrowdTest, TwoHundredStreamsAtOnceReachTheirMirrorAsTheyWere) {
  MirrorServer mirror;
  start_mirrored({mirror.address()});
  run_exchanges(by_scale(40U, 200U, 200U), {&mirror});
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, MirrorCrowdTest,
                         testing::Values(Mode{"uring", "always"}, Mode{"epoll", "auto"}),
                         name_of_mode);

}  // namespace
}  // namespace sluice::test
