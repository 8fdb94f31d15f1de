// Real databases behind the real binary: redis-server with redis-benchmark and redis-cli, postgres
// with pgbench and psql.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstddef>
#include <span>
#include <vector>

#include "tests/support/pattern.h"
#include "tests/system/postgres.h"
#include "tests/system/programs.h"

namespace sluice::test {
namespace {

// --- redis

class RedisTest : public ProgramTest {
 protected:
  /// redis-cli's answer, without the newline that it adds. `input` becomes the last argument.
  [[nodiscard]] static std::string ask(const std::string& port, std::vector<std::string> command,
                                       int input = -1) {
    std::vector<std::string> argv{"redis-cli", "-h", "127.0.0.1", "-p", port, "--raw"};
    if (input >= 0) argv.emplace_back("-x");
    argv.insert(argv.end(), command.begin(), command.end());
    std::string answer = run_program(argv, with_streams(input, -1));
    if (answer.ends_with('\n')) answer.pop_back();
    return answer;
  }
};

/// The number of calls of a command that the server reports.
std::uint64_t served_calls(const std::string& statistics, const std::string& command) {
  const std::string key = "cmdstat_" + command + ":calls=";
  const std::size_t at = statistics.find(key);
  return at == std::string::npos ? 0 : std::stoull(statistics.substr(at + key.size()));
}

TEST_P(RedisTest, BenchmarkedAndItsValuesSurvive) {
  SLUICE_NEEDS_PROGRAM("redis-server");
  SLUICE_NEEDS_PROGRAM("redis-benchmark");
  SLUICE_NEEDS_PROGRAM("redis-cli");
  const std::uint16_t port = free_port();
  const std::string direct = std::to_string(port);
  const auto server = start_redis(port);
  start_before(port);

  const auto requests = by_scale<std::uint64_t>(2'000, 20'000, 500'000);
  constexpr std::size_t kValueBytes = 1000;
  const std::string report = run_program(
      {"redis-benchmark", "-h", "127.0.0.1", "-p", entrance(), "-n", std::to_string(requests), "-c",
       "50", "-d", std::to_string(kValueBytes), "-t", "set,get,lpush,lrange_100", "--csv"});
  EXPECT_EQ(report.find("ERR"), std::string::npos) << report;
  const std::string statistics = ask(direct, {"INFO", "commandstats"});
  for (const char* command : {"set", "get", "lpush", "lrange"}) {
    EXPECT_GE(served_calls(statistics, command), requests) << command << '\n' << statistics;
  }
  EXPECT_EQ(ask(direct, {"STRLEN", "key:__rand_int__"}), std::to_string(kValueBytes));

  // A value that is spliced in both directions, and is the same on both sides of the daemon.
  std::string value(by_scale<std::size_t>(2 << 20, 16 << 20, 64 << 20), '\0');
  Pattern(seed()).fill(0, std::as_writable_bytes(std::span(value)));
  folder_.write("value", value);
  const OwnedFd input(::open(folder_.file("value").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(ask(entrance(), {"SET", "large"}, input.get()), "OK");
  EXPECT_TRUE(ask(direct, {"GET", "large"}) == value) << "it was changed on its way in";
  EXPECT_TRUE(ask(entrance(), {"GET", "large"}) == value) << "it was changed on its way out";
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, RedisTest, testing::ValuesIn(both_engines()), name_of_mode);

// --- postgres

class PostgresTest : public ProgramTest {
 protected:
  [[nodiscard]] static std::string query(const std::string& port, const std::string& text) {
    return run_program({"psql", "-X", "-A", "-t", "-h", "127.0.0.1", "-p", port, "-U", "tester",
                        "-d", "postgres", "-c", text});
  }
  [[nodiscard]] std::string pgbench(const std::vector<std::string>& more) const {
    std::vector<std::string> argv{"pgbench", "-h", "127.0.0.1", "-p", entrance(), "-U", "tester"};
    argv.insert(argv.end(), more.begin(), more.end());
    argv.emplace_back("postgres");
    return run_program(argv);
  }
};

TEST_P(PostgresTest, PgbenchLosesNoTransaction) {
  for (const char* program : {"initdb", "postgres", "pgbench", "psql"}) {
    SLUICE_NEEDS_PROGRAM(program);
  }
  const Postgres database(folder_, Postgres::owner());
  const std::string direct = std::to_string(database.port());
  start_before(database.port());
  static_cast<void>(pgbench({"-i", "-q", "-s", "1"}));
  EXPECT_EQ(query(direct, "SELECT count(*) FROM pgbench_accounts"), "100000\n");

  constexpr int kClients = 8;
  const int each = by_scale(20, 200, 2000);
  const std::string all = std::to_string(kClients * each);
  const std::string report =
      pgbench({"-n", "-c", std::to_string(kClients), "-j", "2", "-t", std::to_string(each)});
  EXPECT_NE(report.find("actually processed: " + all + "/" + all), std::string::npos) << report;
  const std::string books =
      "SELECT (SELECT count(*) FROM pgbench_history),"
      " (SELECT sum(delta) FROM pgbench_history) = (SELECT sum(abalance) FROM pgbench_accounts),"
      " (SELECT sum(delta) FROM pgbench_history) = (SELECT sum(tbalance) FROM pgbench_tellers)";
  EXPECT_EQ(query(direct, books), all + "|t|t\n");

  // A long row, through the daemon and directly.
  const std::string row = "SELECT string_agg(md5(i::text), '') FROM generate_series(1, 200000) i";
  const std::string through = query(entrance(), row);
  EXPECT_EQ(through.size(), 200'000U * 32 + 1);
  EXPECT_TRUE(through == query(direct, row));
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, PostgresTest, testing::ValuesIn(both_engines()),
                         name_of_mode);

}  // namespace
}  // namespace sluice::test
