// Full, slow, stuck and missing disks. Each test has its own small ext4, and is skipped with the
// reason where that is not possible.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/log_line.h"
#include "tests/support/loop_disk.h"
#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/outcome.h"
#include "tests/system/recorded.h"

namespace sluice::test {
namespace {

using capture::GapReason;
using capture::Side;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kBuffers = 4 * kMiB;

Ending ending_of(int fd) {
  std::byte byte{};
  return receive_some(fd, {&byte, 1}, kLate).ending;
}

class CaptureDiskTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "uring" && !io_uring_available()) {
      GTEST_SKIP() << "the kernel refuses io_uring here";
    }
    std::string why_not;
    disk_ = LoopDisk::create(64 * kMiB, why_not);
    if (!disk_) GTEST_SKIP() << why_not;
    directory_ = disk_->path() + "/capture";
  }
  void TearDown() override {
    if (disk_) {
      disk_->thaw();
      disk_->end_throttle();
    }
    if (HasFailure() && daemon_) std::printf("the daemon's log:\n%s\n", daemon_->log().c_str());
    daemon_.reset();
  }

  void start(const std::vector<std::string>& more) {
    std::vector<std::string> arguments =
        route_arguments({GetParam(), "auto"}, loopback_address(upstream_.port),
                        {"--capture", directory_, "--segment-size", "8MiB", "--capture-buffers",
                         buffers_, "--workers", "1"});
    arguments.insert(arguments.end(), more.begin(), more.end());
    daemon_ = std::make_unique<Daemon>(arguments);
    pair_ = forward(daemon_->port(), upstream_.fd.get());
  }
  [[nodiscard]] std::string send_on(std::uint64_t size) {
    std::string wrong = transfer_from(sent_, size);
    sent_ += size;
    return wrong;
  }
  /// Sends no faster than the disk records, while it does. Returns how the connection ended, if it
  /// did before `most` bytes.
  [[nodiscard]] std::string send_until_ended(std::uint64_t most) {
    std::string wrong;
    while (wrong.empty() && sent_ < most) {
      wrong = send_on(32 << 10);
      if (sent_ % kMiB != 0) continue;
      EXPECT_TRUE(wait_until([this] { return disk_keeps_up_or_is_lost(); }));
    }
    return wrong.substr(0, wrong.find(' '));
  }
  [[nodiscard]] bool disk_keeps_up_or_is_lost() const {
    return told("capture_no_segment") + told("capture_disk_failed") > 0 ||
           !connection_ends(daemon_->log()).empty() || counters_of(*daemon_)["capture_lag"] == "0";
  }
  /// Ends both directions, and waits until the daemon logs the end.
  void finish() {
    finish_sending(pair_.client.get());
    finish_sending(pair_.upstream.get());
    const auto ends = daemon_->wait_for_ends(1, kLate);
    ASSERT_EQ(ends.size(), 1U);
    EXPECT_EQ(ends[0].to_upstream, sent_);
  }
  /// The same, then ends the daemon: nothing may be missing.
  void finish_whole();
  [[nodiscard]] std::string transfer_from(std::uint64_t offset, std::uint64_t size) const;
  /// Also checks that the tool gives the same verdict.
  [[nodiscard]] Recorded check() const {
    Recorded recorded =
        check_capture(directory_, [](const RecordedConnection& /*connection*/, Side side) {
          return Pattern(side == Side::client ? 1 : 2);
        });
    EXPECT_EQ(verify_status(directory_), recorded.status()) << recorded.findings;
    return recorded;
  }
  /// The peak memory so far.
  [[nodiscard]] std::uint64_t peak_bytes() const;
  /// One of capture's counters, as last printed.
  [[nodiscard]] std::uint64_t counted(const std::string& name) const {
    return std::stoull(
        parse_text_line(line_of(daemon_->log(), "capture_lag=")).at("capture_" + name));
  }
  /// The number of log lines for an event.
  [[nodiscard]] std::uint64_t told(const std::string& event) const {
    return count_lines(daemon_->log(), Regex(event + " directory="));
  }
  /// Waits until everything that was sent is durable.
  [[nodiscard]] bool wait_until_durable() const {
    return wait_until([this] {
      const LogFields counters = counters_of(*daemon_);
      return counters.at("capture_lag") == "0" &&
             counters.at("capture_bytes") == std::to_string(sent_);
    });
  }
  void block_on_a_full_disk(const std::string& durability, std::uint64_t size);
  void block_on_a_disk_that_is_gone(const std::string& durability);

  std::string buffers_ = "4MiB";
  std::unique_ptr<LoopDisk> disk_;
  std::string directory_;
  Listener upstream_ = listen_tcp();
  std::unique_ptr<Daemon> daemon_;
  Forwarded pair_;
  std::uint64_t sent_ = 0;
};

std::string CaptureDiskTest::transfer_from(std::uint64_t offset, std::uint64_t size) const {
  bool sent = false;
  std::string wrong;
  {
    const std::jthread sender(
        [&] { sent = send_pattern(pair_.client.get(), Pattern(1), offset, size); });
    std::vector<std::byte> buffer(1 << 18);
    for (std::uint64_t got = 0; got < size && wrong.empty();) {
      const auto most =
          static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), size - got));
      const Received part =
          receive_some(pair_.upstream.get(), std::span(buffer).first(most), kLate);
      const auto bytes = std::span(buffer).first(part.bytes);
      if (part.ending != Ending::open) {
        wrong = testing::PrintToString(part.ending) + " after " + std::to_string(got) + " bytes";
      }
      if (Pattern(1).first_mismatch(offset + got, bytes)) wrong = "wrong bytes";
      got += part.bytes;
    }
  }
  return sent ? wrong : wrong + "; not all could be sent";
}

void CaptureDiskTest::finish_whole() {
  finish();
  ASSERT_EQ(daemon_->terminate(), 0);
  const Recorded recorded = check();
  EXPECT_EQ(recorded.status(), 0) << recorded.error << recorded.findings;
  EXPECT_EQ(recorded.only().client().recorded, sent_);
  EXPECT_FALSE(recorded.only().client().mismatch.has_value());
}

std::uint64_t CaptureDiskTest::peak_bytes() const {
  std::ifstream status("/proc/" + std::to_string(daemon_->process().pid()) + "/status");
  std::string word;
  while (status >> word) {
    if (word != "VmHWM:") continue;
    std::uint64_t kilobytes = 0;
    status >> kilobytes;
    return kilobytes << 10;
  }
  return 0;
}

std::uint64_t missing_for(const RecordedSide& side, GapReason reason) {
  std::uint64_t sum = 0;
  for (const RecordedSide::Gap& gap : side.gaps) {
    if (gap.reason == static_cast<std::uint32_t>(reason)) sum += gap.bytes;
  }
  return sum;
}

/// A filesystem in memory, without O_DIRECT.
class RamDisk {
 public:
  explicit RamDisk(std::string path) : path_(std::move(path)) {
    std::filesystem::create_directory(path_);
    if (::mount("none", path_.c_str(), "ramfs", 0, nullptr) != 0) {
      throw std::system_error(errno, std::generic_category(), "mount ramfs");
    }
  }
  ~RamDisk() { ::umount2(path_.c_str(), MNT_DETACH); }
  RamDisk(const RamDisk&) = delete;
  RamDisk& operator=(const RamDisk&) = delete;

 private:
  std::string path_;
};

/// While set, nobody can delete it.
void set_immutable(const std::string& path, bool immutable) {
  const OwnedFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  int flags = 0;
  bool done = ::ioctl(file.get(), FS_IOC_GETFLAGS, &flags) == 0;
  flags = immutable ? flags | FS_IMMUTABLE_FL : flags & ~FS_IMMUTABLE_FL;
  done = done && ::ioctl(file.get(), FS_IOC_SETFLAGS, &flags) == 0;
  if (!done) throw std::system_error(errno, std::generic_category(), "flags of " + path);
}

// --- A full disk

TEST_P(CaptureDiskTest, FullDropGoesOnAndSaysWhatIsMissing) {
  disk_->fill("filler", 12 * kMiB);
  start({"--durability", "interval", "--capture-full", "drop"});
  // A stream that outruns the disk leaves room on it: go on until the disk is full.
  EXPECT_TRUE(wait_until([this] {
    EXPECT_EQ(send_on(kMiB), "");
    return told("capture_no_segment") > 0;
  }));
  EXPECT_TRUE(daemon_->wait_for_log(
      Regex("capture_no_segment directory=\\S+ worker=0 reason=\"segment \\S+\\.open of 8MiB, "
            "[0-9]\\S* free: .*No space.* times=1$")));
  // The first bytes may all have come before the lack of room was known.
  EXPECT_TRUE(wait_until([this] {
    EXPECT_EQ(send_on(kMiB), "");
    return counters_of(*daemon_)["capture_dropped_disk_full"] != "0";
  }));
  std::filesystem::remove(disk_->path() + "/filler");
  EXPECT_TRUE(daemon_->wait_for_log(Regex("capture_goes_on")));
  EXPECT_EQ(send_on(kMiB), "");
  finish();
  ASSERT_EQ(daemon_->terminate(), 0);
  const Recorded recorded = check();
  EXPECT_EQ(recorded.status(), 4) << recorded.error << recorded.findings;
  const RecordedSide& side = recorded.only().client();
  EXPECT_FALSE(side.mismatch.has_value());
  EXPECT_EQ(side.recorded + side.missing(), sent_);
  EXPECT_GT(missing_for(side, GapReason::disk_full), 0U);
  EXPECT_GT(side.recorded, 8 * kMiB);
  EXPECT_EQ(counted("dropped_disk_full"), missing_for(side, GapReason::disk_full));
  EXPECT_EQ(counted("dropped_full"), missing_for(side, GapReason::buffers_full));
  EXPECT_EQ(counted("bytes"), side.recorded);
  EXPECT_GE(counted("segments_refused"), told("capture_no_segment"));
}

void CaptureDiskTest::block_on_a_full_disk(const std::string& durability, std::uint64_t size) {
  disk_->fill("filler", 12 * kMiB);
  start({"--durability", durability});
  std::string wrong = "?";
  {
    const std::jthread stream([&] { wrong = send_on(size); });
    EXPECT_TRUE(daemon_->wait_for_log(Regex("capture_no_segment.*No space")));
    EXPECT_TRUE(daemon_->wait_until_quiet()) << "it spins while it waits";
    EXPECT_TRUE(daemon_->process().running());
    std::filesystem::remove(disk_->path() + "/filler");
  }
  EXPECT_EQ(wrong, "");
  finish_whole();
}

TEST_P(CaptureDiskTest, FullBlockWaitsForSpaceAndLosesNothing) {
  block_on_a_full_disk("batch", 32 * kMiB);
}

TEST_P(CaptureDiskTest, FullBlockBeforeForwardWaitsForSpaceAndLosesNothing) {
  block_on_a_full_disk("before-forward", 16 * kMiB);
}

TEST_P(CaptureDiskTest, FullCloseEndsTheConnection) {
  disk_->fill("filler", 12 * kMiB);
  // The disk is full long before the buffers are.
  buffers_ = "32MiB";
  start({"--durability", "batch", "--capture-full", "close"});
  EXPECT_EQ(send_until_ended(128 * kMiB), "reset");
  const auto ends = daemon_->wait_for_ends(1);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].reason, "capture_failed");
  EXPECT_TRUE(daemon_->process().running());
  std::filesystem::remove(disk_->path() + "/filler");
  EXPECT_TRUE(daemon_->wait_for_log(Regex("capture_goes_on")));
  ASSERT_EQ(daemon_->terminate(), 0);
  const Recorded recorded = check();
  EXPECT_TRUE(recorded.status() == 0 || recorded.status() == 4) << recorded.findings;
  ASSERT_TRUE(recorded.only().close.has_value());
  EXPECT_EQ(recorded.only().close->reason, "capture_failed");
  EXPECT_FALSE(recorded.only().client().mismatch.has_value());
}

TEST_P(CaptureDiskTest, TwoWorkersShareADiskThatHoldsOneSegment) {
  const std::vector<std::string> arguments =
      route_arguments({GetParam(), "auto"}, loopback_address(upstream_.port),
                      {"--capture", directory_, "--segment-size", "48MiB", "--workers", "2",
                       "--durability", "batch"});
  std::vector<std::string> checking = arguments;
  checking.emplace_back("--check");
  const Outcome checked = run_to_end(checking);
  EXPECT_NE(checked.output.find("free for 2 workers: segments smaller than 48MiB"),
            std::string::npos)
      << checked.output << checked.error;
  daemon_ = std::make_unique<Daemon>(arguments);
  std::vector<Forwarded> pairs;
  for (int i = 0; i < 2; ++i) {
    pairs.push_back(forward(daemon_->port(), upstream_.fd.get()));
    EXPECT_EQ(
        transfer(pairs.back().client.get(), pairs.back().upstream.get(), Pattern(1), 8 * kMiB), "");
  }
  pairs.clear();
  EXPECT_EQ(daemon_->wait_for_ends(2).size(), 2U);
  EXPECT_EQ(daemon_->terminate(), 0);
  EXPECT_EQ(told("capture_no_segment"), 0U) << "one waited for the other's room";
  EXPECT_EQ(told("capture_segments_smaller"), 1U);
  EXPECT_EQ(check().bytes(), 16 * kMiB);
}

TEST_P(CaptureDiskTest, ACheckFindsADiskThatIsFullAndLeavesNothingBehind) {
  disk_->fill("filler", 2 * kMiB);
  const std::vector<std::string> arguments = {
      "--listen", "127.0.0.1:0", "--to", "echo:", "--capture", directory_, "--check"};
  const Outcome checked = run_to_end(arguments);
  EXPECT_EQ(checked.status, 1) << checked.output;
  EXPECT_NE(checked.error.find("No space left"), std::string::npos) << checked.error;
  for (const auto& entry : std::filesystem::directory_iterator(disk_->path())) {
    EXPECT_EQ(entry.path().string().find("capture"), std::string::npos) << entry.path();
  }
}

TEST_P(CaptureDiskTest, RetentionMakesRoomForever) {
  start({"--durability", "batch", "--retain-size", "24MiB"});
  EXPECT_EQ(send_on(by_scale<std::uint64_t>(96, 256, 2048) * kMiB), "");
  finish();
  ASSERT_EQ(daemon_->terminate(), 0);
  std::uint64_t kept = 0;
  for (const std::string& path : segments_in(directory_, "")) {
    kept += std::filesystem::file_size(path);
  }
  EXPECT_LE(kept, 24 * kMiB);
  const Recorded recorded = check();
  EXPECT_EQ(recorded.status(), 0) << recorded.error << recorded.findings;
  const RecordedConnection& connection = recorded.only();
  EXPECT_GT(connection.client().recorded, 8 * kMiB);
  EXPECT_EQ(connection.client().reached, sent_);
  EXPECT_FALSE(connection.client().mismatch.has_value());
}

/// --retain-size allows more than fits, so the disk's size is the limit.
TEST_P(CaptureDiskTest, AFullDiskMakesRoomByWhatIsOldest) {
  start({"--durability", "batch", "--retain-size", "1GiB"});
  EXPECT_EQ(send_on(96 * kMiB), "");
  finish();
  ASSERT_EQ(daemon_->terminate(), 0);
  EXPECT_GT(told("capture_deleted_for_room"), 0U);
  EXPECT_EQ(counted("segments_deleted"), told("capture_deleted_for_room"));
  const Recorded recorded = check();
  EXPECT_EQ(recorded.status(), 0) << recorded.error << recorded.findings;
  const RecordedSide& side = recorded.only().client();
  EXPECT_GT(side.recorded, 8 * kMiB);
  EXPECT_EQ(side.reached, sent_);
  EXPECT_FALSE(side.mismatch.has_value());
}

TEST_P(CaptureDiskTest, ASegmentThatCannotBeDeletedIsToldOnceAndLeavesNoHoleBehind) {
  start({"--durability", "batch", "--retain-size", "16MiB"});
  EXPECT_EQ(send_on(10 * kMiB), "");
  ASSERT_TRUE(wait_until([this] { return !segments_in(directory_, ".sluice").empty(); }));
  const std::string kept = segments_in(directory_, ".sluice").front();
  set_immutable(kept, true);
  EXPECT_EQ(send_on(24 * kMiB), "");
  EXPECT_TRUE(daemon_->wait_for_log(Regex("capture_not_deleted")));
  EXPECT_TRUE(wait_until([this] { return segments_in(directory_, ".sluice").size() >= 4; }))
      << "a hole behind it";
  set_immutable(kept, false);
  EXPECT_EQ(send_on(24 * kMiB), "");
  finish();
  ASSERT_EQ(daemon_->terminate(), 0);
  EXPECT_FALSE(std::filesystem::exists(kept));
  EXPECT_LE(segments_in(directory_, ".sluice").size(), 3U);
  EXPECT_EQ(told("capture_not_deleted"), 1U);
  EXPECT_EQ(counted("deletions_failed"), 1U);
  EXPECT_GT(counted("segments_deleted"), 0U);
  const Recorded recorded = check();
  EXPECT_EQ(recorded.damaged, 0U) << recorded.findings;
  EXPECT_FALSE(recorded.only().client().mismatch.has_value());
}

// --- A disk without O_DIRECT

TEST_P(CaptureDiskTest, AFilesystemWithoutDirectIoIsToldAndServes) {
  const std::string memory = disk_->path() + "/memory";
  const RamDisk ram(memory);
  directory_ = memory + "/capture";
  // It does not report its size, which must not count as full.
  const Outcome checked =
      run_to_end({"--listen", "127.0.0.1:0", "--to", "echo:", "--capture", directory_, "--check"});
  EXPECT_EQ(checked.status, 0) << checked.error;
  EXPECT_EQ(checked.output.find("free for"), std::string::npos) << checked.output;
  start({"--durability", "batch"});
  EXPECT_TRUE(daemon_->wait_for_log(Regex("capture_buffered directory=.*no O_DIRECT")));
  EXPECT_EQ(send_on(20 * kMiB), "");
  finish_whole();
  EXPECT_EQ(told("capture_segments_smaller"), 0U);
}

// --- A disk that is gone

TEST_P(CaptureDiskTest, DroppedWhenTheDiskIsGone) {
  start({"--durability", "interval", "--capture-full", "drop"});
  EXPECT_EQ(send_on(2 * kMiB), "");
  ASSERT_TRUE(wait_until_durable());
  disk_->turn_read_only();
  EXPECT_EQ(send_on(64 * kMiB), "");
  EXPECT_TRUE(daemon_->wait_for_log(Regex("capture_(disk_failed|no_segment)")));
  EXPECT_EQ(send_on(64 * kMiB), "");
  EXPECT_TRUE(daemon_->process().running());
  finish();
  // Recorded bytes are lost, so the exit status reports a failure.
  EXPECT_EQ(daemon_->terminate(), 1);
  const Recorded recorded = check();
  EXPECT_EQ(recorded.damaged, 0U) << recorded.findings;
  EXPECT_FALSE(recorded.only().client().mismatch.has_value());
  EXPECT_EQ(recorded.bytes(), 2 * kMiB);
  // Each other byte was dropped with a reported reason, or was in the buffers at the end.
  EXPECT_GT(counted("dropped_disk_failed"), 0U);
  const std::uint64_t dropped =
      counted("dropped_full") + counted("dropped_disk_full") + counted("dropped_disk_failed");
  EXPECT_EQ(dropped + counted("lag"), sent_ - recorded.bytes());
  EXPECT_LE(counted("lag"), kBuffers);
  EXPECT_EQ(counted("bytes") + dropped, sent_);
  for (const auto& [counter, event] : {std::pair{"disk_failures", "capture_disk_failed"},
                                       std::pair{"seal_failures", "capture_not_sealed"},
                                       std::pair{"segments_refused", "capture_no_segment"}}) {
    EXPECT_GT(told(event), 0U) << event;
    EXPECT_GE(counted(counter), told(event)) << "the first is told at once, then how often it was";
  }
}

/// A daemon that may lose nothing waits for ever. Everything confirmed until then is there.
void CaptureDiskTest::block_on_a_disk_that_is_gone(const std::string& durability) {
  start({"--durability", durability, "--drain-timeout", "1s"});
  EXPECT_EQ(send_on(kMiB), "");
  ASSERT_TRUE(wait_until_durable());
  disk_->turn_read_only();
  std::uint64_t arrived = sent_;
  {
    const std::jthread reader([&] {
      std::vector<std::byte> buffer(1 << 18);
      for (;;) {
        const Received part = receive_some(pair_.upstream.get(), buffer, kLate);
        const auto bytes = std::span(buffer).first(part.bytes);
        EXPECT_EQ(Pattern(1).first_mismatch(arrived, bytes), std::nullopt);
        arrived += part.bytes;
        if (part.ending != Ending::open) return;
      }
    });
    while (sent_ < 64 * kMiB && writable_within(pair_.client.get(), seconds(1))) {
      ASSERT_TRUE(send_pattern(pair_.client.get(), Pattern(1), sent_, 4096));
      sent_ += 4096;
    }
    EXPECT_LT(sent_, 64 * kMiB) << "it was forwarded all the same";
    EXPECT_TRUE(daemon_->wait_for_log(Regex("capture_disk_failed.*Read-only")));
    EXPECT_TRUE(daemon_->wait_until_quiet()) << "it spins while it waits";
    EXPECT_TRUE(daemon_->process().running());
    EXPECT_EQ(daemon_->terminate(), 1);
  }
  EXPECT_GT(counted("disk_failures"), 0U);
  EXPECT_EQ(counted("dropped_full") + counted("dropped_disk_full") + counted("dropped_disk_failed"),
            0U);
  const Recorded recorded = check();
  EXPECT_EQ(recorded.damaged + recorded.gaps, 0U) << recorded.findings;
  const RecordedSide& side = recorded.only().client();
  EXPECT_FALSE(side.mismatch.has_value());
  EXPECT_GE(side.recorded, kMiB) << "it was durable";
  if (durability == "before-forward") {
    EXPECT_EQ(arrived, kMiB) << "what could not be recorded was forwarded";
  }
}

TEST_P(CaptureDiskTest, BlockedWhenTheDiskIsGone) { block_on_a_disk_that_is_gone("batch"); }

TEST_P(CaptureDiskTest, BlockedBeforeForwardWhenTheDiskIsGone) {
  block_on_a_disk_that_is_gone("before-forward");
}

TEST_P(CaptureDiskTest, ClosedWhenTheDiskIsGone) {
  start({"--durability", "batch", "--capture-full", "close"});
  EXPECT_EQ(send_on(kMiB), "");
  ASSERT_TRUE(wait_until([this] { return read_capture(directory_).bytes() == sent_; }));
  disk_->turn_read_only();
  EXPECT_EQ(send_until_ended(64 * kMiB), "reset");
  const auto ends = daemon_->wait_for_ends(1);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].reason, "capture_failed");
  EXPECT_EQ(daemon_->terminate(), 1);
  const Recorded recorded = check();
  EXPECT_EQ(recorded.damaged, 0U) << recorded.findings;
  EXPECT_FALSE(recorded.only().client().mismatch.has_value());
}

// --- A slow disk

class CaptureSlowDiskTest : public CaptureDiskTest {
 protected:
  static constexpr std::uint64_t kRate = 2 * kMiB;  ///< the disk's bytes a second
  // What a daemon may use beyond its buffers: a connection, its pipes and their table.
  static constexpr std::uint64_t kBesides = 8 * kMiB;
  using Seconds = std::chrono::duration<double>;

  void start_slow(const std::vector<std::string>& more, std::uint64_t rate = kRate) {
    start(more);
    at_start_bytes_ = peak_bytes();
    why_not_ = disk_->throttle(daemon_->process().pid(), rate);
  }
  void hold_memory() const {
    if (!sanitized()) {
      EXPECT_LT(peak_bytes() - at_start_bytes_, kBuffers + kBesides);
    }
  }
  /// The time that a daemon takes when it records nothing.
  [[nodiscard]] Seconds time_without_capture(std::uint64_t size);
  void drop_does_not_slow_forwarding(const std::string& durability);

  std::string why_not_;
  std::uint64_t at_start_bytes_ = 0;
};

CaptureSlowDiskTest::Seconds CaptureSlowDiskTest::time_without_capture(std::uint64_t size) {
  const Daemon plain(
      route_arguments({GetParam(), "auto"}, loopback_address(upstream_.port), {"--workers", "1"}));
  pair_ = forward(plain.port(), upstream_.fd.get());
  const auto began = steady_clock::now();
  EXPECT_EQ(transfer_from(0, size), "");
  const Seconds took = steady_clock::now() - began;
  pair_ = {};
  return took;
}

void CaptureSlowDiskTest::drop_does_not_slow_forwarding(const std::string& durability) {
  const auto size = by_scale<std::uint64_t>(64, 512, 2048) * kMiB;
  const Seconds plain = time_without_capture(size);
  start_slow({"--durability", durability, "--capture-full", "drop"});
  if (!why_not_.empty()) GTEST_SKIP() << why_not_;
  const auto began = steady_clock::now();
  EXPECT_EQ(send_on(size), "");
  const Seconds took = steady_clock::now() - began;
  // The disk would need minutes. The margin is for a busy machine.
  EXPECT_LT(took.count(), 3 * plain.count() + 20) << "seconds; without capture: " << plain.count();
  hold_memory();
  finish();
  disk_->end_throttle();
  ASSERT_EQ(daemon_->terminate(), 0);
  const Recorded recorded = check();
  EXPECT_EQ(recorded.status(), 4) << recorded.error << recorded.findings;
  const RecordedSide& side = recorded.only().client();
  EXPECT_FALSE(side.mismatch.has_value());
  EXPECT_EQ(side.recorded + side.missing(), sent_);
  EXPECT_GT(missing_for(side, GapReason::buffers_full), 0U);
  EXPECT_EQ(side.reached, sent_);
  EXPECT_EQ(counted("dropped_full"), missing_for(side, GapReason::buffers_full));
}

TEST_P(CaptureSlowDiskTest, DropDoesNotSlowForwarding) { drop_does_not_slow_forwarding("none"); }

TEST_P(CaptureSlowDiskTest, DropAtIntervalDoesNotSlowForwarding) {
  drop_does_not_slow_forwarding("interval");
}

TEST_P(CaptureSlowDiskTest, BlockLosesNothing) {
  // Several times the memory that it may use, at a rate that takes seconds.
  start_slow({"--durability", "batch"}, 5 * kMiB);
  if (!why_not_.empty()) GTEST_SKIP() << why_not_;
  EXPECT_EQ(send_on(40 * kMiB), "");
  hold_memory();
  finish_whole();
}

// --- A disk that is stuck

TEST_P(CaptureDiskTest, WhatWaitsForTheDiskIsNotIdle) {
  start({"--durability", "before-forward", "--idle-timeout", "2s"});
  disk_->freeze();
  ASSERT_TRUE(send_all(pair_.client.get(), "x"));
  // More than twice the limit.
  EXPECT_FALSE(readable_within(pair_.upstream.get(), seconds(5))) << "it was not durable";
  EXPECT_TRUE(daemon_->wait_for_log(Regex("capture_behind directory=.* when_full=block")));
  EXPECT_FALSE(readable_within(pair_.client.get(), seconds(0)));
  disk_->thaw();
  EXPECT_EQ(receive_text(pair_.upstream.get(), 1), "x");
  // Now it is idle.
  EXPECT_EQ(ending_of(pair_.client.get()), Ending::reset);
  const auto ends = daemon_->wait_for_ends(1);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].reason, "idle_timeout");
}

TEST_P(CaptureSlowDiskTest, ASinkResetsWhatFoundNoRoom) {
  std::vector<std::string> arguments =
      route_arguments({GetParam(), "auto"}, "discard:",
                      {"--capture", directory_, "--segment-size", "8MiB", "--capture-buffers",
                       "4MiB", "--workers", "1", "--durability", "none"});
  daemon_ = std::make_unique<Daemon>(arguments);
  why_not_ = disk_->throttle(daemon_->process().pid(), kRate);
  if (!why_not_.empty()) GTEST_SKIP() << why_not_;
  const OwnedFd client = connect_tcp(daemon_->port());
  static_cast<void>(send_pattern(client.get(), Pattern(1), 0, 64 * kMiB));
  finish_sending(client.get());
  EXPECT_EQ(ending_of(client.get()), Ending::reset);
  const auto ends = daemon_->wait_for_ends(1);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].reason, "capture_failed");
}

/// The daemon stops waiting after a bounded time. Its exit status says that bytes are missing.
TEST_P(CaptureSlowDiskTest, AStuckDiskDoesNotHoldUpTheEnd) {
  start({"--durability", "none", "--capture-full", "drop", "--drain-timeout", "1s"});
  // At this rate a block takes a quarter of an hour.
  if (const std::string why_not = disk_->throttle(daemon_->process().pid(), 1 << 10);
      !why_not.empty()) {
    GTEST_SKIP() << why_not;
  }
  EXPECT_EQ(send_on(16 * kMiB), "");
  const auto began = steady_clock::now();
  daemon_->process().signal(SIGTERM);
  EXPECT_TRUE(daemon_->wait_for_log(Regex("capture_incomplete")));
  EXPECT_LT(steady_clock::now() - began, seconds(30));
  // The kernel does not end a thread during a write, so the process stays until the disk answers.
  if (GetParam() == "epoll") disk_->end_throttle();
  EXPECT_EQ(daemon_->process().wait(seconds(10)), 1);
  disk_->end_throttle();
}

const auto kEngines = testing::Values("uring", "epoll");
INSTANTIATE_TEST_SUITE_P(EveryEngine, CaptureDiskTest, kEngines);
INSTANTIATE_TEST_SUITE_P(EveryEngine, CaptureSlowDiskTest, kEngines);

}  // namespace
}  // namespace sluice::test
