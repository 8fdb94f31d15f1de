// Limits on bandwidth: of connections and of routes, spliced, in both directions.

#include "iolib/balance/bandwidth.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "iolib/base/clock.h"
#include "tests/support/regex.h"
#include "tests/support/settings.h"
#include "tests/system/mirror_server.h"
#include "tests/system/recorded.h"
#include "tests/system/servers.h"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;
using balance::burst_of;
using Seconds = std::chrono::duration<double>;

const Pattern kUp(1);
const Pattern kDown(2);
constexpr std::uint64_t kMiB = 1 << 20;

/// Moves the same pattern over each of some sockets as fast as they take it, on a thread: sends
/// `size` bytes and a FIN, or reads to the end.
class Streams {
 public:
  enum class Role : std::uint8_t { sends, reads };

  Streams(const std::vector<OwnedFd>& sockets, Role role, Pattern pattern, std::uint64_t size)
      : role_(role), pattern_(pattern), size_(size) {
    for (const OwnedFd& fd : sockets) {
      polled_.push_back({fd.get(), role == Role::sends ? short{POLLOUT} : short{POLLIN}, 0});
      streams_.emplace_back(pattern);
    }
    thread_ = std::thread([this] { run(); });
  }
  /// When the streams ended, in order. Empty if one was cut or changed, or stood still for long.
  [[nodiscard]] std::vector<TimePoint> ends() {
    thread_.join();
    std::ranges::sort(ends_);
    return ends_.size() == streams_.size() ? ends_ : std::vector<TimePoint>();
  }

 private:
  struct Stream {
    explicit Stream(Pattern pattern) : seen(pattern) {}
    PatternChecker seen;
    std::uint64_t sent = 0;
  };

  void run() {
    std::size_t left = streams_.size();
    while (left > 0 && ::poll(polled_.data(), polled_.size(), int{kPatience / 1ms}) > 0) {
      for (std::size_t i = 0; i < polled_.size(); ++i) {
        if (polled_[i].revents == 0 || step(polled_[i].fd, streams_[i])) continue;
        polled_[i].fd = -1;
        --left;
      }
    }
  }
  /// False at the end.
  bool step(int fd, Stream& stream) {
    const bool open = role_ == Role::sends ? send_some(fd, stream) : read_some(fd, stream);
    const std::uint64_t moved = role_ == Role::sends ? stream.sent : stream.seen.received_bytes();
    if (!open && moved == size_ && !stream.seen.mismatch()) ends_.push_back(Clock::now());
    return open;
  }
  bool send_some(int fd, Stream& stream) {
    const auto part = std::span(buffer_).first(
        static_cast<std::size_t>(std::min<std::uint64_t>(buffer_.size(), size_ - stream.sent)));
    pattern_.fill(stream.sent, part);
    const ssize_t sent = ::send(fd, part.data(), part.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    stream.sent += static_cast<std::uint64_t>(sent);
    if (stream.sent == size_) finish_sending(fd);
    return stream.sent < size_;
  }
  bool read_some(int fd, Stream& stream) {
    const ssize_t got = ::recv(fd, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    stream.seen.take(std::span(buffer_).first(static_cast<std::size_t>(got)));
    return got > 0;
  }

  Role role_;
  Pattern pattern_;
  std::uint64_t size_;
  std::array<std::byte, 64 << 10> buffer_{};
  std::vector<pollfd> polled_;
  std::vector<Stream> streams_;
  std::vector<TimePoint> ends_;
  std::thread thread_;
};

class BandwidthTest : public ServersTest {
 protected:
  void SetUp() override {
    ServersTest::SetUp();
    if (!IsSkipped()) add_servers(1);
  }
  /// Two workers, unless a key says otherwise.
  void start_limited(const std::string& keys) {
    daemon_ = std::make_unique<Daemon>(std::vector<std::string>{"--config", write(keys)});
  }
  std::string write(const std::string& keys) {
    return folder_.write("bandwidth.toml",
                         "[defaults]\nworkers = 2\nzero-copy = \"always\"\nengine = \"" +
                             GetParam() +
                             "\"\ndrain-timeout = \"60s\"\n[[route]]\nname = \"a\"\n"
                             "listen = \"127.0.0.1:0\"\nto = " +
                             addresses() + "\n" + keys);
  }
  void connect(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      clients_.push_back(connect_tcp(daemon_->port()));
      accepted_.push_back(accept_from(servers_[0].fd.get()));
      ASSERT_TRUE(clients_.back() && accepted_.back());
    }
  }

  /// How long each direction took until the first and the last of its streams had ended.
  struct Lasted {
    std::array<Seconds, 2> first;
    std::array<Seconds, 2> last;
  };
  /// Every connection moves `size` bytes both ways at once.
  Lasted move(std::uint64_t size) {
    using Role = Streams::Role;
    const TimePoint begin = Clock::now();
    Streams at_server(accepted_, Role::reads, kUp, size);
    Streams at_client(clients_, Role::reads, kDown, size);
    Streams from_client(clients_, Role::sends, kUp, size);
    Streams from_server(accepted_, Role::sends, kDown, size);
    EXPECT_EQ(from_client.ends().size(), clients_.size());
    EXPECT_EQ(from_server.ends().size(), clients_.size());
    Lasted lasted{};
    std::size_t direction = 0;
    for (Streams* side : {&at_server, &at_client}) {
      const std::vector<TimePoint> ends = side->ends();
      EXPECT_FALSE(ends.empty()) << "a stream was cut, was changed, or stood still";
      if (!ends.empty()) {
        lasted.first.at(direction) = ends.front() - begin;
        lasted.last.at(direction) = ends.back() - begin;
      }
      ++direction;
    }
    return lasted;
  }
  void expect_spliced(std::uint64_t size) {
    const std::vector<ConnectionEnd> ends = daemon_->wait_for_ends(clients_.size());
    ASSERT_EQ(ends.size(), clients_.size());
    for (const ConnectionEnd& end : ends) {
      EXPECT_EQ(end.reason, "closed");
      EXPECT_EQ(end.to_upstream, size);
      EXPECT_EQ(end.to_client, size);
      EXPECT_GT(end.spliced_to_upstream, size / 2);
      EXPECT_GT(end.spliced_to_client, size / 2);
    }
  }

  std::vector<OwnedFd> clients_;
  std::vector<OwnedFd> accepted_;
};

INSTANTIATE_TEST_SUITE_P(EveryEngine, BandwidthTest, testing::Values("uring", "epoll"));

// A slow machine makes it slower, and nothing makes it faster.
TEST_P(BandwidthTest, NothingIsFasterThanALimitAllows) {
  constexpr std::uint64_t kRate = 8 * kMiB;
  for (const std::size_t count : {1U, 100U}) {
    for (const char* key : {"route-bandwidth", "connection-bandwidth"}) {
      const bool alone = std::string(key) == "connection-bandwidth";
      if (alone && count > 1) continue;
      start_limited(std::string(key) + " = \"8MiB/s\"\n");
      connect(count);
      const std::uint64_t size = (burst_of(kRate) + kRate / 2) / count;
      const Lasted lasted = move(size);
      for (const Seconds last : lasted.last) EXPECT_GE(last, 495ms) << key << ' ' << count;
      expect_spliced(size);
      clients_.clear();
      accepted_.clear();
    }
  }
}

TEST_P(BandwidthTest, LimitsHoldWithinTwoPercentOverTenSeconds) {
  if (scale() != Scale::thorough) GTEST_SKIP() << "takes 45 s, and a quiet machine";
  constexpr std::uint64_t kRate = 50 * kMiB;
  for (const std::size_t count : {1U, 100U}) {
    for (const char* key : {"route-bandwidth", "connection-bandwidth"}) {
      const bool alone = std::string(key) == "connection-bandwidth";
      const std::uint64_t rate = alone ? kRate / count : kRate;
      start_limited(std::string(key) + " = \"" + std::to_string(rate) + "B/s\"\n");
      connect(count);
      const std::uint64_t shared = alone ? 1 : count;
      const std::uint64_t size = (burst_of(rate) + 10 * rate) / shared;
      const Lasted lasted = move(size);
      for (std::size_t i = 0; i < 2; ++i) {
        EXPECT_NEAR(lasted.last.at(i).count(), 10, 0.2);
        EXPECT_GE(lasted.first.at(i), 0.9 * lasted.last.at(i)) << "unfair";
        std::printf("%s %s, %zu streams: first %.3f s, last %.3f s\n", GetParam().c_str(), key,
                    count, lasted.first.at(i).count(), lasted.last.at(i).count());
      }
      expect_spliced(size);
      clients_.clear();
      accepted_.clear();
    }
  }
}

TEST_P(BandwidthTest, ACaptureAndAMirrorOfALimitedRouteAreComplete) {
  constexpr std::uint64_t kSize = 3 * kMiB;
  MirrorServer mirror;
  const std::string capture = folder_.path() + "/capture";
  start_limited("route-bandwidth = \"8MiB/s\"\nconnection-bandwidth = \"6MiB/s\"\ncapture = \"" +
                capture + "\"\nmirror = \"" + mirror.address() + "\"\n");
  connect(1);
  auto& copy = mirror.accept(kUp);
  static_cast<void>(move(kSize));
  expect_spliced(kSize);
  EXPECT_TRUE(mirror.wait_for_ends());
  EXPECT_EQ(copy.ending, Ending::eof);
  EXPECT_EQ(copy.received.received_bytes(), kSize);
  EXPECT_EQ(copy.received.mismatch(), std::nullopt);
  EXPECT_EQ(daemon_->terminate(), 0);
  const Recorded recorded = check_capture(capture, [](const RecordedConnection&, auto side) {
    return side == capture::Side::client ? kUp : kDown;
  });
  EXPECT_EQ(recorded.status(), 0) << recorded.findings << recorded.error;
  for (const RecordedSide& side : recorded.only().sides) {
    EXPECT_EQ(side.recorded, kSize);
    EXPECT_EQ(side.mismatch, std::nullopt);
  }
}

TEST_P(BandwidthTest, AFileIsSentAtTheLimitWithOrWithoutACapture) {
  constexpr std::uint64_t kRate = 8 * kMiB;
  constexpr std::uint64_t kSize = kRate / 10 + kRate / 2;
  write_pattern_file(folder_.path() + "/file", kDown, kSize);
  const std::string capture = "capture = \"" + folder_.path() + "/capture\"\n";
  for (const std::string& more : {std::string(), capture}) {
    const std::string file = folder_.write(
        "file.toml", "[defaults]\nengine = \"" + GetParam() +
                         "\"\n[[route]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\nto = \"file:" +
                         folder_.path() + "/file\"\nroute-bandwidth = \"8MiB/s\"\n" + more);
    daemon_ = std::make_unique<Daemon>(std::vector<std::string>{"--config", file});
    const TimePoint begin = Clock::now();
    const OwnedFd client = connect_tcp(daemon_->port());
    PatternChecker seen(kDown);
    EXPECT_EQ(read_pattern(client.get(), seen), Ending::eof);
    EXPECT_GE(Clock::now() - begin, 495ms);
    EXPECT_EQ(seen.received_bytes(), kSize);
    EXPECT_EQ(seen.mismatch(), std::nullopt);
  }
}

// What waits would need four minutes.
TEST_P(BandwidthTest, ALimitThatAReloadLiftsEndsTheWaitOfOpenConnections) {
  start_limited("route-bandwidth = \"4KiB/s\"\n");
  connect(3);
  std::thread reload([&] {
    write("");
    daemon_->process().signal(SIGHUP);
  });
  static_cast<void>(move(kMiB));
  reload.join();
  EXPECT_TRUE(daemon_->wait_for_log(Regex(" reloaded routes=1 changed=1")));
  expect_spliced(kMiB);
}

TEST_P(BandwidthTest, WhatWaitsIsForwardedBeforeTheDaemonEnds) {
  start_limited("connection-bandwidth = \"4MiB/s\"\n");
  connect(1);
  daemon_->process().signal(SIGTERM);
  const Lasted lasted = move(2 * kMiB);
  for (const Seconds last : lasted.last) EXPECT_GE(last, 395ms);
  expect_spliced(2 * kMiB);
  EXPECT_EQ(daemon_->process().wait(), 0);
  daemon_.reset();
}

}  // namespace
}  // namespace sluice::test
