// The settings of the daemon's sockets and threads.

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "proxy/listen/steering.h"
#include "tests/support/regex.h"
#include "tests/system/forwarding.h"
#include "tests/system/outcome.h"

namespace sluice::test {
namespace {

int option_of(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  EXPECT_EQ(::getsockopt(fd, level, name, &value, &size), 0) << std::strerror(errno);
  return value;
}

/// Duplicates a process's TCP sockets, by their peers' ports. Returns errno if that fails.
int connections_of(pid_t pid, std::map<std::uint16_t, OwnedFd>& found) {
  const OwnedFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process) return errno;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
    const int number = std::stoi(entry.path().filename());
    OwnedFd copy(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), number, 0)));
    if (!copy) return errno;
    sockaddr_in peer{};
    socklen_t size = sizeof peer;
    if (::getpeername(copy.get(), reinterpret_cast<sockaddr*>(&peer), &size) != 0) continue;
    if (peer.sin_family == AF_INET) found[ntohs(peer.sin_port)] = std::move(copy);
  }
  return 0;
}

TEST(SocketSettingsTest, BothLegsSendAtOnceAndAreKeptAlive) {
  const Listener upstream = listen_tcp();
  for (const char* engine : {"auto", "epoll"}) {
    Daemon daemon(route_arguments({engine, "auto"}, loopback_address(upstream.port)));
    const Forwarded pair = forward(daemon.port(), upstream.fd.get());
    ASSERT_EQ(transfer(pair.client.get(), pair.upstream.get(), Pattern(1), 1), "");
    std::map<std::uint16_t, OwnedFd> legs;
    if (const int error = connections_of(daemon.process().pid(), legs); error != 0) {
      GTEST_SKIP() << "pidfd_getfd: " << std::strerror(error);
    }
    for (const std::uint16_t port : {local_port(pair.client.get()), upstream.port}) {
      ASSERT_TRUE(legs.contains(port));
      EXPECT_EQ(option_of(legs[port].get(), IPPROTO_TCP, TCP_NODELAY), 1);
      EXPECT_EQ(option_of(legs[port].get(), SOL_SOCKET, SO_KEEPALIVE), 1);
    }
  }
}

/// A match chooses the route, which is the one whose times count.
TEST(SocketSettingsTest, BothLegsHaveTheTimesOfTheRouteThatWasChosen) {
  const Listener upstream = listen_tcp();
  const TempDir folder;
  for (const char* engine : {"auto", "epoll"}) {
    Daemon daemon(
        {"--config",
         folder.write("c.toml", "[defaults]\nkeepalive = \"1m\"\nengine = \"" +
                                    std::string(engine) +
                                    "\"\n[[route]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\n"
                                    "[[route.match]]\nprefix = \"x\"\nroute = \"b\"\n"
                                    "[[route]]\nname = \"b\"\nto = \"" +
                                    loopback_address(upstream.port) +
                                    "\"\nkeepalive = \"17s\"\nuser-timeout = \"23s\"\n")});
    const OwnedFd client = connect_tcp(daemon.port());
    ASSERT_TRUE(send_all(client.get(), std::string_view("x")));
    const OwnedFd server = accept_from(upstream.fd.get());
    ASSERT_EQ(receive_text(server.get(), 1), "x");
    std::map<std::uint16_t, OwnedFd> legs;
    if (const int error = connections_of(daemon.process().pid(), legs); error != 0) {
      GTEST_SKIP() << "pidfd_getfd: " << std::strerror(error);
    }
    for (const std::uint16_t port : {local_port(client.get()), upstream.port}) {
      ASSERT_TRUE(legs.contains(port));
      EXPECT_EQ(option_of(legs[port].get(), IPPROTO_TCP, TCP_KEEPIDLE), 17);
      EXPECT_EQ(option_of(legs[port].get(), IPPROTO_TCP, TCP_USER_TIMEOUT), 23'000);
    }
  }
}

std::vector<int> allowed_cpus(pid_t thread) {
  cpu_set_t set;
  CPU_ZERO(&set);
  EXPECT_EQ(::sched_getaffinity(thread, sizeof set, &set), 0);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(static_cast<unsigned>(cpu), &set)) cpus.push_back(cpu);
  }
  return cpus;
}

/// The CPUs that each worker may run on.
std::map<std::string, std::vector<int>> workers_of(pid_t pid) {
  std::map<std::string, std::vector<int>> workers;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    std::string name;
    std::ifstream(entry.path() / "comm") >> name;  // empty if it has ended meanwhile
    if (name.starts_with("worker-"))
      workers[name] = allowed_cpus(std::stoi(entry.path().filename()));
  }
  return workers;
}

class AffinityTest : public testing::Test {
 protected:
  void SetUp() override {
    if (cpus_.size() < 2) GTEST_SKIP() << "one CPU only";
  }
  /// Restricts this thread to these CPUs.
  static void run_on(const std::vector<int>& cpus) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const int cpu : cpus) CPU_SET(static_cast<unsigned>(cpu), &set);
    ASSERT_EQ(::sched_setaffinity(0, sizeof set, &set), 0);
  }
  void TearDown() override { run_on(cpus_); }

  const std::vector<int> cpus_ = allowed_cpus(0);
};

TEST_F(AffinityTest, WorkersArePinnedAsTheListSays) {
  const std::string list = std::to_string(cpus_[1]) + ',' + std::to_string(cpus_[0]);
  Daemon daemon(
      {"--listen", "127.0.0.1:0", "--to", "echo:", "--workers", "2", "--cpu-affinity", list});
  const auto workers = workers_of(daemon.process().pid());
  ASSERT_EQ(workers.size(), 2U);
  EXPECT_EQ(workers.at("worker-0"), std::vector<int>{cpus_[1]});
  EXPECT_EQ(workers.at("worker-1"), std::vector<int>{cpus_[0]});
}

TEST_F(AffinityTest, NoneLeavesThemToTheScheduler) {
  Daemon daemon(
      {"--listen", "127.0.0.1:0", "--to", "echo:", "--workers", "2", "--cpu-affinity", "none"});
  const auto workers = workers_of(daemon.process().pid());
  ASSERT_EQ(workers.size(), 2U);
  for (const auto& [name, cpus] : workers) EXPECT_EQ(cpus, cpus_) << name;
}

/// Otherwise several daemons with one worker each would share a CPU.
TEST_F(AffinityTest, FewerWorkersThanCpusArePinnedOnlyByAList) {
  const std::string second = std::to_string(cpus_[1]);
  for (const std::string& affinity : {std::string("auto"), second}) {
    Daemon daemon(
        {"--listen", "127.0.0.1:0", "--to", "echo:", "--workers", "1", "--cpu-affinity", affinity});
    const auto workers = workers_of(daemon.process().pid());
    ASSERT_EQ(workers.size(), 1U);
    EXPECT_EQ(workers.at("worker-0"), affinity == "auto" ? cpus_ : std::vector<int>{cpus_[1]});
  }
}

/// The number of connections of each of two workers. An id has the run, the worker and its count.
std::vector<std::size_t> by_worker(const std::vector<ConnectionEnd>& ends) {
  std::vector<std::size_t> counts(2);
  const Regex pattern("-([01])-[0-9]+$");
  for (const ConnectionEnd& end : ends) {
    const std::vector<std::string> found = pattern.first_in(end.id);
    if (!found.empty()) ++counts[found[1] == "1" ? 1 : 0];
  }
  return counts;
}

/// A loopback connection arrives on the CPU that its client runs on. With a single receive queue,
/// all connections arrive on one CPU.
TEST_F(AffinityTest, WhereAllArriveOnOneCpuTheHashSpreadsThem) {
  constexpr std::size_t kBefore = Steering::kWindows * Steering::kWindow;
  constexpr std::size_t kAfter = 200 - kBefore;
  run_on({cpus_[0], cpus_[1]});
  Daemon daemon({"--listen", "127.0.0.1:0", "--to", "echo:", "--workers", "2"});
  run_on({cpus_[1]});
  const Regex stopped("steering_stopped address=127.0.0.1:");
  std::vector<OwnedFd> clients;
  for (std::size_t i = 0; i < kBefore + kAfter; ++i) {
    if (i == kBefore) {
      ASSERT_TRUE(daemon.wait_for_log(stopped, kLate));
    }
    clients.push_back(connect_tcp(daemon.port()));
    ASSERT_TRUE(echoes(clients.back().get()));
  }
  clients.clear();
  auto ends = daemon.wait_for_ends(kBefore + kAfter, kLate);
  ASSERT_EQ(ends.size(), kBefore + kAfter);
  const auto all = by_worker(ends);
  EXPECT_EQ(all[0] + all[1], ends.size());
  EXPECT_GT(all[0], kAfter / 6);  // expected: about a half
  EXPECT_GE(all[1], kBefore);
  EXPECT_EQ(count_lines(daemon.log(), stopped), 1U);
}

/// One client after the other: the worker of the client's CPU serves it best, whatever their
/// number.
TEST_F(AffinityTest, AConnectionGoesToTheWorkerOfTheCpuItArrivesOn) {
  constexpr std::size_t kEach = 2 * Steering::kWindows * Steering::kWindow;
  const std::string list = std::to_string(cpus_[1]) + ',' + std::to_string(cpus_[0]);
  Daemon daemon(
      {"--listen", "127.0.0.1:0", "--to", "echo:", "--workers", "2", "--cpu-affinity", list});
  for (std::size_t worker = 0; worker < 2; ++worker) {
    run_on({cpus_[1 - worker]});
    for (std::size_t i = 0; i < kEach; ++i) {
      ASSERT_TRUE(echoes(connect_tcp(daemon.port()).get()));
    }
    auto ends = daemon.wait_for_ends((worker + 1) * kEach, kLate);
    ASSERT_EQ(ends.size(), (worker + 1) * kEach);
    ends.erase(ends.begin(), ends.begin() + static_cast<std::ptrdiff_t>(worker * kEach));
    EXPECT_EQ(by_worker(ends)[worker], kEach) << "to worker " << worker;
  }
}

}  // namespace
}  // namespace sluice::test
