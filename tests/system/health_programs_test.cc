// Checks of real servers, which must not see the half-open ones.

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/outcome.h"
#include "tests/system/postgres.h"
#include "tests/system/programs.h"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;

class HealthProgramsTest : public ProgramTest {
 protected:
  void TearDown() override {
    // A check that is under way has a descriptor, so they are not counted.
    if (!daemon_) return;
    EXPECT_EQ(daemon_->terminate(), 0);
  }
  /// Starts a daemon that checks this server every 20 ms, and waits for at least 20 checks.
  void check_often(std::uint16_t port, const std::string& health) {
    const std::string file = folder_.write(
        "health.toml", "[[route]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\nto = \"" +
                           loopback_address(port) + "\"\nhealth-interval = \"20ms\"\n" + health);
    daemon_ = std::make_unique<Daemon>(std::vector<std::string>{"--config", file});
    std::this_thread::sleep_for(800ms);
    static_cast<void>(counters_of(*daemon_));
    const LogFields server = parse_text_line(line_of(daemon_->log(), " server route=a"));
    EXPECT_EQ(server.at("state"), "up");
    EXPECT_EQ(server.at("check"), "passed");
    EXPECT_LT(std::stod(server.at("check_age")), 0.5);
  }
};

TEST_P(HealthProgramsTest, NginxLogsNoHalfOpenCheck) {
  SLUICE_NEEDS_PROGRAM("nginx");
  const std::uint16_t port = free_port();
  const std::string text =
      "daemon off; master_process off; pid nginx.pid; error_log stderr info;\n"
      "events { worker_connections 64; }\nhttp { access_log access; server { listen " +
      loopback_address(port) + "; return 200 yes; } }\n";
  Process nginx(std::vector<std::string>{"nginx", "-e", "stderr", "-p", folder_.path(), "-c",
                                         folder_.write("nginx.conf", text)});
  wait_for_listener(nginx, port);
  const auto told_of_clients = [&] { return count_lines(nginx.standard_error(), Regex("client")); };
  check_often(port, "health = \"tcp\"\n");
  EXPECT_EQ(told_of_clients(), 0U) << nginx.standard_error();
  EXPECT_EQ(read_text(folder_.file("access")), "");
  EXPECT_EQ(daemon_->terminate(), 0);
  check_often(port,
              "health = \"exchange\"\nhealth-send = \"GET / HTTP/1.0\\r\\n\\r\\n\"\n"
              "health-expect = \"200 OK\"\n");
  EXPECT_GE(count_lines(read_text(folder_.file("access")), Regex("GET / HTTP/1.0\" 200")), 20U);
  EXPECT_EQ(told_of_clients(), 0U) << nginx.standard_error();
}

TEST_P(HealthProgramsTest, RedisCountsNoHalfOpenCheck) {
  SLUICE_NEEDS_PROGRAM("redis-server");
  SLUICE_NEEDS_PROGRAM("redis-cli");
  const std::uint16_t port = free_port();
  const auto redis = start_redis(port);
  const auto connections = [&] {
    const std::string stats =
        run_program({"redis-cli", "-h", "127.0.0.1", "-p", std::to_string(port), "INFO", "stats"});
    const std::string key = "total_connections_received:";
    return std::stoi(stats.substr(stats.find(key) + key.size()));
  };
  const int before = connections();
  check_often(port, "health = \"tcp\"\n");
  EXPECT_EQ(connections(), before + 1) << "that of the question itself";
  EXPECT_EQ(daemon_->terminate(), 0);
  check_often(port,
              "health = \"exchange\"\nhealth-send = \"PING\\r\\n\"\n"
              "health-expect = \"+PONG\"\n");
  EXPECT_GE(connections(), before + 20);
}

TEST_P(HealthProgramsTest, PostgresLogsNoHalfOpenCheck) {
  SLUICE_NEEDS_PROGRAM("postgres");
  SLUICE_NEEDS_PROGRAM("initdb");
  const Postgres postgres(folder_, Postgres::owner(), {"-c", "log_connections=on"});
  const std::string before = postgres.log();
  check_often(postgres.port(), "health = \"tcp\"\n");
  EXPECT_EQ(postgres.log(), before);
}

// The checks have an event loop of their own, whatever the engine is.
INSTANTIATE_TEST_SUITE_P(OneEngine, HealthProgramsTest, testing::Values(Mode{"epoll", "auto"}),
                         name_of_mode);

}  // namespace
}  // namespace sluice::test
