// A name lookup at a silent server prevents no program from ending.

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>

#include "tests/support/daemon.h"
#include "tests/support/regex.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"
#include "tests/system/http.h"
#include "tests/system/outcome.h"

namespace sluice::test {
namespace {

/// The resolver alone would take more than two minutes.
constexpr std::chrono::seconds kSoon(60);
constexpr char kNameServer[] = "127.0.0.9";

class NamesTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "only root can give a process name servers of its own";
    SLUICE_NEEDS_PROGRAM("unshare");
    if (Process({"unshare", "-m", "true"}).wait() != 0) {
      GTEST_SKIP() << "this root may not have mounts of its own";
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(53);
    ASSERT_EQ(::inet_pton(AF_INET, kNameServer, &address.sin_addr), 1);
    server_ = OwnedFd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (::bind(server_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      GTEST_SKIP() << "port 53 of " << kNameServer << " is taken";
    }
    folder_.write("resolv.conf",
                  std::string("nameserver ") + kNameServer + "\noptions timeout:30 attempts:5\n");
    folder_.write("nsswitch.conf", "hosts: files dns\n");
    know("127.0.0.1 upstream.test\n");
    wrapper_ = folder_.write("sluice", "#!/bin/sh\nexec unshare -m sh -c '" + mounts() +
                                           "exec \"$@\"' sh " + daemon_binary() + " \"$@\"\n");
    ASSERT_EQ(::chmod(wrapper_.c_str(), 0755), 0);
  }

  // In place, since the file is mounted. It is not emptied first: who looks a name up at that
  // moment would ask the name server, which is silent.
  void know(const std::string& hosts) {
    const OwnedFd file(::open(folder_.file("hosts").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    ASSERT_EQ(::pwrite(file.get(), hosts.data(), hosts.size(), 0),
              static_cast<ssize_t>(hosts.size()));
    ASSERT_EQ(::ftruncate(file.get(), static_cast<off_t>(hosts.size())), 0);
  }
  [[nodiscard]] std::string mounts() const {
    std::string commands;
    for (const char* name : {"hosts", "resolv.conf", "nsswitch.conf"}) {
      commands += "mount --bind " + folder_.file(name) + " /etc/" + name + " && ";
    }
    return commands;
  }
  [[nodiscard]] bool asked() const { return readable_within(server_.get(), kLate); }

  TempDir folder_;
  OwnedFd server_;
  std::string wrapper_;
};

TEST_F(NamesTest, SignalEndsTheProgramWhileANameIsLookedUpAgain) {
  const Listener nobody = bind_tcp();
  DaemonOptions options;
  options.binary = wrapper_;
  Daemon daemon({"--listen", "127.0.0.1:0", "--to", "upstream.test:" + std::to_string(nobody.port)},
                options);
  know("");
  const OwnedFd refused = connect_tcp(daemon.port());
  ASSERT_TRUE(asked()) << daemon.log();
  EXPECT_EQ(daemon.terminate(kSoon), 0);
}

// They delay neither the start nor the return to an upstream that has moved.
TEST_F(NamesTest, MirrorsNamesHoldUpNothing) {
  know("127.0.0.2 upstream.test\n");
  const Listener upstream = listen_tcp();
  const Listener mirror = listen_tcp();
  const std::string mirror_port = std::to_string(mirror.port);
  DaemonOptions options;
  options.binary = wrapper_;
  Daemon daemon(
      {"--listen", "127.0.0.1:0", "--to", "upstream.test:" + std::to_string(upstream.port),
       "--mirror", "one.test:" + mirror_port, "--mirror", "two.test:" + mirror_port,
       "--drain-timeout", "100ms"},
      options);
  EXPECT_TRUE(daemon.wait_for_log(
      Regex("mirror_unresolved .*mirror=one.test.* reason=\"resolve one.test: no answer")));
  EXPECT_TRUE(daemon.wait_for_log(Regex("mirror_unresolved .*mirror=two.test")));
  know("127.0.0.1 upstream.test\n");
  ASSERT_TRUE(wait_until(
      [&] {
        const OwnedFd client = connect_tcp(daemon.port());
        return readable_within(upstream.fd.get(), std::chrono::milliseconds(100));
      },
      kSoon));
  EXPECT_EQ(daemon.terminate(kSoon), 0);
}

/// It gets no clients, so that no connect of theirs could fail.
TEST_F(NamesTest, AServerThatItsChecksFindDownIsFoundWhereItMoves) {
  know("127.0.0.2 upstream.test\n");
  const Listener moved = listen_tcp();
  const Listener other = listen_tcp();
  const std::string file =
      folder_.write("sluice.toml", "[[route]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\nto = [\"" +
                                       loopback_address(other.port) +
                                       "\", \"upstream.test:" + std::to_string(moved.port) +
                                       "\"]\nhealth = \"tcp\"\nhealth-interval = \"50ms\"\n");
  DaemonOptions options;
  options.binary = wrapper_;
  Daemon daemon({"--config", file}, options);
  ASSERT_TRUE(daemon.wait_for_log(Regex("server_down route=a server=upstream.test")));
  know("127.0.0.1 upstream.test\n");
  EXPECT_TRUE(daemon.wait_for_log(Regex("resolved route=a")));
  EXPECT_TRUE(daemon.wait_for_log(Regex("server_up route=a server=upstream.test")));
  EXPECT_EQ(daemon.terminate(kSoon), 0);
}

TEST_F(NamesTest, AStartThatWaitsForANameIsAliveAndNotReady) {
  know("");
  const std::string path = folder_.file("admin.sock");
  Process start(
      {wrapper_, "--listen", "127.0.0.1:0", "--to", "upstream.test:1", "--admin", "unix:" + path});
  ASSERT_TRUE(asked()) << start.standard_error();
  const auto ask = [&](std::string_view at) {
    return exchange(connect_unix(path).get(), http_request("GET", at));
  };
  EXPECT_EQ(ask("/livez").status, 200);
  EXPECT_EQ(ask("/readyz").status, 503);
  EXPECT_NE(ask("/v1/status").body.find("\"state\":\"starting\""), std::string::npos);
  EXPECT_NE(ask("/metrics").body.find("\nsluice_ready 0\n"), std::string::npos);
  start.signal(SIGTERM);
  EXPECT_EQ(start.wait(kSoon), 0);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(NamesTest, SignalEndsAStartThatWaitsForAName) {
  know("");
  const std::vector<std::vector<std::string>> starts = {
      {wrapper_, "--listen", "127.0.0.1:0", "--to", "upstream.test:1"},
      {wrapper_, "--listen", "127.0.0.1:0", "--to", "dns:upstream.test:1"},
      {wrapper_, "--listen", "127.0.0.1:0", "--to", "srv:_a._tcp.upstream.test"},
      {wrapper_, "--listen", "127.0.0.1:0", "--to", "upstream.test:1", "--check"},
      {wrapper_, "--listen", "upstream.test:0", "--to", "echo:"},
  };
  for (const std::vector<std::string>& command : starts) {
    Process start(command);
    ASSERT_TRUE(asked()) << start.standard_error();
    start.signal(SIGTERM);
    // SIGTERM ends a check like any program, and a start like the daemon.
    const bool checks = command.back() == "--check";
    EXPECT_EQ(start.wait(kSoon), checks ? -SIGTERM : 0);
    char query[512];
    while (::recv(server_.get(), query, sizeof query, MSG_DONTWAIT) > 0) continue;
  }
}

}  // namespace
}  // namespace sluice::test
