// TLS clients as they are, routed by the name that they ask for.

#include <gtest/gtest.h>
#include <signal.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/system/outcome.h"
#include "tests/system/programs.h"

namespace sluice::test {
namespace {

/// Two HTTPS servers of nginx behind one address, and an SSH server that speaks first.
class RoutingProgramsTest : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    SLUICE_NEEDS_PROGRAM("nginx");
    SLUICE_NEEDS_PROGRAM("openssl");
    make_certificate();
    std::string servers;
    for (const char* name : {"one", "two"}) {
      ports_.push_back(free_port());
      servers += " server { listen " + loopback_address(ports_.back()) +
                 " ssl http2; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate " +
                 folder_.file("certificate") + "; ssl_certificate_key " + folder_.file("key") +
                 "; return 200 \"" + name + "\"; }\n";
    }
    nginx_ = std::make_unique<Process>(std::vector<std::string>{
        "nginx", "-e", "stderr", "-p", folder_.path(), "-c",
        folder_.write("nginx.conf",
                      "daemon off; master_process off; pid nginx.pid; error_log stderr warn;\n"
                      "events { worker_connections 64; }\nhttp { access_log off;\n" +
                          servers + "}\n")});
    for (const std::uint16_t port : ports_) wait_for_listener(*nginx_, port);
    banner_ = listen_tcp();
    const std::string file = folder_.write(
        "edge.toml", "[defaults]\nengine = \"" + GetParam().engine +
                         "\"\n[[route]]\nname = \"edge\"\nlisten = \"127.0.0.1:0\"\nto = \"" +
                         loopback_address(banner_.port) +
                         "\"\npeek-timeout = \"500ms\"\n"
                         "[[route.match]]\nsni = \"one.example\"\nroute = \"one\"\n"
                         "[[route.match]]\nsni = \"*.example\"\nroute = \"two\"\n"
                         "[[route.match]]\nalpn = \"acme-tls/1\"\nroute = \"one\"\n"
                         "[[route]]\nname = \"one\"\nto = \"" +
                         loopback_address(ports_[0]) + "\"\n[[route]]\nname = \"two\"\nto = \"" +
                         loopback_address(ports_[1]) + "\"\n");
    daemon_ = std::make_unique<Daemon>(std::vector<std::string>{"--config", file});
  }
  void TearDown() override {
    if (!daemon_) return;
    if (HasFailure()) std::printf("the daemon's log:\n%s\n", daemon_->log().c_str());
    EXPECT_EQ(daemon_->terminate(), 0);
  }

  std::vector<std::uint16_t> ports_;
  std::unique_ptr<Process> nginx_;
  Listener banner_;
};

TEST_P(RoutingProgramsTest, CurlComesToTheServerThatItNames) {
  SLUICE_NEEDS_PROGRAM("curl");
  std::size_t ends = 0;
  for (const auto& [name, answer] : std::vector<std::pair<std::string, std::string>>{
           {"one.example", "one"}, {"a.b.example", "two"}, {"ONE.EXAMPLE", "one"}}) {
    for (const char* version : {"--http1.1", "--http2"}) {
      EXPECT_EQ(run_program({"curl", "-s", "-S", "-k", version, "--connect-to",
                             "::127.0.0.1:" + entrance(), "https://" + name + "/"}),
                answer)
          << name << " " << version;
      EXPECT_EQ(last_end(++ends).at("route"), answer);
    }
  }
}

TEST_P(RoutingProgramsTest, OpensslOfEveryVersion) {
  std::size_t ends = 0;
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    for (const std::string name : {"one.example", "x.example"}) {
      const std::string said = run_program(
          {"sh", "-c",
           "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -connect 127.0.0.1:" +
               entrance() + " -servername " + name + " " + version + " 2>&1; true"});
      const std::string answer = name == "one.example" ? "one" : "two";
      EXPECT_TRUE(said.ends_with(answer)) << said;
      const LogFields end = last_end(++ends);
      EXPECT_EQ(end.at("route"), answer);
      EXPECT_EQ(end.at("sni"), name);
    }
  }
}

TEST_P(RoutingProgramsTest, GnutlsWithProtocols) {
  SLUICE_NEEDS_PROGRAM("gnutls-cli");
  const std::string said = run_program(
      {"sh", "-c",
       "(printf 'GET / HTTP/1.0\\r\\n\\r\\n'; sleep 1) | gnutls-cli --insecure --disable-sni "
       "--alpn acme-tls/1 --alpn http/1.1 -p " +
           entrance() + " 127.0.0.1 2>/dev/null || true"});
  EXPECT_EQ(last_end(1).at("route"), "one") << said;
}

// Its hello is larger than a segment of Ethernet, since it has a key share of a post-quantum
// exchange.
TEST_P(RoutingProgramsTest, ChromiumComesToTheServerThatItNames) {
  SLUICE_NEEDS_PROGRAM("chromium");
  for (const auto& [name, answer] : std::vector<std::pair<std::string, std::string>>{
           {"one.example", "one"}, {"a.example", "two"}}) {
    const std::string page = run_program(
        {"chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--disable-dev-shm-usage", "--disable-breakpad", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--user-data-dir=" + folder_.file("chromium-" + name), "--ignore-certificate-errors",
         "--host-resolver-rules=MAP *.example 127.0.0.1:" + entrance(), "--dump-dom",
         "https://" + name + "/"});
    EXPECT_NE(page.find(">" + answer + "<"), std::string::npos) << page;
    // It may open more connections than one.
    EXPECT_TRUE(daemon_->wait_for_log(Regex("route=" + answer + " .*sni=" + name)))
        << daemon_->log();
  }
  EXPECT_EQ(count_lines(daemon_->log(), Regex("route=edge ")), 1U)
      << "only the address, at the start";
}

INSTANTIATE_TEST_SUITE_P(BothEngines, RoutingProgramsTest, testing::ValuesIn(both_engines()),
                         name_of_mode);

}  // namespace
}  // namespace sluice::test
