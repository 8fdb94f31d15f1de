#include "tests/system/forwarding.h"

#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <ostream>

#include "tests/support/settings.h"
#include "tests/support/wait.h"

namespace sluice::test {

void PrintTo(const Mode& mode, std::ostream* out) { *out << mode.engine << ' ' << mode.zero_copy; }

// A sanitizer has no time for all six: it takes each engine and each splice mode once or twice.
std::vector<Mode> every_mode() {
  if (scale() == Scale::quick) {
    return {{"uring", "auto"}, {"uring", "always"}, {"epoll", "auto"}, {"epoll", "never"}};
  }
  std::vector<Mode> modes;
  for (const char* engine : {"uring", "epoll"}) {
    for (const char* zero_copy : {"auto", "always", "never"}) modes.push_back({engine, zero_copy});
  }
  return modes;
}

std::string name_of_mode(const testing::TestParamInfo<Mode>& info) {
  return info.param.engine + "_" + info.param.zero_copy;
}

bool io_uring_available() {
  io_uring_params parameters{};
  const OwnedFd ring(static_cast<int>(::syscall(SYS_io_uring_setup, 4, &parameters)));
  return static_cast<bool>(ring);
}

std::vector<std::string> route_arguments(const Mode& mode, const std::string& upstream,
                                         const std::vector<std::string>& more) {
  std::vector<std::string> arguments{"--listen", "127.0.0.1:0", "--to",        upstream,
                                     "--engine", mode.engine,   "--zero-copy", mode.zero_copy};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

void ForwardingTest::SetUp() {
  if (GetParam().engine == "uring" && !io_uring_available()) {
    GTEST_SKIP() << "the kernel refuses io_uring here";
  }
  upstream_ = listen_tcp(4096, {.segment_bytes = kEthernetSegmentBytes});
}

void ForwardingTest::start(const std::vector<std::string>& more, const DaemonOptions& options) {
  daemon_ = std::make_unique<Daemon>(
      route_arguments(GetParam(), loopback_address(upstream_.port), more), options);
  descriptors_before_ = descriptors();
}

Forwarded ForwardingTest::forward_established(SocketOptions client, SocketOptions upstream) {
  Forwarded pair = forward_one(client, upstream);
  EXPECT_TRUE(send_all(pair.client.get(), "?"));
  EXPECT_EQ(receive_text(pair.upstream.get(), 1), "?");
  EXPECT_TRUE(send_all(pair.upstream.get(), "!"));
  EXPECT_EQ(receive_text(pair.client.get(), 1), "!");
  return pair;
}

std::size_t ForwardingTest::descriptors() const {
  return daemon_->fd_count() - daemon_->pipe_fd_count();
}

void ForwardingTest::TearDown() {
  if (!daemon_) return;
  EXPECT_TRUE(wait_until([&] { return descriptors() == descriptors_before_; }))
      << "descriptors before: " << descriptors_before_ << ", now: " << descriptors();
  EXPECT_EQ(daemon_->terminate(), 0);
  if (HasFailure()) {
    const std::string log = daemon_->log();
    constexpr std::size_t kTail = 4000;
    std::printf("the daemon's log ends:\n%s\n",
                log.substr(log.size() > kTail ? log.size() - kTail : 0).c_str());
  }
}

}  // namespace sluice::test
