// What a confirmation guarantees: a sink's FIN, and a byte that has passed before-forward.

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "tests/support/temp_dir.h"
#include "tests/system/forwarding.h"
#include "tests/system/outcome.h"
#include "tests/system/recorded.h"

namespace sluice::test {
namespace {

using capture::Side;

Ending ending_of(int fd) {
  std::byte byte{};
  return receive_some(fd, {&byte, 1}, kLate).ending;
}

Recorded check_one(const std::string& directory) {
  return check_capture(directory, [](const RecordedConnection& /*connection*/, Side side) {
    return Pattern(side == Side::client ? 1 : 2);
  });
}

class CaptureSinkTest : public testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  void SetUp() override {
    if (engine() == "uring" && !io_uring_available()) {
      GTEST_SKIP() << "the kernel refuses io_uring here";
    }
  }
  [[nodiscard]] static const std::string& engine() { return std::get<0>(GetParam()); }
  [[nodiscard]] std::vector<std::string> arguments(
      const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all = route_arguments(
        {engine(), "auto"},
        "discard:", {"--capture", directory_, "--durability", std::get<1>(GetParam())});
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  TempDir folder_;
  std::string directory_ = folder_.file("capture");
};

/// The daemon is killed as soon as the client sees the end. Bytes that are not on the disk are
/// lost.
TEST_P(CaptureSinkTest, ItsEndConfirmsAllBytes) {
  std::mt19937_64 random(seed());
  for (int round = 0; round < by_scale(2, 6, 100); ++round) {
    Daemon daemon(arguments({"--capture-full", "block"}));
    const std::uint64_t size = round == 0 ? 0 : 1 + random() % (std::uint64_t{1} << random() % 25);
    const OwnedFd client = connect_tcp(daemon.port());
    ASSERT_TRUE(send_pattern(client.get(), Pattern(1), 0, size));
    finish_sending(client.get());
    ASSERT_EQ(ending_of(client.get()), Ending::eof);
    daemon.process().signal(SIGKILL);
    const Recorded recorded = check_one(directory_);
    ASSERT_EQ(daemon.process().wait(), -SIGKILL);
    EXPECT_EQ(recorded.damaged + recorded.lost + recorded.gaps, 0U) << recorded.findings;
    const RecordedConnection* connection =
        recorded.from(loopback_address(local_port(client.get())));
    ASSERT_NE(connection, nullptr);
    EXPECT_EQ(connection->client().recorded, size);
    EXPECT_EQ(connection->client().end, capture::SideEnd::eof);
    EXPECT_FALSE(connection->client().mismatch.has_value());
    std::filesystem::remove_all(directory_);
  }
}

/// The kernel closes the sockets of a killed process. That must not look like a confirmation.
TEST_P(CaptureSinkTest, AKillConfirmsNothing) {
  // Before the kill nothing is flushed, except by before-forward.
  Daemon daemon(arguments({"--flush-interval", "1m", "--sync-interval", "1m"}));
  std::vector<OwnedFd> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(connect_tcp(daemon.port()));
    ASSERT_TRUE(send_pattern(clients.back().get(), Pattern(1), 0, 100));
  }
  daemon.process().signal(SIGKILL);
  EXPECT_EQ(daemon.process().wait(), -SIGKILL);
  for (const OwnedFd& client : clients) EXPECT_EQ(ending_of(client.get()), Ending::reset);
}

TEST_P(CaptureSinkTest, WhatIsNotAllRecordedEndsByReset) {
  Daemon daemon(arguments({"--capture-limit", "1KiB"}));
  for (const std::uint64_t size : {1024U, 1025U, 100'000U}) {
    const OwnedFd client = connect_tcp(daemon.port());
    ASSERT_TRUE(send_pattern(client.get(), Pattern(1), 0, size));
    finish_sending(client.get());
    EXPECT_EQ(ending_of(client.get()), size == 1024 ? Ending::eof : Ending::reset) << size;
  }
  const auto ends = daemon.wait_for_ends(3);
  ASSERT_EQ(ends.size(), 3U) << daemon.log();
  EXPECT_EQ(ends[2].reason, "capture_failed");
  EXPECT_EQ(daemon.terminate(), 0);
}

std::string name_of_sink(const testing::TestParamInfo<CaptureSinkTest::ParamType>& info) {
  std::string name = std::get<0>(info.param) + "_" + std::get<1>(info.param);
  std::ranges::replace(name, '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(EveryLevel, CaptureSinkTest,
                         testing::Combine(testing::Values("uring", "epoll"),
                                          testing::Values("none", "interval", "batch",
                                                          "before-forward")),
                         name_of_sink);

class BeforeForwardTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "uring" && !io_uring_available()) {
      GTEST_SKIP() << "the kernel refuses io_uring here";
    }
  }
  [[nodiscard]] std::vector<std::string> arguments(
      const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all =
        route_arguments({GetParam(), "auto"}, loopback_address(upstream_.port),
                        {"--capture", directory_, "--durability", "before-forward"});
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  TempDir folder_;
  std::string directory_ = folder_.file("capture");
  Listener upstream_ = listen_tcp();
};

/// When bytes arrive, at either end, they are already in the segment file.
TEST_P(BeforeForwardTest, NoByteArrivesBeforeItIsInTheFile) {
  Daemon daemon(arguments({"--workers", "1"}));
  const Forwarded pair = forward(daemon.port(), upstream_.fd.get());
  std::mt19937_64 random(seed());
  std::array<std::uint64_t, 2> sent{};
  std::array<std::uint64_t, 2> arrived{};
  std::vector<std::byte> buffer(1 << 20);
  for (int message = 0; message < by_scale(10, 60, 1000); ++message) {
    const std::size_t side = random() % 2;
    const int from = side == 0 ? pair.client.get() : pair.upstream.get();
    const int to = side == 0 ? pair.upstream.get() : pair.client.get();
    const std::uint64_t size = 1 + random() % (std::uint64_t{1} << random() % 18);
    ASSERT_TRUE(send_pattern(from, Pattern(side + 1), sent[side], size));
    sent[side] += size;
    while (arrived[side] < sent[side]) {
      const Received part = receive_some(to, buffer);
      ASSERT_EQ(part.ending, Ending::open);
      arrived[side] += part.bytes;
      const Recorded recorded = check_one(directory_);
      ASSERT_EQ(recorded.damaged + recorded.lost, 0U) << recorded.findings;
      const RecordedSide& found = recorded.only().sides[side];
      ASSERT_GE(found.recorded, arrived[side]) << "it arrived before it was recorded";
      ASSERT_FALSE(found.mismatch.has_value());
    }
  }
  finish_sending(pair.client.get());
  finish_sending(pair.upstream.get());
  EXPECT_EQ(daemon.terminate(), 0) << daemon.log();
  EXPECT_EQ(check_one(directory_).status(), 0);
}

/// Bytes beyond the limit are forwarded without being recorded.
TEST_P(BeforeForwardTest, WhatIsBeyondTheLimitIsForwarded) {
  Daemon daemon(arguments({"--capture-limit", "10KiB"}));
  const Forwarded pair = forward(daemon.port(), upstream_.fd.get());
  for (int part = 0; part < 4; ++part) {
    EXPECT_EQ(transfer(pair.client.get(), pair.upstream.get(), Pattern(1), 10 << 10), "") << part;
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, BeforeForwardTest, testing::Values("uring", "epoll"));

}  // namespace
}  // namespace sluice::test
