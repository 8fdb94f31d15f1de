// The examples that choose a route by what clients say, between the programs that they are for.
// Only addresses and a time-out are replaced.

#include <gtest/gtest.h>
#include <signal.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "iolib/base/clock.h"
#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/example.h"
#include "tests/system/programs.h"

namespace sluice::test {
namespace {

/// OpenSSL's server behind the route for TLS, and the test itself as the SSH server.
class SshAndTlsExampleTest : public ExampleTest {
 protected:
  void SetUp() override {
    ExampleTest::SetUp();
    SLUICE_NEEDS_PROGRAM("openssl");
    make_certificate();
    port_ = free_port();
    web_ = std::make_unique<Process>(
        std::vector<std::string>{"openssl", "s_server", "-accept", loopback_address(port_), "-cert",
                                 folder_.file("certificate"), "-key", folder_.file("key"), "-www"});
    wait_for_listener(*web_, port_);
    ssh_ = listen_tcp();
  }
  /// Except in the test of silence, no client can be too late.
  void start_edge(const std::string& peek_timeout = "1h") {
    start_example("ssh-and-tls.toml", {{"10.0.0.2:443", loopback_address(port_)},
                                       {"10.0.0.3:22", loopback_address(ssh_.port)},
                                       {"3s", peek_timeout}});
  }
  /// What the SSH server gets from a client that says this first. It answers.
  [[nodiscard]] std::string said_to_ssh(const std::string& greeting) {
    const OwnedFd client = connect_tcp(daemon_->port());
    EXPECT_TRUE(send_all(client.get(), greeting));
    const OwnedFd server = accept_from(ssh_.fd.get());
    EXPECT_TRUE(send_all(server.get(), kBanner));
    EXPECT_EQ(receive_text(client.get(), kBanner.size()), kBanner);
    finish_sending(client.get());
    return receive_text(server.get(), greeting.size() + 1);
  }

  static inline const std::string kBanner = "SSH-2.0-server\r\n";
  std::uint16_t port_ = 0;
  std::unique_ptr<Process> web_;
  Listener ssh_;
};

TEST_P(SshAndTlsExampleTest, TlsComesToTheWebServer) {
  start_edge();
  std::size_t ends = 0;
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    const std::string page = run_program(
        {"sh", "-c",
         "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -connect 127.0.0.1:" +
             entrance() + " " + version + " 2>&1; true"});
    EXPECT_NE(page.find("HTTP/1.0 200 ok"), page.npos) << page;
    EXPECT_EQ(last_end(++ends).at("route"), "web");
  }
}

TEST_P(SshAndTlsExampleTest, AnSshBannerComesToTheSshServer) {
  start_edge();
  const std::string greeting = "SSH-2.0-client\r\n";
  EXPECT_EQ(said_to_ssh(greeting), greeting);
  EXPECT_EQ(last_end(1).at("route"), "ssh");
}

TEST_P(SshAndTlsExampleTest, OpensshComesToTheSshServer) {
  SLUICE_NEEDS_PROGRAM("ssh");
  start_edge();
  Process client({"ssh", "-F", "none", "-o", "BatchMode=yes", "-p", entrance(), "127.0.0.1"});
  const OwnedFd server = accept_from(ssh_.fd.get(), kProgramPatience);
  EXPECT_EQ(receive_text(server.get(), 16), "SSH-2.0-OpenSSH_");
}

TEST_P(SshAndTlsExampleTest, ASilentClientComesToTheDefaultAfterAWait) {
  start_edge("3s");
  EXPECT_EQ(said_to_ssh(""), "");
  EXPECT_EQ(last_end(1).at("route"), "edge");
}

TEST_P(SshAndTlsExampleTest, OneThatSaysSomethingElseComesToTheDefaultAtOnce) {
  start_edge();
  const std::string greeting = "GET / HTTP/1.1\r\n\r\n";
  EXPECT_EQ(said_to_ssh(greeting), greeting);
  EXPECT_EQ(last_end(1).at("route"), "edge");
}

/// HAProxy before the daemon, and nginx with three sites behind it.
class SitesExampleTest : public ExampleTest {
 protected:
  void SetUp() override {
    ExampleTest::SetUp();
    for (const char* program : {"curl", "haproxy", "nginx", "openssl"}) {
      SLUICE_NEEDS_PROGRAM(program);
    }
    make_certificate();
    start_sites();
    start_example("sites-behind-balancer.toml", {{"10.0.0.11", "127.0.0.1"},
                                                 {"10.0.0.12", "127.0.0.2"},
                                                 {"10.0.0.21:443", loopback_address(ports_[0])},
                                                 {"10.0.0.22:443", loopback_address(ports_[1])},
                                                 {"10.0.0.23:443", loopback_address(ports_[2])}});
    front_ = free_port();
    balancer_ = start_haproxy(front_, "listen https\n  mode tcp\n  bind " +
                                          loopback_address(front_) + "\n  server sluice " +
                                          loopback_address(daemon_->port()) + " send-proxy-v2\n");
  }
  /// Each site answers with its name, and logs whom it takes for the client.
  void start_sites() {
    std::string servers;
    for (const char* site : {"shop", "api", "www"}) {
      ports_.push_back(free_port());
      servers += " server { listen " + loopback_address(ports_.back()) +
                 " ssl proxy_protocol; set_real_ip_from 127.0.0.1;\n"
                 "  real_ip_header proxy_protocol; return 200 \"" +
                 site + "\"; }\n";
    }
    nginx_ = std::make_unique<Process>(std::vector<std::string>{
        "nginx", "-e", "stderr", "-p", folder_.path(), "-c",
        folder_.write("nginx.conf",
                      "daemon off; master_process off; pid nginx.pid; error_log stderr warn;\n"
                      "events { worker_connections 64; }\nhttp {\n"
                      " log_format who '$remote_addr:$remote_port $ssl_server_name';\n"
                      " access_log access.log who; ssl_certificate certificate;\n"
                      " ssl_certificate_key key;\n" +
                          servers + "}\n")});
    for (const std::uint16_t port : ports_) wait_for_listener(*nginx_, port);
  }
  /// A curl with an address that nothing else here has, to this port.
  [[nodiscard]] static std::vector<std::string> curl(const std::string& name, std::uint16_t port) {
    return {"curl",
            "-s",
            "-S",
            "-k",
            "--interface",
            "127.0.0.77",
            "-w",
            "|%{local_ip}:%{local_port}",
            "--max-time",
            std::to_string(kProgramPatience.count()),
            "--connect-to",
            "::" + loopback_address(port),
            "https://" + name + "/"};
  }
  /// A curl that must get nothing, and why the daemon ended its connection, the `ends`th one.
  [[nodiscard]] std::string refusal(const std::string& name, std::uint16_t port,
                                    std::size_t ends) const {
    Process client(curl(name, port));
    const auto status = client.wait(kProgramPatience);
    EXPECT_TRUE(status && *status != 0) << client.standard_output();
    return last_end(ends).at("reason");
  }

  std::vector<std::uint16_t> ports_;
  std::unique_ptr<Process> nginx_;
  std::uint16_t front_ = 0;
  std::unique_ptr<Process> balancer_;
};

TEST_P(SitesExampleTest, EachNameHasItsSiteWhichLogsTheClient) {
  struct Case {
    std::string name;
    std::string site;
  };
  std::size_t ends = 0;
  for (const auto& [name, site] : std::vector<Case>{{"shop.example.com", "shop"},
                                                    {"api.example.com", "api"},
                                                    {"example.com", "www"},
                                                    {"www.example.com", "www"}}) {
    const std::string said = run_program(curl(name, front_));
    const std::size_t bar = said.find('|');
    EXPECT_EQ(said.substr(0, bar), site) << name;
    const std::string client = said.substr(bar + 1);
    EXPECT_TRUE(client.starts_with("127.0.0.77:")) << client;
    const LogFields end = last_end(++ends);
    EXPECT_EQ(end.at("route"), site);
    EXPECT_EQ(end.at("client"), client);
    const std::string line = client + " " + name + "\n";
    EXPECT_TRUE(wait_until([&] { return read_text(folder_.file("access.log")).ends_with(line); }))
        << line << "is not the last of\n"
        << read_text(folder_.file("access.log"));
  }
}

TEST_P(SitesExampleTest, OtherNamesAndOtherPeersAreRefused) {
  EXPECT_EQ(refusal("example.org", front_, 1), "no_route");
  EXPECT_EQ(refusal("shop.example.com", daemon_->port(), 2), "denied") << "past the balancer";
  EXPECT_EQ(read_text(folder_.file("access.log")), "");
}

/// The test itself as the server, and as one source.
class PublicPortExampleTest : public ExampleTest {
 protected:
  void start_public() {
    server_ = listen_tcp();
    const std::string list = folder_.write("deny.txt", "192.0.2.0/24  # an example\n");
    start_example("public-port.toml",
                  {{"10.0.0.2:443", loopback_address(server_.port)},
                   {"10.0.0.3:5432", loopback_address(server_.port)},
                   {"50/s", "100000/s"},
                   {"file:/etc/sluice/deny.txt", "file:" + list}},
                  2);
  }
  /// Serves one more client, which stays.
  void serve() {
    clients_.push_back(connect_tcp(daemon_->port_of("public")));
    accepted_.push_back(accept_from(server_.fd.get()));
    EXPECT_TRUE(send_all(accepted_.back().get(), std::string_view("x")));
    EXPECT_EQ(receive_text(clients_.back().get(), 1), "x");
  }
  void expect_refused(const std::string& route, const std::string& reason, std::size_t ends) {
    const int error = try_connect(daemon_->port_of(route));
    EXPECT_TRUE(error == 0 || error == ECONNRESET) << error;
    EXPECT_EQ(last_end(ends).at("reason"), reason);
  }

  /// The clients leave first: the daemon would wait for them.
  void TearDown() override {
    clients_.clear();
    accepted_.clear();
    ExampleTest::TearDown();
  }

  Listener server_;
  std::vector<OwnedFd> clients_;
  std::vector<OwnedFd> accepted_;
};

TEST_P(PublicPortExampleTest, ASourceHasAHundredConnections) {
  start_public();
  for (int i = 0; i < 100; ++i) serve();
  expect_refused("public", "limited", 1);
}

TEST_P(PublicPortExampleTest, AReloadedListResetsNewConnectionsOnly) {
  start_public();
  serve();
  static_cast<void>(folder_.write("deny.txt", "127.0.0.0/8\n"));
  daemon_->process().signal(SIGHUP);
  ASSERT_TRUE(daemon_->wait_for_log(Regex(" reloaded ")));
  expect_refused("public", "denied", 1);
  ASSERT_TRUE(send_all(clients_.back().get(), std::string_view("y")));
  EXPECT_EQ(receive_text(accepted_.back().get(), 1), "y");
}

TEST_P(PublicPortExampleTest, OthersThanTheNetworkAreRefused) {
  start_public();
  expect_refused("internal", "denied", 1);
}

/// The test itself as the server of backups.
class CappedBackupExampleTest : public ExampleTest {
 protected:
  /// Sends this to a route, and returns how long it took until all had come.
  [[nodiscard]] Duration send(const std::string& route, std::uint64_t bytes) {
    const TimePoint begin = Clock::now();
    const OwnedFd client = connect_tcp(daemon_->port_of(route));
    const OwnedFd accepted = accept_from(server_.fd.get());
    std::thread sender([&] {
      EXPECT_TRUE(send_pattern(client.get(), Pattern(1), 0, bytes));
      finish_sending(client.get());
    });
    PatternChecker seen(Pattern(1));
    EXPECT_EQ(read_pattern(accepted.get(), seen), Ending::eof);
    sender.join();
    EXPECT_EQ(seen.received_bytes(), bytes);
    EXPECT_EQ(seen.mismatch(), std::nullopt);
    return Clock::now() - begin;
  }

  const Listener server_ = listen_tcp();
};

TEST_P(CappedBackupExampleTest, BackupsHaveALimitAndOthersHaveNone) {
  start_example("capped-backup.toml", {{"10.0.0.2:873", loopback_address(server_.port)}}, 2);
  // 5 MiB at once, and then 50 MiB a second.
  EXPECT_GE(send("backup", 20 << 20), std::chrono::milliseconds(295));
  static_cast<void>(send("interactive", 20 << 20));
}

INSTANTIATE_TEST_SUITE_P(BothEngines, CappedBackupExampleTest, testing::ValuesIn(both_engines()),
                         name_of_mode);
INSTANTIATE_TEST_SUITE_P(BothEngines, PublicPortExampleTest, testing::ValuesIn(both_engines()),
                         name_of_mode);
INSTANTIATE_TEST_SUITE_P(BothEngines, SshAndTlsExampleTest, testing::ValuesIn(both_engines()),
                         name_of_mode);
INSTANTIATE_TEST_SUITE_P(BothEngines, SitesExampleTest, testing::ValuesIn(both_engines()),
                         name_of_mode);

}  // namespace
}  // namespace sluice::test
