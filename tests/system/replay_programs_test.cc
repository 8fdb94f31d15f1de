// Real databases, recorded and replayed to fresh ones: in the end both have the same contents.

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/wait.h"
#include "tests/system/postgres.h"
#include "tests/system/programs.h"
#include "tests/system/replay_program.h"
#include "tests/system/replayed.h"

namespace sluice::test {
namespace {

// --- redis

class ReplayRedisTest : public ReplayProgramTest {
 protected:
  [[nodiscard]] std::unique_ptr<Process> redis(std::uint16_t port) const {
    auto server = std::make_unique<Process>(std::vector<std::string>{
        "redis-server", "--port", std::to_string(port), "--bind", "127.0.0.1", "--save", "",
        "--appendonly", "no", "--enable-debug-command", "local", "--dir", folder_.path()});
    wait_for_listener(*server, port);
    return server;
  }
  void benchmark(const std::string& clients, const std::string& tests) const {
    static_cast<void>(run_program({"redis-benchmark", "-h", "127.0.0.1", "-p", entrance(), "-n",
                                   std::to_string(by_scale(500, 2'000, 50'000)), "-c", clients,
                                   "-r", "1000", "-d", "100", "-t", tests, "--csv"}));
  }
  [[nodiscard]] static std::string ask(std::uint16_t port, std::vector<std::string> command) {
    std::vector<std::string> argv{"redis-cli", "-p", std::to_string(port)};
    argv.insert(argv.end(), command.begin(), command.end());
    return run_program(argv);
  }
};

// Several clients at once. The result does not depend on the order of their commands.
TEST_P(ReplayRedisTest, AFreshServerHoldsTheSameKeysAfterwards) {
  for (const char* program : {"redis-server", "redis-cli", "redis-benchmark"}) {
    SLUICE_NEEDS_PROGRAM(program);
  }
  const std::uint16_t first_port = free_port();
  const std::unique_ptr<Process> first = redis(first_port);
  start_recording(first_port);
  benchmark("20", "set,get,incr,lpush,sadd,hset");
  end_recording();
  const std::string digest = ask(first_port, {"DEBUG", "DIGEST"});
  EXPECT_EQ(digest.size(), 41U) << digest;
  EXPECT_NE(ask(first_port, {"DBSIZE"}), "0\n");
  for (const char* speed : {"1x", "max"}) {
    const std::uint16_t port = free_port();
    const std::unique_ptr<Process> fresh = redis(port);
    const Replayed replayed = replay_to(port, {"--speed", speed});
    EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
    EXPECT_EQ(ask(port, {"DEBUG", "DIGEST"}), digest) << speed;
    EXPECT_EQ(ask(port, {"DBSIZE"}), ask(first_port, {"DBSIZE"}));
  }
}

// One client, whose commands come in a fixed order, so every answer is the same, too.
TEST_P(ReplayRedisTest, AFreshServerGivesTheSameAnswers) {
  for (const char* program : {"redis-server", "redis-cli", "redis-benchmark"}) {
    SLUICE_NEEDS_PROGRAM(program);
  }
  const std::uint16_t first_port = free_port();
  const std::unique_ptr<Process> first = redis(first_port);
  start_recording(first_port);
  benchmark("1", "set,get,incr,lpush,rpop,zadd,zpopmin,mset");
  end_recording();
  const std::uint16_t port = free_port();
  const std::unique_ptr<Process> fresh = redis(port);
  const Replayed replayed = replay_to(port, {"--speed", "max", "--wait-responses", "--compare"});
  EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
  EXPECT_EQ(ask(port, {"DEBUG", "DIGEST"}), ask(first_port, {"DEBUG", "DIGEST"}));
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, ReplayRedisTest, testing::ValuesIn(both_engines()),
                         name_of_mode);

// --- nginx

class ReplayNginxTest : public ReplayProgramTest {
 protected:
  static constexpr int kRequests = 30;
  /// That many requests on one connection, one after the other.
  void ask() const {
    static_cast<void>(run_program(
        {"curl", "-q", "--noproxy", "*", "--fail", "--silent", "--show-error", "-o", "/dev/null",
         "http://127.0.0.1:" + entrance() + "/page?[1-" + std::to_string(kRequests) + ']'}));
  }
};

// nginx says in each answer when it is.
TEST_P(ReplayNginxTest, OnlyTheDatesOfTheAnswersDiffer) {
  SLUICE_NEEDS_PROGRAM("nginx");
  SLUICE_NEEDS_PROGRAM("curl");
  static_cast<void>(folder_.write("page", "the page\n"));
  const std::uint16_t port = free_port();
  const std::unique_ptr<Process> server = start_nginx(port, folder_.path());
  start_recording(port);
  ask();
  end_recording();
  const auto recorded = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  ASSERT_TRUE(wait_until(
      [&] { return std::chrono::system_clock::now() >= recorded + std::chrono::seconds(2); }));
  const std::vector<std::string> compares{"--wait-responses", "--compare", "--speed", "max"};
  const Replayed plain = replay_to(port, compares);
  EXPECT_EQ(plain.status, 6) << plain.output << plain.error;
  std::vector<std::string> masks = compares;
  masks.insert(masks.end(), {"--ignore-pattern", "Date: .*"});
  const Replayed masked = replay_to(port, masks);
  EXPECT_EQ(masked.status, 0) << masked.output << masked.error;
}

// "Server: nginx" instead of "Server: nginx/1.22.1". To wait for the missing bytes would take
// hours. An answer leaves in one piece, however busy nginx is: a pause inside would be its end.
TEST_P(ReplayNginxTest, ShorterAnswersHoldUpNothing) {
  SLUICE_NEEDS_PROGRAM("nginx");
  SLUICE_NEEDS_PROGRAM("curl");
  static_cast<void>(folder_.write("page", "the page\n"));
  const std::uint16_t first_port = free_port();
  const std::unique_ptr<Process> first = start_nginx(first_port, folder_.path());
  start_recording(first_port);
  ask();
  end_recording();
  const std::uint16_t port = free_port();
  const std::unique_ptr<Process> other =
      start_nginx(port, folder_.path(), "server_tokens off; tcp_nopush on;");
  const Replayed replayed = replay_to(port, {"--wait-responses", "--compare", "--ignore-pattern",
                                             "Date: .*", "--ignore-pattern", "Server: .*"});
  EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
  EXPECT_EQ(replayed.count("answers_by_silence"), std::uint64_t{kRequests});
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, ReplayNginxTest, testing::ValuesIn(both_engines()),
                         name_of_mode);

// --- postgres

class ReplayPostgresTest : public ReplayProgramTest {
 protected:
  void pgbench(std::vector<std::string> more) const {
    more.insert(more.begin(), {"pgbench", "-h", "127.0.0.1", "-p", entrance(), "-U", "tester"});
    more.emplace_back("postgres");
    static_cast<void>(run_program(more));
  }
  /// A checksum of every table that pgbench fills, without the times of the history.
  [[nodiscard]] static std::string tables(std::uint16_t port) {
    std::string sums;
    for (const char* table : {"(select * from pgbench_accounts)", "(select * from pgbench_tellers)",
                              "(select * from pgbench_branches)",
                              "(select tid, bid, aid, delta from pgbench_history)"}) {
      sums += run_program({"psql", "-h", "127.0.0.1", "-p", std::to_string(port), "-U", "tester",
                           "-At", "-c",
                           "select count(*), md5(string_agg(t::text, '|' order by t::text)) from " +
                               std::string(table) + " t",
                           "postgres"});
    }
    return sums;
  }
};

TEST_P(ReplayPostgresTest, AFreshServerHoldsTheSameRowsAfterwards) {
  for (const char* program : {"initdb", "postgres", "pgbench", "psql"}) {
    SLUICE_NEEDS_PROGRAM(program);
  }
  const TempDir first_folder;
  const Postgres first(first_folder, Postgres::owner());
  start_recording(first.port());
  pgbench({"-i", "-q", "-s", "1"});
  const std::string transactions = std::to_string(by_scale(10, 50, 500));
  pgbench({"-n", "-c", "4", "-j", "2", "-t", transactions, "--random-seed=1"});
  pgbench({"-n", "-c", "1", "-M", "extended", "-t", transactions, "--random-seed=2"});
  pgbench({"-n", "-c", "1", "-M", "prepared", "-t", transactions, "--random-seed=3"});
  end_recording();
  const TempDir fresh_folder;
  const Postgres fresh(fresh_folder, Postgres::owner());
  const Replayed replayed = replay_to(fresh.port(), {"--wait-responses", "--speed", "max"});
  EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
  const std::string rows = tables(first.port());
  EXPECT_EQ(tables(fresh.port()), rows);
  EXPECT_EQ(rows.find("100000|"), 0U) << rows;
}

// Only the key for cancelling differs, since each server draws a random one.
TEST_P(ReplayPostgresTest, OnlyTheCancelKeyOfTheAnswersDiffers) {
  for (const char* program : {"initdb", "postgres", "psql"}) {
    SLUICE_NEEDS_PROGRAM(program);
  }
  const TempDir first_folder;
  const Postgres first(first_folder, Postgres::owner());
  start_recording(first.port());
  static_cast<void>(run_program({"psql", "-h", "127.0.0.1", "-p", entrance(), "-U", "tester", "-c",
                                 "create table t (n int); insert into t select generate_series(1, "
                                 "1000); select * from t",
                                 "postgres"}));
  end_recording();
  const TempDir fresh_folder;
  const TempDir another_folder;
  const Postgres fresh(fresh_folder, Postgres::owner());
  const Replayed replayed = replay_to(fresh.port(), {"--wait-responses", "--compare"});
  EXPECT_EQ(replayed.status, 6) << replayed.output << replayed.error;
  const json::value& difference = replayed.report.at("compare").at("differences").at(0);
  const auto number = [&](const char* key) {
    return difference.at(key).to_number<std::uint64_t>();
  };
  EXPECT_EQ(number("then_bytes"), number("now_bytes"));
  constexpr std::uint64_t kKeyBytes = 8;  // a process's number and a secret
  EXPECT_LT(number("last") - number("first"), kKeyBytes);
  // With these bytes ignored, no difference is left.
  const Postgres another(another_folder, Postgres::owner());
  const std::uint64_t from = number("last") - (kKeyBytes - 1);
  const Replayed without = replay_to(
      another.port(), {"--wait-responses", "--compare", "--ignore",
                       std::to_string(from) + '+' + std::to_string(kKeyBytes + kKeyBytes)});
  EXPECT_EQ(without.status, 0) << without.output << without.error;
}

/// A database in which clients of loopback prove by this method who they are.
class AskingPostgres {
 public:
  explicit AskingPostgres(const std::string& method) : server_(folder_, Postgres::owner()) {
    static_cast<void>(query("alter user tester password 'sesame'"));
    // The file stays the server's.
    static_cast<void>(
        folder_.write("data/pg_hba.conf", "host all all 127.0.0.1/32 " + method + '\n'));
    static_cast<void>(query("select pg_reload_conf()"));
    EXPECT_TRUE(
        wait_until([&] { return logged_in_without() == (method == "trust"); }, kProgramPatience));
  }
  [[nodiscard]] std::uint16_t port() const { return server_.port(); }
  [[nodiscard]] Postgres& server() { return server_; }
  [[nodiscard]] std::string query(const std::string& text) const { return ask(port(), text); }
  /// Asks at this port, with the password, and not for TLS.
  [[nodiscard]] static std::string ask(std::uint16_t port, const std::string& text) {
    ProcessOptions options;
    options.environment = {"PGPASSWORD=sesame", "PGSSLMODE=disable"};
    return run_program({"psql", "-h", "127.0.0.1", "-p", std::to_string(port), "-U", "tester",
                        "-At", "-c", text, "postgres"},
                       options);
  }

 private:
  [[nodiscard]] bool logged_in_without() const {
    return Process({"psql", "-w", "-h", "127.0.0.1", "-p", std::to_string(port()), "-U", "tester",
                    "-c", "select 1", "postgres"})
               .wait(kProgramPatience) == 0;
  }
  TempDir folder_;
  Postgres server_;
};

constexpr char kTables[] = "select count(*) from pg_tables where tablename = 'made'";

// Debian's default. The recorded answer to one challenge is wrong for another, and out of place
// where there is none.
TEST_P(ReplayPostgresTest, AnswersToChallengesAreNoGoodForAnotherServer) {
  for (const char* program : {"initdb", "postgres", "psql"}) SLUICE_NEEDS_PROGRAM(program);
  const AskingPostgres first("scram-sha-256");
  start_recording(first.port());
  static_cast<void>(AskingPostgres::ask(daemon_->port(), "create table made (n int)"));
  end_recording();
  for (const char* method : {"scram-sha-256", "trust"}) {
    const AskingPostgres fresh(method);
    const Replayed replayed = replay_to(fresh.port(), {"--wait-responses"});
    EXPECT_EQ(replayed.status, 1) << replayed.output << replayed.error;
    EXPECT_EQ(fresh.query(kTables), "0\n") << method;
  }
}

// What README.md recommends. The mirror's server sees everything at once: it is as late as it can
// be.
TEST_P(ReplayPostgresTest, APasswordInTheClearOrNoneIsReplayedAndMirrored) {
  for (const char* program : {"initdb", "postgres", "psql"}) SLUICE_NEEDS_PROGRAM(program);
  for (const char* method : {"password", "trust"}) {
    directory_ = folder_.file(method);
    const AskingPostgres first(method);
    AskingPostgres mirror(method);
    start_recording(first.port(), {"--mirror", loopback_address(mirror.port())});
    mirror.server().suspend();
    static_cast<void>(AskingPostgres::ask(daemon_->port(), "create table made (n int)"));
    mirror.server().resume();
    EXPECT_TRUE(wait_until([&] { return mirror.query(kTables) == "1\n"; }, kProgramPatience));
    end_recording();
    const AskingPostgres fresh(method);
    const Replayed replayed = replay_to(
        fresh.port(),
        {"--wait-responses", "--compare", "--ignore-pattern", "(?s)K\\x00\\x00\\x00\\x0c.{8}"});
    EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
    EXPECT_EQ(fresh.query(kTables), "1\n");
  }
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, ReplayPostgresTest, testing::ValuesIn(both_engines()),
                         name_of_mode);

}  // namespace
}  // namespace sluice::test
