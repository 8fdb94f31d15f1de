// The options of capture and their visible effects: refusals, the lock, --check, counters, limits
// and directions, the page cache.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "iolib/base/endpoint.h"
#include "tests/support/log_line.h"
#include "tests/support/regex.h"
#include "tests/support/settings.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/outcome.h"
#include "tests/system/recorded.h"

namespace sluice::test {
namespace {

using capture::GapReason;
using capture::Side;

constexpr std::uint64_t kMiB = 1 << 20;

class CaptureOptionsTest : public testing::Test {
 protected:
  [[nodiscard]] std::vector<std::string> arguments(
      const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all{"--listen",  "127.0.0.1:0",
                                 "--to",      loopback_address(upstream_.port),
                                 "--capture", directory_};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  [[nodiscard]] static DaemonOptions two_routes() {
    DaemonOptions options;
    options.listeners = 2;
    return options;
  }
  /// `size` bytes each way; both ends and the daemon end in order.
  void exchange(Daemon& daemon, std::uint64_t size) const;
  [[nodiscard]] Recorded check() const { return check_in(directory_); }
  [[nodiscard]] static Recorded check_in(const std::string& directory) {
    return check_capture(directory, [](const RecordedConnection& /*connection*/, Side side) {
      return Pattern(side == Side::client ? 1 : 2);
    });
  }

  TempDir folder_;
  std::string directory_ = folder_.file("capture");
  Listener upstream_ = listen_tcp();
};

void CaptureOptionsTest::exchange(Daemon& daemon, std::uint64_t size) const {
  const Forwarded pair = forward(daemon.port(), upstream_.fd.get());
  EXPECT_EQ(transfer(pair.client.get(), pair.upstream.get(), Pattern(1), size), "");
  EXPECT_EQ(transfer(pair.upstream.get(), pair.client.get(), Pattern(2), size), "");
  finish_sending(pair.client.get());
  finish_sending(pair.upstream.get());
  EXPECT_EQ(daemon.wait_for_ends(1).size(), 1U);
}

// --- Refusals

TEST_F(CaptureOptionsTest, ASecondDaemonIsRefused) {
  Daemon first(arguments());
  EXPECT_EQ(refusal(arguments(), 1, {directory_, "another process"}), "");
  exchange(first, kMiB);
  EXPECT_EQ(first.terminate(), 0);
  EXPECT_EQ(check().status(), 0);
  // The lock is free again.
  Daemon next(arguments());
  EXPECT_EQ(next.terminate(), 0);
}

TEST_F(CaptureOptionsTest, ADirectoryThatCannotBeWrittenIsRefused) {
  folder_.write("file", "");
  directory_ = folder_.file("file");
  EXPECT_EQ(refusal(arguments(), 1, {directory_}), "");
  directory_ = folder_.file("missing/parent");
  EXPECT_EQ(refusal(arguments(), 1, {directory_, "No such file"}), "");
  if (::geteuid() != 0) GTEST_SKIP() << "another user's directory takes root";
  directory_ = folder_.file("closed");
  ASSERT_EQ(::mkdir(directory_.c_str(), 0700), 0);
  ProcessOptions nobody;
  nobody.user = "nobody";
  const std::string binary = copy_of_daemon(folder_);
  std::vector<std::string> command = arguments();
  command.insert(command.begin(), binary);
  Process refused(command, nobody);
  EXPECT_EQ(refused.wait(), 1);
  EXPECT_NE(refused.standard_error().find("Permission denied"), std::string::npos)
      << refused.standard_error();
  EXPECT_EQ(lines_of(refused.standard_error()).size(), 1U);
  // An existing directory that the user can access, with a lock that he cannot open.
  folder_.write("closed/lock", "");
  ASSERT_EQ(::chmod(folder_.file("closed/lock").c_str(), 0600), 0);
  ASSERT_EQ(::chmod(directory_.c_str(), 0777), 0);
  command.emplace_back("--check");
  Process checked(command, nobody);
  EXPECT_EQ(checked.wait(), 1) << "the start would fail";
  EXPECT_NE(checked.standard_error().find("closed/lock: Permission denied"), std::string::npos)
      << checked.standard_error();
}

TEST_F(CaptureOptionsTest, ASymbolicLinkIsRefused) {
  ASSERT_EQ(::mkdir(folder_.file("real").c_str(), 0700), 0);
  ASSERT_EQ(::symlink("real", directory_.c_str()), 0);
  EXPECT_EQ(refusal(arguments(), 1, {directory_}), "");
}

TEST_F(CaptureOptionsTest, WhatDoesNotGoTogetherIsRefused) {
  EXPECT_EQ(refusal(arguments({"--durability", "before-forward", "--capture-full", "drop"}), 2,
                    {"capture-full", "before-forward"}),
            "");
  EXPECT_EQ(refusal({"--listen", "127.0.0.1:0", "--to", "echo:", "--retain-size", "1GiB"}, 2,
                    {"retain-size", "--capture"}),
            "");
  EXPECT_EQ(refusal({"--listen", "127.0.0.1:0", "--to", "file:/dev/null", "--capture", directory_,
                     "--capture-direction", "client"},
                    2, {"capture-direction", "file:"}),
            "");
  EXPECT_EQ(refusal({"--listen", "unix:" + folder_.file("socket"), "--to", "discard:", "--capture",
                     directory_},
                    2, {"--listen", "unix"}),
            "");
  EXPECT_FALSE(std::filesystem::exists(directory_));
}

/// Without handling, RLIMIT_FSIZE ends the process by a signal.
TEST_F(CaptureOptionsTest, ALimitOfTheSizeOfFilesIsTold) {
  DaemonOptions options;
  options.binary = "/bin/bash";
  std::vector<std::string> command{"-c", "ulimit -f 2048; exec \"$0\" \"$@\"",  // blocks of 1 KiB
                                   daemon_binary()};
  for (std::string& each : arguments({"--capture-full", "drop"})) command.push_back(each);
  Daemon daemon(command, options);
  ASSERT_TRUE(daemon.wait_for_log(Regex("capture_no_segment"))) << daemon.log();
  EXPECT_TRUE(daemon.wait_for_log(Regex("File too large"))) << daemon.log();
  EXPECT_EQ(daemon.terminate(), 0);
}

/// Without any locked memory io_uring may be unavailable; with little, its buffers cannot be
/// registered.
TEST_F(CaptureOptionsTest, WithoutMemoryToLockAllIsRecorded) {
  if (::geteuid() != 0) GTEST_SKIP() << "to be a user who is limited takes root";
  DaemonOptions options;
  options.binary = "/bin/bash";
  options.process.user = "nobody";  // root is not limited
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0777), 0);
  const std::string binary = copy_of_daemon(folder_);
  const std::string engine = io_uring_available() ? "uring" : "auto";
  for (const auto& [kibibytes, which] :
       {std::pair<std::string, std::string>{"0", "auto"}, {"2048", engine}}) {
    SCOPED_TRACE(kibibytes);
    directory_ = folder_.file(kibibytes);
    std::vector<std::string> command{"-c", "ulimit -l " + kibibytes + "; exec \"$0\" \"$@\"",
                                     binary};
    for (std::string& each : arguments({"--engine", which, "--workers", "1"})) {
      command.push_back(each);
    }
    Daemon daemon(command, options);
    exchange(daemon, kMiB);
    EXPECT_EQ(daemon.terminate(), 0) << daemon.log();
    const Recorded recorded = check();
    EXPECT_EQ(recorded.status(), 0) << recorded.findings;
    EXPECT_EQ(recorded.bytes(), 2 * kMiB);
    for (const RecordedSide& side : recorded.only().sides) EXPECT_FALSE(side.mismatch.has_value());
  }
}

/// As in a container that has reached its limit of processes: io_uring creates its threads on
/// demand.
TEST_F(CaptureOptionsTest, WithoutAThreadForIoUringAllIsRecordedAndTheDiskIsNotBlamed) {
  if (::geteuid() != 0) GTEST_SKIP() << "to be a user who is limited takes root";
  if (!io_uring_available()) GTEST_SKIP() << "the kernel refuses io_uring here";
  SLUICE_NEEDS_PROGRAM("prlimit");
  DaemonOptions options;
  options.binary = copy_of_daemon(folder_);
  options.process.user = "nobody";                       // root is not limited
  options.process.environment = {without_leak_check()};  // it takes a thread at the end
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0777), 0);
  Daemon daemon(arguments({"--engine", "uring", "--durability", "batch"}), options);
  const std::string pid = std::to_string(daemon.process().pid());
  ASSERT_EQ(Process({"prlimit", "--nproc=1:1", "--pid", pid}, options.process).wait(), 0);
  exchange(daemon, 2 * kMiB);
  EXPECT_EQ(daemon.terminate(), 0) << daemon.log();
  EXPECT_EQ(count_lines(daemon.log(), Regex("capture_detour reason=")), 1U) << daemon.log();
  const std::string stats = line_of(daemon.log(), "capture_detours=");
  EXPECT_NE(parse_text_line(stats)["capture_detours"], "0") << stats;
  EXPECT_TRUE(segments_in(directory_, ".suspect").empty()) << daemon.log();
  const Recorded recorded = check();
  EXPECT_EQ(recorded.status(), 0) << recorded.findings;
  EXPECT_EQ(recorded.bytes(), 4 * kMiB);
}

TEST_F(CaptureOptionsTest, AFileThatIsCutCountsWhatWasRead) {
  constexpr std::uint64_t kSize = 64 << 20;
  const std::string file = folder_.file("file");
  write_pattern_file(file, Pattern(2), kSize);
  Daemon daemon({"--listen", "127.0.0.1:0", "--to", "file:" + file, "--capture", directory_});
  OwnedFd client = connect_tcp(daemon.port());
  std::vector<std::byte> some(kMiB);
  ASSERT_GT(receive_some(client.get(), some).bytes, 0U);
  reset_on_close(client.get());
  client.reset();
  EXPECT_EQ(daemon.wait_for_ends(1).size(), 1U);
  EXPECT_EQ(daemon.terminate(), 0);
  const Recorded recorded = check();
  const RecordedConnection& connection = recorded.only();
  ASSERT_TRUE(connection.close.has_value());
  EXPECT_EQ(connection.close->sides[1].received, connection.upstream().recorded);
  EXPECT_LE(connection.close->sides[1].forwarded, connection.close->sides[1].received);
}

TEST_F(CaptureOptionsTest, AFileIsRecordedAsItIsSent) {
  constexpr std::uint64_t kSize = (3 << 20) + 1;
  const std::string file = folder_.file("file");
  write_pattern_file(file, Pattern(2), kSize);
  for (const char* level : {"none", "batch", "before-forward"}) {
    const std::string directory = folder_.file(level);
    Daemon daemon({"--listen", "127.0.0.1:0", "--to", "file:" + file, "--capture", directory,
                   "--durability", level});
    OwnedFd client = connect_tcp(daemon.port());
    PatternChecker received{Pattern(2)};
    EXPECT_EQ(read_pattern(client.get(), received), Ending::eof);
    EXPECT_EQ(received.received_bytes(), kSize);
    EXPECT_FALSE(received.mismatch().has_value());
    client.reset();
    EXPECT_EQ(daemon.wait_for_ends(1).size(), 1U);
    EXPECT_EQ(daemon.terminate(), 0);
    const Recorded recorded = check_in(directory);
    EXPECT_EQ(recorded.status(), 0) << recorded.findings;
    EXPECT_EQ(recorded.only().upstream().recorded, kSize);
    EXPECT_EQ(recorded.only().upstream().end, capture::SideEnd::eof);
    EXPECT_EQ(recorded.only().client().recorded, 0U);
  }
}

TEST_F(CaptureOptionsTest, AFileWhoseSizeSaysNothingIsRecordedToItsEnd) {
  for (const char* file : {"/proc/version", "/sys/devices/system/cpu/online"}) {
    const std::string content = read_text(file);
    const std::string directory = folder_.file(std::to_string(content.size()));
    Daemon daemon(
        {"--listen", "127.0.0.1:0", "--to", "file:" + std::string(file), "--capture", directory});
    EXPECT_EQ(receive_text(connect_tcp(daemon.port()).get(), content.size() + 1), content);
    EXPECT_EQ(daemon.wait_for_ends(1).size(), 1U);
    EXPECT_EQ(daemon.terminate(), 0);
    const Recorded recorded = check_in(directory);
    EXPECT_EQ(recorded.status(), 0) << recorded.findings;
    EXPECT_EQ(recorded.only().upstream().recorded, content.size());
    EXPECT_EQ(recorded.only().upstream().end, capture::SideEnd::eof);
  }
}

TEST_F(CaptureOptionsTest, RoutesThatShareADirectoryMustAgree) {
  const std::string to = loopback_address(upstream_.port);
  const auto config = [&](const std::string& second) {
    return folder_.write("config.toml",
                         "[[route]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\nto = \"" + to +
                             "\"\ncapture = \"" + directory_ +
                             "\"\n[[route]]\nname = \"b\"\nlisten = "
                             "\"127.0.0.1:0\"\nto = \"" +
                             to + "\"\n" + second);
  };
  const std::string same = "capture = \"" + directory_ + "\"\n";
  EXPECT_EQ(refusal({"--config", config(same + "durability = \"none\"\n")}, 1,
                    {"capture", "is also the directory of route", "\"a\""}),
            "");
  // The limit may differ between routes, and so may the spelling of the directory.
  const std::string alike = "capture = \"" + directory_ + "/../capture//\"\n";
  Daemon daemon({"--config", config(alike + "capture-limit = \"1KiB\"\n")}, two_routes());
  for (const char* route : {"a", "b"}) {
    const Forwarded pair = forward(daemon.port_of(route), upstream_.fd.get());
    EXPECT_EQ(transfer(pair.client.get(), pair.upstream.get(), Pattern(1), 5000), "");
  }
  EXPECT_EQ(daemon.wait_for_ends(2).size(), 2U);
  EXPECT_EQ(daemon.terminate(), 0);
  const Recorded recorded = check();
  ASSERT_EQ(recorded.connections.size(), 2U);
  for (const auto& [id, connection] : recorded.connections) {
    EXPECT_EQ(connection.client().recorded, connection.open.route == "a" ? 5000U : 1024U);
  }
}

TEST_F(CaptureOptionsTest, TwoRoutesRecordToTwoDirectories) {
  const std::string to = loopback_address(upstream_.port);
  std::string config;
  for (const std::string route : {"a", "b"}) {
    config += "[[route]]\nname = \"" + route + "\"\nlisten = \"127.0.0.1:0\"\nto = \"" + to +
              "\"\ncapture = \"" + folder_.file(route) + "\"\ndurability = \"" +
              (route == "a" ? "batch" : "before-forward") + "\"\n";
  }
  Daemon daemon({"--config", folder_.write("config.toml", config)}, two_routes());
  for (const char* route : {"a", "b"}) {
    const Forwarded pair = forward(daemon.port_of(route), upstream_.fd.get());
    EXPECT_EQ(transfer(pair.client.get(), pair.upstream.get(), Pattern(1), kMiB), "");
  }
  EXPECT_EQ(daemon.wait_for_ends(2).size(), 2U);
  EXPECT_EQ(daemon.terminate(), 0);
  for (const char* route : {"a", "b"}) {
    const Recorded recorded = check_in(folder_.file(route));
    EXPECT_EQ(recorded.status(), 0) << recorded.findings;
    EXPECT_EQ(recorded.only().open.route, route);
    EXPECT_EQ(recorded.only().client().recorded, kMiB);
    EXPECT_FALSE(recorded.only().client().mismatch.has_value());
  }
}

TEST_F(CaptureOptionsTest, CheckTellsOfTheDisk) {
  const Outcome there = run_to_end(arguments({"--check"}));
  EXPECT_EQ(there.status, 0) << there.error;
  const Regex line(
      R"(capture: .*: (O_DIRECT|no O_DIRECT.*), alignment \d+, a durable write of 4 KiB takes \d+ us)");
  EXPECT_TRUE(line.is_in(there.output)) << there.output;
  const Outcome buffered = run_to_end(arguments({"--check", "--capture-io", "buffered"}));
  EXPECT_NE(buffered.output.find("buffered writes, as configured"), std::string::npos)
      << buffered.output;
  EXPECT_FALSE(std::filesystem::exists(directory_)) << "a check leaves nothing behind";
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
  {
    const Daemon daemon(arguments());
    const Outcome in_use = run_to_end(arguments({"--check"}));
    EXPECT_EQ(in_use.status, 0) << in_use.error;
    EXPECT_TRUE(Regex("capture: .* in use at the moment").is_in(in_use.output)) << in_use.output;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      EXPECT_FALSE(entry.is_directory()) << entry.path() << ": a check leaves nothing behind";
    }
  }
  directory_ = folder_.file("missing/parent");
  EXPECT_EQ(run_to_end(arguments({"--check"})).status, 1);
}

// --- What is recorded

TEST_F(CaptureOptionsTest, FilesAreForTheirOwnerOnly) {
  Daemon daemon(arguments());
  exchange(daemon, kMiB);
  EXPECT_EQ(daemon.terminate(), 0);
  const auto mode = [](const std::string& path) {
    struct stat about {};
    EXPECT_EQ(::stat(path.c_str(), &about), 0);
    return about.st_mode & 07777U;
  };
  EXPECT_EQ(mode(directory_), 0700U);
  const auto sealed = segments_in(directory_, ".sluice");
  EXPECT_EQ(sealed.size(), 1U) << "only one worker had a connection";
  for (const std::string& path : sealed) EXPECT_EQ(mode(path), 0600U) << path;
  EXPECT_EQ(segments_in(directory_, ".open").size(), 0U);
}

TEST_F(CaptureOptionsTest, TheLimitIsExact) {
  Daemon daemon(arguments({"--capture-limit", "1000kB"}));
  exchange(daemon, 8 * kMiB);
  EXPECT_EQ(daemon.terminate(), 0);
  const Recorded recorded = check();
  EXPECT_EQ(recorded.status(), 4) << recorded.findings;
  for (const RecordedSide& side : recorded.only().sides) {
    EXPECT_EQ(side.recorded, 1'000'000U);
    ASSERT_EQ(side.gaps.size(), 1U);
    EXPECT_EQ(side.gaps[0], (RecordedSide::Gap{1'000'000, 8 * kMiB - 1'000'000,
                                               static_cast<std::uint32_t>(GapReason::limit)}));
    EXPECT_FALSE(side.mismatch.has_value());
  }
}

TEST_F(CaptureOptionsTest, WhatJustFitsTheLimitLacksNothing) {
  for (const char* zero_copy : {"always", "never"}) {
    directory_ = folder_.file(zero_copy);
    Daemon daemon(arguments({"--capture-limit", "1MiB", "--zero-copy", zero_copy}));
    exchange(daemon, kMiB);
    EXPECT_EQ(daemon.terminate(), 0);
    const Recorded recorded = check();
    EXPECT_EQ(recorded.status(), 0) << recorded.findings;
    EXPECT_EQ(recorded.bytes(), 2 * kMiB);
    EXPECT_EQ(recorded.gaps, 0U);
  }
}

TEST_F(CaptureOptionsTest, OneDirectionOnly) {
  for (const std::string side : {"client", "upstream"}) {
    Daemon daemon(arguments({"--capture-direction", side}));
    exchange(daemon, kMiB);
    EXPECT_EQ(daemon.terminate(), 0);
    const Recorded recorded = check();
    EXPECT_EQ(recorded.status(), 0) << recorded.findings;
    EXPECT_EQ(recorded.only().client().recorded, side == "client" ? kMiB : 0U);
    EXPECT_EQ(recorded.only().upstream().recorded, side == "upstream" ? kMiB : 0U);
    EXPECT_EQ(recorded.only().open.sides, side == "client" ? 1 : 2);
    std::filesystem::remove_all(directory_);
  }
}

/// A sink that does not record the client has nothing to confirm with its FIN.
TEST_F(CaptureOptionsTest, ASinkMustRecordTheClient) {
  for (const std::string to : {"discard:", "echo:"}) {
    EXPECT_EQ(refusal({"--listen", "127.0.0.1:0", "--to", to, "--capture", directory_,
                       "--capture-direction", "upstream"},
                      2, {"capture-direction", to}),
              "");
  }
}

TEST_F(CaptureOptionsTest, ExactCopies) {
  Daemon daemon(arguments({"--capture-exact", "--zero-copy", "always"}));
  exchange(daemon, 8 * kMiB);
  const auto ends = daemon.wait_for_ends(1);
  EXPECT_EQ(ends.at(0).spliced_to_upstream + ends.at(0).spliced_to_client, 0U);
  EXPECT_EQ(daemon.terminate(), 0);
  const Recorded recorded = check();
  EXPECT_EQ(recorded.status(), 0) << recorded.findings;
  EXPECT_EQ(recorded.bytes(), 16 * kMiB);
}

TEST_F(CaptureOptionsTest, SegmentsEndByTime) {
  Daemon daemon(arguments({"--segment-time", "1s"}));
  const Forwarded pair = forward(daemon.port(), upstream_.fd.get());
  ASSERT_TRUE(wait_until([&] {
    EXPECT_EQ(transfer(pair.client.get(), pair.upstream.get(), Pattern(3), 1), "");
    return segments_in(directory_, ".sluice").size() >= 2 || HasFailure();
  }));
}

// No more bytes are written, so no segment is sealed any more.
TEST_F(CaptureOptionsTest, SegmentsGoByAgeOnAnIdleDaemonToo) {
  {
    Daemon before(arguments());
    exchange(before, 1);
    EXPECT_EQ(before.terminate(), 0);
  }
  ASSERT_EQ(segments_in(directory_, ".sluice").size(), 1U);
  const Daemon daemon(arguments({"--retain-age", "2s"}));
  EXPECT_TRUE(wait_until([&] { return segments_in(directory_, ".sluice").empty(); }));
  EXPECT_TRUE(daemon.wait_for_log(Regex("capture_deleted .*0000000000.*reason=retain-age")));
}

TEST_F(CaptureOptionsTest, ADirectoryThatIsRemovedIsMadeAgainAndRecordedTo) {
  Daemon daemon(arguments({"--workers", "1"}));
  Forwarded pair = forward(daemon.port(), upstream_.fd.get());
  EXPECT_EQ(transfer(pair.client.get(), pair.upstream.get(), Pattern(1), kMiB), "");
  std::filesystem::remove_all(directory_);
  ASSERT_TRUE(wait_until([&] { return !segments_in(directory_, ".open").empty(); }));
  EXPECT_EQ(transfer(pair.upstream.get(), pair.client.get(), Pattern(2), kMiB), "");
  pair.client.reset();
  pair.upstream.reset();
  static_cast<void>(daemon.wait_for_ends(1));
  EXPECT_EQ(daemon.terminate(), 0);
  // The earlier bytes that had not reached the disk are also there.
  EXPECT_GE(check().bytes(), kMiB);
}

TEST_F(CaptureOptionsTest, SegmentsEndByTimeWhileConnectionsRest) {
  Daemon daemon(arguments({"--segment-time", "1s"}));
  Forwarded pair = forward(daemon.port(), upstream_.fd.get());
  EXPECT_EQ(transfer(pair.client.get(), pair.upstream.get(), Pattern(1), kMiB), "");
  ASSERT_TRUE(wait_until([&] { return segments_in(directory_, ".sluice").size() == 1; }));
  EXPECT_EQ(transfer(pair.upstream.get(), pair.client.get(), Pattern(2), kMiB), "");
  pair.client.reset();
  pair.upstream.reset();
  static_cast<void>(daemon.wait_for_ends(1));
  EXPECT_EQ(daemon.terminate(), 0);
  const Recorded recorded = check();
  EXPECT_EQ(recorded.status(), 0) << recorded.findings;
  EXPECT_EQ(recorded.bytes(), 2 * kMiB);
}

// --- What can be seen

TEST_F(CaptureOptionsTest, TheCountersTellWhatWasRecorded) {
  Daemon daemon(arguments({"--capture-limit", "512KiB"}));
  exchange(daemon, kMiB);
  LogFields fields;
  const auto all_written = [&] {
    fields = counters_of(daemon);
    return fields["capture_lag"] == "0";
  };
  ASSERT_TRUE(wait_until(all_written)) << daemon.log();
  const std::string stats = line_of(daemon.log(), "capture_lag=");
  EXPECT_EQ(fields["capture_bytes"], std::to_string(kMiB)) << stats;
  EXPECT_EQ(fields["capture_dropped_limit"], std::to_string(kMiB)) << stats;
  EXPECT_EQ(fields["capture_dropped_full"], "0") << stats;
  EXPECT_EQ(fields["capture_segments"], "1") << stats;
  EXPECT_NE(fields["capture_syncs"], "0") << stats;
  EXPECT_NE(fields["capture_sync_us"], "0") << stats;
  EXPECT_EQ(daemon.terminate(), 0);
}

/// The bytes of the file that are in the page cache.
std::uint64_t cached_bytes(const std::string& path) {
  const OwnedFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const std::uint64_t size = std::filesystem::file_size(path);
  if (size == 0) return 0;
  void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
  if (mapped == MAP_FAILED) throw std::runtime_error("cannot map " + path);
  std::vector<unsigned char> pages((size + 4095) / 4096);
  EXPECT_EQ(::mincore(mapped, size, pages.data()), 0);
  ::munmap(mapped, size);
  const auto resident = std::ranges::count_if(pages, [](unsigned char page) { return page & 1; });
  return static_cast<std::uint64_t>(resident) * 4096;
}

TEST_F(CaptureOptionsTest, ThePageCacheStaysAsItIs) {
  if (run_to_end(arguments({"--check"})).output.find(": O_DIRECT") == std::string::npos) {
    GTEST_SKIP() << "no O_DIRECT in " << folder_.path();
  }
  Daemon daemon(arguments({"--segment-size", "16MiB"}));
  const auto size = by_scale<std::uint64_t>(8, 64, 512) * kMiB;
  exchange(daemon, size);
  EXPECT_EQ(daemon.terminate(), 0);
  std::uint64_t cached = 0;
  for (const std::string& path : segments_in(directory_, ".sluice")) cached += cached_bytes(path);
  EXPECT_LT(cached, 2 * size / 100);
  EXPECT_EQ(check().bytes(), 2 * size);
}

}  // namespace
}  // namespace sluice::test
