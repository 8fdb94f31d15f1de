// Bytes that are called durable were flushed. Flushes are counted at the device, for both engines,
// and as system calls. Reading a file back cannot show this, since unflushed bytes are in the page
// cache.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/loop_disk.h"
#include "tests/support/regex.h"
#include "tests/support/settings.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/programs.h"

namespace sluice::test {
namespace {

constexpr std::uint64_t kMessages = 20;

class CaptureFlushTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "uring" && !io_uring_available()) {
      GTEST_SKIP() << "the kernel refuses io_uring here";
    }
    std::string why_not;
    disk_ = LoopDisk::create(128 << 20, why_not);
    if (!disk_) GTEST_SKIP() << why_not;
    if (!disk_->flushes()) GTEST_SKIP() << "this kernel does not count flushes";
  }
  void start(const std::string& to, const std::string& level) {
    daemon_ = std::make_unique<Daemon>(
        route_arguments({GetParam(), "auto"}, to,
                        {"--capture", disk_->path() + "/capture", "--durability", level,
                         "--segment-size", "8MiB", "--workers", "1"}));
  }
  /// Sends messages one by one, each after the previous one arrived. Returns the flushes meanwhile.
  [[nodiscard]] std::uint64_t flushes_of_messages(const std::string& level) {
    start(loopback_address(upstream_.port), level);
    const Forwarded pair = forward(daemon_->port(), upstream_.fd.get());
    const std::uint64_t before = *disk_->flushes();
    for (std::uint64_t i = 0; i < kMessages; ++i) {
      EXPECT_TRUE(send_all(pair.client.get(), "m"));
      std::byte byte{};
      EXPECT_EQ(receive_some(pair.upstream.get(), {&byte, 1}).bytes, 1U);
    }
    return *disk_->flushes() - before;
  }

  std::unique_ptr<LoopDisk> disk_;
  Listener upstream_ = listen_tcp();
  std::unique_ptr<Daemon> daemon_;
};

TEST_P(CaptureFlushTest, BeforeForwardFlushesBeforeEachMessageArrives) {
  EXPECT_GE(flushes_of_messages("before-forward"), kMessages);
}

TEST_P(CaptureFlushTest, NoneFlushesNothingBesidesItsSegments) {
  EXPECT_LT(flushes_of_messages("none"), kMessages / 2);
}

TEST_P(CaptureFlushTest, BatchFlushesWhatIsWrittenWithoutBeingAsked) {
  start(loopback_address(upstream_.port), "batch");
  const Forwarded pair = forward(daemon_->port(), upstream_.fd.get());
  for (std::uint64_t i = 0; i < 3; ++i) {
    const std::uint64_t before = *disk_->flushes();
    ASSERT_TRUE(send_all(pair.client.get(), "m"));
    EXPECT_TRUE(wait_until([&] { return *disk_->flushes() > before; }));
  }
}

/// At level none nothing else causes a flush.
TEST_P(CaptureFlushTest, ASinkFlushesBeforeItsEnd) {
  start("discard:", "none");
  const std::uint64_t before = *disk_->flushes();
  for (std::uint64_t i = 0; i < kMessages; ++i) {
    const OwnedFd client = connect_tcp(daemon_->port());
    ASSERT_TRUE(send_all(client.get(), "m"));
    finish_sending(client.get());
    std::byte byte{};
    ASSERT_EQ(receive_some(client.get(), {&byte, 1}).ending, Ending::eof);
  }
  EXPECT_GE(*disk_->flushes() - before, kMessages);
}

INSTANTIATE_TEST_SUITE_P(BothEngines, CaptureFlushTest, testing::Values("uring", "epoll"));

// --- As system calls: strace does not see what io_uring does

class CaptureSyncCallsTest : public testing::Test {
 protected:
  void SetUp() override { SLUICE_NEEDS_STRACE(); }
  /// One message through a new daemon, from its start to its end. Returns strace's output.
  [[nodiscard]] std::string trace(const std::string& level);

  TempDir folder_;
};

std::string CaptureSyncCallsTest::trace(const std::string& level) {
  const std::string out = folder_.file("trace-" + level);
  // With -D the daemon is our child, not strace.
  std::vector<std::string> arguments{"-D",
                                     "-f",
                                     "-y",
                                     "-s",
                                     "0",
                                     "-o",
                                     out,
                                     "-e",
                                     "trace=fsync,fdatasync,pwritev2,rename,renameat,renameat2",
                                     daemon_binary()};
  const Listener upstream = listen_tcp();
  const auto route = route_arguments(
      {"epoll", "auto"}, loopback_address(upstream.port),
      {"--capture", folder_.file("capture-" + level), "--durability", level, "--workers", "1"});
  arguments.insert(arguments.end(), route.begin(), route.end());
  DaemonOptions traced;
  traced.binary = "strace";
  traced.process.environment = {without_leak_check()};
  Daemon daemon(arguments, traced);
  {
    const Forwarded pair = forward(daemon.port(), upstream.fd.get());
    EXPECT_TRUE(send_all(pair.client.get(), "m"));
    std::byte byte{};
    EXPECT_EQ(receive_some(pair.upstream.get(), {&byte, 1}).bytes, 1U);
  }
  EXPECT_EQ(daemon.wait_for_ends(1).size(), 1U);
  EXPECT_EQ(daemon.terminate(), 0) << daemon.log();
  EXPECT_TRUE(wait_until([&] { return read_text(out).ends_with("+++\n"); }));
  return read_text(out);
}

bool has(const std::string& calls, const std::string& pattern) {
  return Regex(pattern).is_in(calls);
}

TEST_F(CaptureSyncCallsTest, NamesAndContentsAreSynced) {
  const std::string calls = trace("batch");
  EXPECT_TRUE(has(calls, R"(fsync\(\d+<[^>]*\.open>)")) << "before a segment is used\n" << calls;
  EXPECT_TRUE(has(calls, R"(fdatasync\(\d+<[^>]*\.open>)")) << "what was written\n" << calls;
  const std::size_t renamed = calls.find("rename");
  ASSERT_NE(renamed, std::string::npos) << calls;
  const std::string directory = R"(fsync\(\d+<[^>]*/capture-batch>)";
  EXPECT_TRUE(has(calls.substr(0, renamed), directory)) << "the new name\n" << calls;
  EXPECT_TRUE(has(calls.substr(renamed), directory)) << "the last name\n" << calls;
}

TEST_F(CaptureSyncCallsTest, BeforeForwardWritesWithDsync) {
  EXPECT_TRUE(has(trace("before-forward"), R"(pwritev2\(\d+<[^>]*\.open>.*RWF_DSYNC)"));
  EXPECT_FALSE(has(trace("none"), "RWF_DSYNC"));
}

}  // namespace
}  // namespace sluice::test
