// PROXY headers from and to the programs that use them.

#include <gtest/gtest.h>
#include <signal.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/outcome.h"
#include "tests/system/programs.h"

namespace sluice::test {
namespace {

/// Each test has a daemon between curl and another program; what one says the other must know.
class ProxyProgramsTest : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    SLUICE_NEEDS_PROGRAM("curl");
    SLUICE_NEEDS_PROGRAM("haproxy");
    SLUICE_NEEDS_PROGRAM("nginx");
  }
  void TearDown() override {
    if (!daemon_) return;
    if (HasFailure()) std::printf("the daemon's log:\n%s\n", daemon_->log().c_str());
    EXPECT_EQ(daemon_->terminate(), 0);
  }

  void start(const std::string& to, const std::string& more) {
    const std::string file =
        folder_.write("sluice.toml", "[defaults]\nengine = \"" + GetParam().engine +
                                         "\"\n[[route]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\n"
                                         "to = \"" +
                                         to + "\"\n" + more);
    daemon_ = std::make_unique<Daemon>(std::vector<std::string>{"--config", file});
  }
  /// An nginx that answers with this text.
  [[nodiscard]] std::unique_ptr<Process> start_answering(std::uint16_t port,
                                                         const std::string& listen_more,
                                                         const std::string& text) {
    const std::string config =
        "daemon off; master_process off; pid nginx.pid; error_log stderr warn;\n"
        "events { worker_connections 64; }\nhttp { access_log off; server { listen " +
        loopback_address(port) + listen_more + "; return 200 \"" + text + "\"; } }\n";
    auto nginx = std::make_unique<Process>(std::vector<std::string>{
        "nginx", "-e", "stderr", "-p", folder_.path(), "-c", folder_.write("nginx.conf", config)});
    wait_for_listener(*nginx, port);
    return nginx;
  }
  struct Answer {
    std::string text;
    std::string client;  ///< curl's own address
  };
  [[nodiscard]] static Answer ask(std::uint16_t port) {
    const std::string said = run_program({"curl", "-s", "-S", "-w", "|%{local_ip}:%{local_port}",
                                          "http://" + loopback_address(port) + "/"});
    const std::size_t bar = said.find('|');
    return {said.substr(0, bar), said.substr(bar + 1)};
  }
};

TEST_P(ProxyProgramsTest, FromHaproxyAndNginx) {
  const std::uint16_t web = free_port();
  const auto server = start_answering(web, "", "yes");
  start(loopback_address(web), "proxy-in = \"required\"\nproxy-trust = \"127.0.0.0/8\"\n");
  std::size_t ends = 0;
  for (const char* version : {"send-proxy", "send-proxy-v2",
                              "send-proxy-v2 proxy-v2-options "
                              "crc32c,unique-id"}) {
    const std::uint16_t front = free_port();
    const auto haproxy = start_haproxy(
        front, "listen a\n  mode http\n  option httpclose\n  unique-id-format %[uuid()]\n  bind " +
                   loopback_address(front) + "\n  server s " + loopback_address(daemon_->port()) +
                   " " + version + "\n");
    const Answer answer = ask(front);
    EXPECT_EQ(answer.text, "yes") << version;
    EXPECT_EQ(last_end(++ends).at("client"), answer.client) << version;
    haproxy->signal(SIGTERM);
    static_cast<void>(haproxy->wait());
  }
  if (!std::filesystem::exists("/usr/lib/nginx/modules/ngx_stream_module.so")) {
    GTEST_SKIP() << "nginx has no stream module here";
  }
  const std::uint16_t front = free_port();
  Process nginx(std::vector<std::string>{
      "nginx", "-e", "stderr", "-p", folder_.path(), "-c",
      folder_.write("front.conf",
                    "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n"
                    "daemon off; master_process off; pid front.pid;\n"
                    "events { worker_connections 64; }\nstream { server { listen " +
                        loopback_address(front) + "; proxy_pass " +
                        loopback_address(daemon_->port()) + "; proxy_protocol on; } }\n")});
  wait_for_listener(nginx, front);
  const Answer answer = ask(front);
  EXPECT_EQ(answer.text, "yes");
  EXPECT_EQ(last_end(++ends).at("client"), answer.client);
}

TEST_P(ProxyProgramsTest, ToNginxAndHaproxy) {
  const std::uint16_t web = free_port();
  const auto nginx = start_answering(web, " proxy_protocol",
                                     "$proxy_protocol_addr:$proxy_protocol_port "
                                     "$proxy_protocol_server_addr:$proxy_protocol_server_port");
  const std::uint16_t other = free_port();
  const auto haproxy = start_haproxy(
      other, "frontend a\n  mode http\n  bind " + loopback_address(other) +
                 " accept-proxy\n  http-request return status 200 content-type text/plain "
                 "lf-string \"%ci:%cp %fi:%fp\"\n");
  for (const std::uint16_t port : {web, other}) {
    for (const char* version : {"v1", "v2"}) {
      start(loopback_address(port),
            "proxy-tlvs = [\"unique-id\", \"crc32c\"]\nhealth = \"exchange\"\n"
            "health-send = \"GET / HTTP/1.0\\r\\n\\r\\n\"\nhealth-expect = \"200 OK\"\n"
            "proxy-out = \"" +
                std::string(version) + "\"\n");
      const Answer answer = ask(daemon_->port());
      EXPECT_EQ(answer.text, answer.client + " " + loopback_address(daemon_->port()))
          << version << " to " << (port == web ? "nginx" : "haproxy");
      static_cast<void>(counters_of(*daemon_));
      EXPECT_NE(line_of(daemon_->log(), " server route=a").find("check=passed"), std::string::npos)
          << daemon_->log();
      EXPECT_EQ(daemon_->terminate(), 0);
    }
  }
}

/// Two daemons in a row: the second one tells the server what the first one was told.
TEST_P(ProxyProgramsTest, ThroughTwoDaemons) {
  const std::uint16_t web = free_port();
  const auto nginx =
      start_answering(web, " proxy_protocol", "$proxy_protocol_addr:$proxy_protocol_port");
  start(loopback_address(web),
        "proxy-in = \"required\"\nproxy-trust = \"127.0.0.1\"\n"
        "proxy-out = \"v1\"\n");
  Daemon first(
      {"--listen", "127.0.0.1:0", "--to", loopback_address(daemon_->port()), "--proxy-out", "v2"});
  const Answer answer = ask(first.port());
  EXPECT_EQ(answer.text, answer.client);
}

INSTANTIATE_TEST_SUITE_P(BothEngines, ProxyProgramsTest, testing::ValuesIn(both_engines()),
                         name_of_mode);

}  // namespace
}  // namespace sluice::test
