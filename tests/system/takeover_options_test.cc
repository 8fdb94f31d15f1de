// The listening sockets that both processes have: what a successor makes of them before it fails
// holds for no client of the old process.

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "iolib/base/endpoint.h"
#include "proxy/listen/tcp_socket.h"
#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/outcome.h"
#include "tests/system/takeover_fixture.h"

namespace sluice::test {
namespace {

class TakeoverOptionsTest : public TakeoverFixture {
 protected:
  /// Copies of the daemon's sockets that listen at the port.
  [[nodiscard]] std::vector<OwnedFd> listening_sockets() const {
    Stub stub(socket());
    stub.go_to(takeover::MessageType::state);
    std::vector<OwnedFd> all = stub.take_descriptors();
    std::erase_if(all, [this](const OwnedFd& each) {
      sockaddr_storage name{};
      socklen_t size = sizeof name;
      if (::getsockname(each.get(), reinterpret_cast<sockaddr*>(&name), &size) != 0) return true;
      return name.ss_family != AF_INET || local_name(each.get()).port() != port_;
    });
    return all;
  }
  /// A successor that makes a sink of the port, and has one worker, is killed as it accepts.
  void let_a_sink_fail(const std::vector<OwnedFd>& sockets) const {
    const std::size_t failures = count_lines(daemon_->log(), Regex("takeover_failed"));
    Daemon next({"--listen", loopback_address(port_), "--to", "discard:", "--capture",
                 folder_.file("capture"), "--congestion", "system", "--workers", "1", "--engine",
                 GetParam(), "--takeover-socket", socket(), "--takeover"});
    for (const OwnedFd& each : sockets) EXPECT_TRUE(accepted_options(each.get()).resets);
    next.process().signal(SIGKILL);
    EXPECT_EQ(next.process().wait(kLate), -SIGKILL);
    EXPECT_TRUE(wait_until([&] {
      return count_lines(daemon_->log(), Regex("takeover_failed")) > failures;
    })) << daemon_->log();
  }
};

INSTANTIATE_TEST_SUITE_P(Engines, TakeoverOptionsTest, testing::Values("uring", "epoll"),
                         [](const auto& engine) { return engine.param; });

TEST_P(TakeoverOptionsTest, ASuccessorThatFailsLeavesNoOptionBehind) {
  // One of the stub's takeover, which has failed, too.
  const std::vector<OwnedFd> sockets = listening_sockets();
  ASSERT_EQ(sockets.size(), 2U);
  const AcceptedOptions before = accepted_options(sockets.front().get());
  EXPECT_FALSE(before.resets);
  ASSERT_TRUE(
      wait_until([&] { return daemon_->log().find("takeover_failed") != std::string::npos; }));
  let_a_sink_fail(sockets);
  for (const OwnedFd& each : sockets) {
    EXPECT_FALSE(accepted_options(each.get()).resets);
    EXPECT_EQ(accepted_options(each.get()).congestion, before.congestion);
  }
  for (int i = 0; i < 4; ++i) {
    const OwnedFd client = connect_tcp(port_);
    ASSERT_TRUE(echoes(client.get()));
    finish_sending(client.get());
    EXPECT_EQ(ending_of(client.get()), Ending::eof);
  }
}

/// This thread runs there until its end.
class OnCpu {
 public:
  explicit OnCpu(unsigned cpu) {
    EXPECT_EQ(::sched_getaffinity(0, sizeof before_, &before_), 0);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    EXPECT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
  }
  ~OnCpu() { EXPECT_EQ(::sched_setaffinity(0, sizeof before_, &before_), 0); }
  OnCpu(const OnCpu&) = delete;
  OnCpu& operator=(const OnCpu&) = delete;

 private:
  cpu_set_t before_{};
};

TEST_P(TakeoverOptionsTest, ASuccessorThatFailsLeavesConnectionsToTheWorkersOfTheirCpus) {
  cpu_set_t allowed;
  ASSERT_EQ(::sched_getaffinity(0, sizeof allowed, &allowed), 0);
  if (!CPU_ISSET(0U, &allowed) || !CPU_ISSET(1U, &allowed)) GTEST_SKIP() << "CPUs 0 and 1 only";
  EXPECT_EQ(daemon_->terminate(), 0);
  port_ = free_port();
  // Worker 0 is on CPU 1.
  daemon_ = std::make_unique<Daemon>(arguments({"--cpu-affinity", "1,0"}), two_listeners());
  let_a_sink_fail({});
  constexpr std::size_t kClients = 8;
  std::size_t ended = daemon_->wait_for_ends(0).size();
  for (const unsigned cpu : {0U, 1U}) {
    const OnCpu on_cpu(cpu);
    for (std::size_t i = 0; i < kClients; ++i) ASSERT_TRUE(echoes(connect_tcp(port_).get()));
    const auto ends = daemon_->wait_for_ends(ended + kClients, kLate);
    ASSERT_EQ(ends.size(), ended + kClients);
    for (; ended < ends.size(); ++ended) {
      const std::string& id = ends[ended].id;
      EXPECT_EQ(id.substr(id.find('-') + 1, 1), cpu == 0 ? "1" : "0") << id;
    }
  }
}

}  // namespace
}  // namespace sluice::test
