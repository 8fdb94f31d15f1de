// What is recorded of all kinds of streams, compared byte by byte with what both ends sent and
// received, at every level of durability.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "tests/support/settings.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/outcome.h"
#include "tests/system/recorded.h"
#include "tests/system/torture.h"

namespace sluice::test {
namespace {

using capture::Side;
using capture::SideEnd;

using Setting = std::tuple<Mode, std::string>;

std::string name_of_setting(const testing::TestParamInfo<Setting>& info) {
  const auto& [mode, durability] = info.param;
  std::string name = mode.engine + "_" + mode.zero_copy + "_" + durability;
  std::ranges::replace(name, '-', '_');
  return name;
}

class CaptureStreamsTest : public testing::TestWithParam<Setting> {
 protected:
  void SetUp() override {
    if (mode().engine == "uring" && !io_uring_available()) {
      GTEST_SKIP() << "the kernel refuses io_uring here";
    }
    upstream_ = listen_tcp(4096, {.segment_bytes = kEthernetSegmentBytes});
  }
  [[nodiscard]] static Mode mode() { return std::get<0>(GetParam()); }

  /// All levels wait for the disk here, so no byte may be missing.
  void start(const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments =
        route_arguments(mode(), loopback_address(upstream_.port),
                        {"--capture", directory_, "--durability", std::get<1>(GetParam()),
                         "--capture-full", "block"});
    arguments.insert(arguments.end(), more.begin(), more.end());
    daemon_ = std::make_unique<Daemon>(arguments);
  }
  void run_exchanges(std::size_t count, std::mt19937_64& random);
  void compare_exchanges() const;

  TempDir folder_;
  std::string directory_ = folder_.file("capture");
  Listener upstream_;
  std::unique_ptr<Daemon> daemon_;
  std::map<std::string, std::unique_ptr<Exchange>> exchanges_;  ///< by the client's address
};

void CaptureStreamsTest::run_exchanges(std::size_t count, std::mt19937_64& random) {
  std::vector<std::unique_ptr<Exchange>> running;
  std::vector<std::string> clients;
  for (std::size_t i = 0; i < count; ++i) {
    const ConnectionPlan plan = draw_plan(random);
    Forwarded pair =
        forward(daemon_->port(), upstream_.fd.get(), plan.client_socket, plan.upstream_socket);
    clients.push_back(loopback_address(local_port(pair.client.get())));
    running.push_back(std::make_unique<Exchange>(plan, std::move(pair)));
  }
  EXPECT_TRUE(run(running)) << "some streams do not move any more";
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT_EQ(running[i]->verdict(), "");
    // Two connections may have used the same port, one after the other. The later one counts.
    exchanges_[clients[i]] = std::move(running[i]);
  }
}

/// Empty, or the problem with the record of one direction.
std::string side_verdict(const RecordedConnection& connection, Side side, const StreamEnd& from,
                         const StreamEnd& to) {
  const auto index = static_cast<std::size_t>(side);
  const RecordedSide& recorded = connection.sides[index];
  const std::uint64_t got = to.received().received_bytes();
  std::string wrong;
  const auto complain = [&](const std::string& what) {
    wrong += std::string(capture::kSideNames[index]) + ": " + what + "; ";
  };
  if (recorded.mismatch) complain("a wrong byte at " + std::to_string(*recorded.mismatch));
  if (recorded.missing() > 0) complain("gaps");
  if (recorded.recorded < got) complain("the far end has more than was recorded");
  if (recorded.recorded > from.sent_bytes()) complain("more than was sent");
  if (to.ending() == Ending::eof && recorded.end != SideEnd::eof) complain("no eof");
  if (recorded.end == SideEnd::none) complain("no end");
  if (!connection.close) return wrong + "no close";
  const capture::SideTotals& totals = connection.close->sides[index];
  if (totals.recorded != recorded.recorded) complain("another total");
  if (totals.received != recorded.recorded) complain("received something that is not recorded");
  if (totals.forwarded < got) complain("the far end has more than was forwarded");
  return wrong;
}

void CaptureStreamsTest::compare_exchanges() const {
  const Recorded recorded =
      check_capture(directory_, [&](const RecordedConnection& connection, Side side) {
        const auto found = exchanges_.find(connection.open.client);
        const std::uint64_t seed = found == exchanges_.end() ? 0 : found->second->plan.seed;
        return Pattern(seed + (side == Side::client ? 0 : 1));
      });
  EXPECT_EQ(recorded.status(), 0) << recorded.error << recorded.findings;
  EXPECT_EQ(verify_status(directory_), 0);
  EXPECT_EQ(recorded.connections.size(), exchanges_.size());
  for (const auto& [client, exchange] : exchanges_) {
    const RecordedConnection* connection = recorded.from(client);
    ASSERT_NE(connection, nullptr) << client;
    EXPECT_EQ(side_verdict(*connection, Side::client, exchange->client, exchange->upstream) +
                  side_verdict(*connection, Side::upstream, exchange->upstream, exchange->client),
              "")
        << exchange->verdict() << ' ' << client;
  }
}

TEST_P(CaptureStreamsTest, RandomStreamsAreRecordedAsTheyWere) {
  // Small segments and buffers, so that both run out.
  start({"--segment-size", "8MiB", "--capture-buffers", "2MiB"});
  std::mt19937_64 random(seed());
  for (int round = 0; round < by_scale(1, 2, 20); ++round) {
    run_exchanges(by_scale(8U, 32U, 48U), random);
  }
  ASSERT_EQ(daemon_->terminate(), 0) << daemon_->log();
  compare_exchanges();
}

TEST_P(CaptureStreamsTest, SplicedStreamsAreRecordedAsTheyWere) {
  const bool gated = std::get<1>(GetParam()) == "before-forward";
  // Gated streams wait for the disk.
  const auto size = gated ? by_scale<std::uint64_t>(1 << 20, 4 << 20, 64 << 20)
                          : by_scale<std::uint64_t>(8 << 20, 64 << 20, 512 << 20);
  start();
  Forwarded pair = forward(daemon_->port(), upstream_.fd.get());
  EXPECT_EQ(transfer(pair.client.get(), pair.upstream.get(), Pattern(1), size), "");
  EXPECT_EQ(transfer(pair.upstream.get(), pair.client.get(), Pattern(2), size), "");
  finish_sending(pair.client.get());
  finish_sending(pair.upstream.get());
  const auto ends = daemon_->wait_for_ends(1);
  ASSERT_EQ(ends.size(), 1U) << daemon_->log();
  const bool splices = mode().zero_copy != "never" && std::get<1>(GetParam()) != "before-forward";
  EXPECT_EQ(ends[0].spliced_to_upstream > size / 2, splices);
  ASSERT_EQ(daemon_->terminate(), 0) << daemon_->log();
  const Recorded recorded =
      check_capture(directory_, [](const RecordedConnection& /*connection*/, Side side) {
        return Pattern(side == Side::client ? 1 : 2);
      });
  EXPECT_EQ(recorded.status(), 0) << recorded.findings;
  const RecordedConnection& connection = recorded.only();
  for (const RecordedSide& side : connection.sides) {
    EXPECT_EQ(side.recorded, size);
    EXPECT_EQ(side.end, SideEnd::eof);
    EXPECT_FALSE(side.mismatch.has_value());
  }
  ASSERT_TRUE(connection.close.has_value());
  EXPECT_EQ(connection.close->reason, "closed");
  for (const capture::SideTotals& totals : connection.close->sides) {
    EXPECT_EQ(totals.acknowledged, size);
  }
}

// Every level with both engines, every mode at one level. With SLUICE_LONG=1, all combinations.
std::vector<Setting> capture_settings() {
  std::vector<Setting> settings;
  for (const char* engine : {"uring", "epoll"}) {
    for (const char* level : {"none", "interval", "batch", "before-forward"}) {
      settings.push_back({{engine, "auto"}, level});
      const bool is_one = std::string_view(level) == "batch";
      if (is_one || scale() == Scale::thorough) settings.push_back({{engine, "never"}, level});
    }
  }
  return settings;
}

INSTANTIATE_TEST_SUITE_P(EveryLevel, CaptureStreamsTest, testing::ValuesIn(capture_settings()),
                         name_of_setting);

/// Through the page cache, as on a filesystem without O_DIRECT or on request.
class CaptureBufferedTest : public CaptureStreamsTest {};

TEST_P(CaptureBufferedTest, RandomStreamsAreRecordedAsTheyWere) {
  start({"--capture-io", "buffered", "--segment-size", "8MiB", "--capture-buffers", "2MiB"});
  std::mt19937_64 random(seed());
  run_exchanges(by_scale(8U, 32U, 48U), random);
  ASSERT_EQ(daemon_->terminate(), 0) << daemon_->log();
  compare_exchanges();
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, CaptureBufferedTest,
                         testing::Combine(testing::Values(Mode{"uring", "auto"},
                                                          Mode{"epoll", "auto"}),
                                          testing::Values("batch", "before-forward")),
                         name_of_setting);

class CaptureCrowdTest : public CaptureStreamsTest {};

TEST_P(CaptureCrowdTest, TwoHundredStreamsAtOnceAreRecordedAsTheyWere) {
  start({"--segment-size", "8MiB"});
  std::mt19937_64 random(seed());
  run_exchanges(by_scale(40U, 200U, 200U), random);
  ASSERT_EQ(daemon_->terminate(), 0) << daemon_->log();
  compare_exchanges();
}

// Each level with one engine; with SLUICE_LONG=1, with both.
std::vector<Setting> crowd_settings() {
  const Mode uring{"uring", "always"};
  const Mode epoll{"epoll", "auto"};
  std::vector<Setting> settings{
      {uring, "none"}, {epoll, "interval"}, {epoll, "batch"}, {uring, "before-forward"}};
  if (scale() == Scale::thorough) {
    settings.insert(
        settings.end(),
        {{epoll, "none"}, {uring, "interval"}, {uring, "batch"}, {epoll, "before-forward"}});
  }
  return settings;
}

INSTANTIATE_TEST_SUITE_P(EveryLevel, CaptureCrowdTest, testing::ValuesIn(crowd_settings()),
                         name_of_setting);

}  // namespace
}  // namespace sluice::test
