// Kills the daemon under load, again and again. What its successor recovers is compared with what
// was left, and with what the far ends had received. SLUICE_LONG=1 makes a thousand cycles.

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/log_line.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/outcome.h"
#include "tests/system/recorded.h"
#include "tests/system/torture.h"

namespace sluice::test {
namespace {

using capture::Side;
using std::chrono::microseconds;

constexpr std::size_t kConnections = 4;
constexpr std::uint64_t kEndless = std::uint64_t{1} << 40;

class CaptureCrashTest : public testing::TestWithParam<std::string> {
 protected:
  using Exchanges = std::map<std::string, std::unique_ptr<Exchange>>;  ///< by the client's address

  [[nodiscard]] std::vector<std::string> arguments(const std::string& engine) const {
    // The smallest segments, so that many crashes happen while one is being sealed or prepared.
    return route_arguments({engine, "auto"}, loopback_address(upstream_.port),
                           {"--capture", directory_, "--durability", GetParam(), "--segment-size",
                            "8MiB", "--capture-buffers", "2MiB", "--capture-full", "block"});
  }
  enum class When { at_any_time, with_data };
  [[nodiscard]] Exchanges run_and_kill(const std::string& engine, When when);
  void recover(const std::string& engine);
  [[nodiscard]] Recorded read(const Exchanges& exchanges) const;
  static void nothing_is_lost(const Recorded& left, const Recorded& recovered);
  void compare(const Exchanges& exchanges, const Recorded& recorded) const;
  [[nodiscard]] microseconds up_to(microseconds most) {
    return microseconds(random_() % static_cast<std::uint64_t>(most.count()));
  }

  TempDir folder_;
  std::string directory_ = folder_.file("capture");
  Listener upstream_ = listen_tcp();
  std::mt19937_64 random_{seed()};
};

/// Streams both ways without end, in large and small pieces, until the kill. With `with_data`,
/// kills only once something was recorded.
CaptureCrashTest::Exchanges CaptureCrashTest::run_and_kill(const std::string& engine, When when) {
  Daemon daemon(arguments(engine));
  std::vector<std::unique_ptr<Exchange>> running;
  std::vector<std::string> clients;
  for (std::size_t i = 0; i < kConnections; ++i) {
    ConnectionPlan plan;
    plan.seed = random_();
    const std::size_t most = i % 2 == 0 ? 256 << 10 : 1 + random_() % 4096;
    plan.client.send_bytes = kEndless;
    plan.client.most_written_bytes = most;
    plan.client.most_read_bytes = 1 << 18;
    plan.upstream = plan.client;
    Forwarded pair = forward(daemon.port(), upstream_.fd.get());
    clients.push_back(loopback_address(local_port(pair.client.get())));
    running.push_back(std::make_unique<Exchange>(plan, std::move(pair)));
  }
  {
    const std::jthread killer([&, wait = up_to(std::chrono::milliseconds(80))] {
      const auto has_data = [this] { return read_capture(directory_).bytes() > 0; };
      if (when == When::with_data) {
        EXPECT_TRUE(wait_until(has_data));
      }
      std::this_thread::sleep_for(wait);
      daemon.process().signal(SIGKILL);
    });
    EXPECT_TRUE(run(running));
  }
  EXPECT_EQ(daemon.process().wait(), -SIGKILL);
  Exchanges exchanges;
  for (std::size_t i = 0; i < kConnections; ++i) exchanges[clients[i]] = std::move(running[i]);
  return exchanges;
}

/// The next start, sometimes after one that was killed as well.
void CaptureCrashTest::recover(const std::string& engine) {
  if (random_() % 3 == 0) {
    std::vector<std::string> command = arguments(engine);
    command.insert(command.begin(), daemon_binary());
    Process interrupted(command);
    std::this_thread::sleep_for(up_to(std::chrono::milliseconds(20)));
    interrupted.signal(SIGKILL);
    EXPECT_EQ(interrupted.wait(), -SIGKILL);
  }
  const std::size_t sealed_before = segments_in(directory_, ".sluice").size();
  Daemon successor(arguments(engine));
  EXPECT_EQ(successor.terminate(), 0) << successor.log();
  EXPECT_EQ(segments_in(directory_, ".open").size(), 0U);
  // It logs the number of segments that it sealed, if any.
  const std::size_t sealed = segments_in(directory_, ".sluice").size() - sealed_before;
  const std::string told = line_of(successor.log(), "capture_recovered");
  EXPECT_EQ(parse_text_line(told)["segments"], sealed == 0 ? "" : std::to_string(sealed))
      << successor.log();
}

Recorded CaptureCrashTest::read(const Exchanges& exchanges) const {
  return check_capture(directory_, [&](const RecordedConnection& connection, Side side) {
    const auto found = exchanges.find(connection.open.client);
    const std::uint64_t seed = found == exchanges.end() ? 0 : found->second->plan.seed;
    return Pattern(seed + (side == Side::client ? 0 : 1));
  });
}

/// Everything that a reader found before the recovery, it finds afterwards.
void CaptureCrashTest::nothing_is_lost(const Recorded& left, const Recorded& recovered) {
  EXPECT_TRUE(left.error.empty()) << left.error;
  for (const auto& [id, connection] : left.connections) {
    const auto found = recovered.connections.find(id);
    ASSERT_NE(found, recovered.connections.end()) << id << " is gone";
    for (std::size_t side = 0; side < connection.sides.size(); ++side) {
      EXPECT_GE(found->second.sides[side].recorded, connection.sides[side].recorded)
          << id << ": bytes of the " << capture::kSideNames[side] << " are gone";
    }
  }
}

void CaptureCrashTest::compare(const Exchanges& exchanges, const Recorded& recorded) const {
  EXPECT_TRUE(recorded.error.empty()) << recorded.error;
  EXPECT_EQ(recorded.damaged + recorded.lost + recorded.gaps, 0U) << recorded.findings;
  if (!segments_in(directory_, "").empty()) {
    EXPECT_EQ(verify_status(directory_), recorded.status()) << recorded.findings;
  }
  for (const auto& [client, exchange] : exchanges) {
    const std::uint64_t to_upstream = exchange->upstream.received().received_bytes();
    const std::uint64_t to_client = exchange->client.received().received_bytes();
    const RecordedConnection* connection = recorded.from(client);
    if (connection != nullptr) {
      for (const RecordedSide& side : connection->sides) {
        EXPECT_FALSE(side.mismatch.has_value()) << "at " << *side.mismatch;
        EXPECT_EQ(side.recorded, side.reached);
      }
      EXPECT_LE(connection->client().recorded, exchange->client.sent_bytes());
      EXPECT_LE(connection->upstream().recorded, exchange->upstream.sent_bytes());
    }
    if (GetParam() != "before-forward") continue;
    if (to_upstream + to_client == 0) continue;
    ASSERT_NE(connection, nullptr) << "the far side has bytes of which nothing was recorded";
    EXPECT_GE(connection->client().recorded, to_upstream);
    EXPECT_GE(connection->upstream().recorded, to_client);
  }
}

TEST_P(CaptureCrashTest, WhatIsFoundAfterAKillIsTrue) {
  // Four levels: a hundred cycles in total, or a thousand.
  const int cycles = by_scale(2, 25, 250);
  int with_data = 0;
  for (int cycle = 0; cycle < cycles && !HasFailure(); ++cycle) {
    const std::string engine = cycle % 4 < 2 && io_uring_available() ? "uring" : "epoll";
    const Exchanges exchanges =
        run_and_kill(engine, cycle % 2 == 0 ? When::at_any_time : When::with_data);
    const Recorded left = read(exchanges);
    recover(engine);
    const Recorded recovered = read(exchanges);
    nothing_is_lost(left, recovered);
    compare(exchanges, recovered);
    if (recovered.bytes() > 0) ++with_data;
    if (!HasFailure()) std::filesystem::remove_all(directory_);
  }
  EXPECT_TRUE(HasFailure() || with_data >= cycles / 2) << "hardly a cycle had anything to lose";
}

std::string name_of_level(const testing::TestParamInfo<std::string>& info) {
  return info.param == "before-forward" ? "before_forward" : info.param;
}

INSTANTIATE_TEST_SUITE_P(EveryLevel, CaptureCrashTest,
                         testing::Values("none", "interval", "batch", "before-forward"),
                         name_of_level);

}  // namespace
}  // namespace sluice::test
