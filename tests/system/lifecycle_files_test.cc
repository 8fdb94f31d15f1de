// Routes that send a file.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "proxy/serve/file_thread.h"
#include "tests/support/regex.h"
#include "tests/support/settings.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/outcome.h"

namespace sluice::test {
namespace {

/// While it exists, opening or reading a file (FAN_OPEN_PERM, FAN_ACCESS_PERM) never returns, as on
/// a mount whose server is gone. It waits for a permission that never comes.
class Hang {
 public:
  Hang(const std::string& path, std::uint64_t what)
      : fd_(::fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC, O_RDONLY)) {
    if (!fd_ || ::fanotify_mark(fd_.get(), FAN_MARK_ADD, what, AT_FDCWD, path.c_str()) != 0) {
      refusal_ = std::strerror(errno);
    }
  }
  /// Empty, or why this process may not block others.
  [[nodiscard]] const std::string& refusal() const { return refusal_; }
  /// True once another process waits.
  [[nodiscard]] bool holds() const { return readable_within(fd_.get(), kLate); }

 private:
  OwnedFd fd_;
  std::string refusal_;
};

constexpr std::uint64_t kFileBytes = 4 << 20;

class FileRouteTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "uring" && !io_uring_available()) {
      GTEST_SKIP() << "the kernel refuses io_uring here";
    }
  }
  [[nodiscard]] static std::vector<std::string> arguments(
      const std::string& to, const std::vector<std::string>& more = {}) {
    return route_arguments({GetParam(), "auto"}, to, more);
  }
  [[nodiscard]] std::string make_file(const std::string& name) const {
    const std::string path = folder_.file(name);
    write_pattern_file(path, Pattern(1), kFileBytes);
    return path;
  }
  /// Writes the file back and drops it from the page cache; false where that is not possible.
  [[nodiscard]] static bool chill(const std::string& path) {
    const OwnedFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    return ::fsync(file.get()) == 0 &&
           ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED) == 0 &&
           !in_page_cache({file.get(), 0, kFileBytes});
  }
  /// A daemon with two routes, which send one file each.
  [[nodiscard]] Daemon start(const std::string& hung, const std::string& lively,
                             const std::string& timeouts) const {
    const std::string config = folder_.write(
        "sluice.toml", "[[route]]\nname = \"hung\"\nlisten = \"127.0.0.1:0\"\nto = \"file:" + hung +
                           "\"\n" + timeouts +
                           "\n[[route]]\nname = \"lively\"\nlisten = \"127.0.0.1:0\"\nto = "
                           "\"file:" +
                           lively + "\"\n");
    DaemonOptions options;
    options.listeners = 2;
    return Daemon({"--config", config, "--engine", GetParam()}, options);
  }
  /// Connects and receives the whole file.
  static void expect_file(std::uint16_t port) {
    const OwnedFd client = connect_tcp(port);
    PatternChecker received{Pattern(1)};
    EXPECT_EQ(read_pattern(client.get(), received, {.timeout = kLate}), Ending::eof);
    EXPECT_EQ(received.received_bytes(), kFileBytes);
    EXPECT_FALSE(received.mismatch().has_value());
  }

  TempDir folder_;
};

TEST_P(FileRouteTest, EveryClientGetsTheWholeFileAndItsEnd) {
  const std::uint64_t size_bytes = by_scale<std::uint64_t>(10, 100, 1'000) << 20;
  const std::string path = folder_.file("file");
  write_pattern_file(path, Pattern(1), size_bytes + 1);
  Daemon daemon(arguments("file:" + path));
  for (std::size_t count = 1; count < 3; ++count) {
    OwnedFd client = connect_tcp(daemon.port());
    // Bytes from the client are discarded.
    EXPECT_TRUE(send_all(client.get(), "GET /"));
    PatternChecker received{Pattern(1)};
    EXPECT_EQ(read_pattern(client.get(), received, {.timeout = kLate}), Ending::eof);
    EXPECT_EQ(received.received_bytes(), size_bytes + 1);
    EXPECT_FALSE(received.mismatch().has_value());
    client.reset();
    const auto ends = daemon.wait_for_ends(count, kLate);
    ASSERT_EQ(ends.size(), count);
    EXPECT_EQ(ends.back().upstream, "file:" + path);
    EXPECT_EQ(ends.back().to_client, size_bytes + 1);
    EXPECT_EQ(ends.back().spliced_to_client, size_bytes + 1);
    EXPECT_EQ(ends.back().reason, "closed");
  }
  EXPECT_EQ(daemon.terminate(kLate), 0);
}

TEST_P(FileRouteTest, EmptyFileIsAnEnd) {
  const Daemon daemon(arguments("file:" + folder_.write("empty", "")));
  const OwnedFd client = connect_tcp(daemon.port());
  EXPECT_EQ(ending_of(client.get()), Ending::eof);
}

// Generated files have a size of 0 (/proc) or of a page (/sys), and sendfile does not work for all.
TEST_P(FileRouteTest, AFileWhoseSizeSaysNothingIsSentToItsEnd) {
  for (const char* path : {"/proc/version", "/proc/sys/kernel/ostype", "/proc/1/limits",
                           "/sys/devices/system/cpu/online"}) {
    const std::string content = read_text(path);
    ASSERT_NE(content, "") << path;
    const Daemon daemon(arguments("file:" + std::string(path)));
    const OwnedFd client = connect_tcp(daemon.port());
    EXPECT_EQ(receive_text(client.get(), content.size() + 1), content);
    finish_sending(client.get());
    const auto ends = daemon.wait_for_ends(1, kLate);
    ASSERT_EQ(ends.size(), 1U);
    EXPECT_EQ(ends[0].reason, "closed") << path;
    EXPECT_EQ(ends[0].to_client, content.size());
  }
}

TEST_P(FileRouteTest, WhatIsAppendedToASparseFileMeanwhileIsSentToo) {
  const std::string path = folder_.write("file", "");
  constexpr std::size_t kSparseBytes = 16 << 20;
  std::filesystem::resize_file(path, kSparseBytes);
  const Daemon daemon(arguments("file:" + path));
  const OwnedFd client = connect_tcp(daemon.port(), {.receive_buffer_bytes = 64 << 10});
  ASSERT_TRUE(readable_within(client.get(), kLate));
  std::ofstream(path, std::ios::app) << "appended";
  const std::string received = receive_text(client.get(), kSparseBytes + 9);
  EXPECT_EQ(received.size(), kSparseBytes + 8);
  EXPECT_EQ(received.find_first_not_of('\0'), kSparseBytes);
  EXPECT_TRUE(received.ends_with("appended"));
}

TEST_P(FileRouteTest, MissingFileIsAReset) {
  const std::string path = folder_.file("missing");
  for (const std::string& what : {path, folder_.path()}) {
    const Daemon daemon(arguments("file:" + what));
    const OwnedFd client = connect_tcp(daemon.port());
    EXPECT_EQ(ending_of(client.get()), Ending::reset);
    const auto ends = daemon.wait_for_ends(1, kLate);
    ASSERT_EQ(ends.size(), 1U);
    EXPECT_EQ(ends[0].reason, "file_failed");
    EXPECT_EQ(ends[0].to_client, 0U);
    EXPECT_EQ(count_lines(daemon.log(), Regex("upstream_failed.*file|upstream_failed.*open")), 1U);
  }
}

// Opening a FIFO normally waits until its other end is opened.
TEST_P(FileRouteTest, AFifoIsAResetAndWaitsForNobody) {
  const std::string path = folder_.file("fifo");
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const Daemon daemon(arguments("file:" + path, {"--connect-timeout", "10m"}));
  const OwnedFd client = connect_tcp(daemon.port());
  EXPECT_EQ(ending_of(client.get()), Ending::reset);
  const auto ends = daemon.wait_for_ends(1, kLate);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].reason, "file_failed");
  EXPECT_EQ(count_lines(daemon.log(), Regex("upstream_failed.*not a regular file")), 1U);
}

TEST_P(FileRouteTest, AnOpenThatHangsIsGivenUpAndOtherRoutesGoOn) {
  const std::string path = make_file("hung");
  std::optional<Hang> hang(std::in_place, path, FAN_OPEN_PERM);
  if (!hang->refusal().empty()) GTEST_SKIP() << "fanotify: " << hang->refusal();
  Daemon daemon = start(path, make_file("lively"), "connect-timeout = \"2s\"");
  const OwnedFd first = connect_tcp(daemon.port_of("hung"));
  ASSERT_TRUE(hang->holds());
  expect_file(daemon.port_of("lively"));
  const OwnedFd queued = connect_tcp(daemon.port_of("hung"));
  EXPECT_EQ(ending_of(first.get()), Ending::reset);
  EXPECT_EQ(ending_of(queued.get()), Ending::reset);
  for (const ConnectionEnd& end : daemon.wait_for_ends(3, kLate)) {
    EXPECT_EQ(end.reason, end.route == "hung" ? "file_failed" : "closed") << end.line;
  }
  EXPECT_GE(count_lines(daemon.log(), Regex("upstream_failed route=hung.*open")), 1U);
  hang.reset();
  expect_file(daemon.port_of("hung"));
  EXPECT_EQ(daemon.terminate(kLate), 0);
}

TEST_P(FileRouteTest, AReadThatHangsIsGivenUpAndOtherRoutesGoOn) {
  const std::string path = make_file("hung");
  if (!chill(path)) GTEST_SKIP() << "files stay in the page cache here";
  std::optional<Hang> hang(std::in_place, path, FAN_ACCESS_PERM);
  if (!hang->refusal().empty()) GTEST_SKIP() << "fanotify: " << hang->refusal();
  Daemon daemon = start(path, make_file("lively"), "idle-timeout = \"2s\"");
  const OwnedFd client = connect_tcp(daemon.port_of("hung"));
  ASSERT_TRUE(hang->holds());
  expect_file(daemon.port_of("lively"));
  EXPECT_EQ(ending_of(client.get()), Ending::reset);
  for (const ConnectionEnd& end : daemon.wait_for_ends(2, kLate)) {
    EXPECT_EQ(end.reason, end.route == "hung" ? "file_failed" : "closed") << end.line;
  }
  EXPECT_EQ(count_lines(daemon.log(), Regex("upstream_failed route=hung.*read")), 1U);
  hang.reset();
  expect_file(daemon.port_of("hung"));
  EXPECT_EQ(daemon.terminate(kLate), 0);
}

TEST_P(FileRouteTest, AnOpenThatHangsDoesNotKeepTheDaemon) {
  const std::string path = make_file("hung");
  const Hang hang(path, FAN_OPEN_PERM);
  if (!hang.refusal().empty()) GTEST_SKIP() << "fanotify: " << hang.refusal();
  DaemonOptions options;
  // LeakSanitizer stops every thread first, and would wait for the hanging one.
  options.process.environment = {without_leak_check()};
  Daemon daemon(arguments("file:" + path, {"--connect-timeout", "10m", "--drain-timeout", "300ms"}),
                options);
  const OwnedFd client = connect_tcp(daemon.port());
  ASSERT_TRUE(hang.holds());
  EXPECT_EQ(daemon.terminate(kLate), 0);
  EXPECT_EQ(ending_of(client.get()), Ending::reset);
  const auto ends = connection_ends(daemon.log());
  ASSERT_EQ(ends.size(), 1U) << daemon.log();
  EXPECT_EQ(ends[0].reason, "drain_timeout");
  EXPECT_EQ(count_lines(daemon.log(), Regex("ended.*drain timeout")), 1U);
}

TEST_P(FileRouteTest, FileThatShrinksIsAReset) {
  const std::string path = folder_.file("file");
  constexpr std::uint64_t kLongFileBytes = 64 << 20;
  write_pattern_file(path, Pattern(1), kLongFileBytes);
  const Daemon daemon(arguments("file:" + path));
  const OwnedFd client = connect_tcp(daemon.port());
  // The daemon is far from the end of the file when that moves closer.
  ASSERT_TRUE(readable_within(client.get(), kLate));
  ASSERT_TRUE(daemon.wait_until_quiet(kLate));
  std::filesystem::resize_file(path, 1 << 20);
  std::vector<std::byte> into(1 << 18);
  Received received;
  std::uint64_t received_bytes = 0;
  do {
    received = receive_some(client.get(), into, kLate);
    received_bytes += received.bytes;
  } while (received.ending == Ending::open);
  EXPECT_EQ(received.ending, Ending::reset);
  EXPECT_LT(received_bytes, kLongFileBytes);
  const auto ends = daemon.wait_for_ends(1, kLate);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].reason, "file_failed");
  EXPECT_EQ(count_lines(daemon.log(), Regex("upstream_failed.*became shorter")), 1U);
}

INSTANTIATE_TEST_SUITE_P(BothEngines, FileRouteTest, testing::Values("uring", "epoll"),
                         [](const auto& about) { return about.param; });

}  // namespace
}  // namespace sluice::test
