// What holds for every file of tools/deploy/examples, and those for databases with real servers.
// Only addresses and intervals are replaced.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/example.h"
#include "tests/system/outcome.h"
#include "tests/system/postgres.h"
#include "tests/system/programs.h"

namespace sluice::test {
namespace {

/// What a client printed, without the last newline. It can fail.
std::string answer_of(const std::vector<std::string>& argv) {
  Process client(argv);
  static_cast<void>(client.wait(kProgramPatience));
  std::string answer = client.standard_output();
  if (answer.ends_with('\n')) answer.pop_back();
  return answer;
}

/// A process that is stopped, and killed at the end of the scope.
class Frozen {
 public:
  explicit Frozen(pid_t pid) : pid_(pid) { ::kill(pid_, SIGSTOP); }
  ~Frozen() { ::kill(pid_, SIGKILL); }
  Frozen(const Frozen&) = delete;
  Frozen& operator=(const Frozen&) = delete;

 private:
  pid_t pid_;
};

class ExamplesTest : public ExampleTest {
 protected:
  /// Starts a daemon whose checks are ten times as frequent.
  void start_checking(const std::string& name, Replacements replaced, std::size_t listeners) {
    replaced.emplace_back("1s", "100ms");
    start_example(name, replaced, listeners);
  }
  [[nodiscard]] bool is_logged(const std::string& event, std::uint16_t port) {
    return daemon_->wait_for_log(Regex(event + " route=.* server=" + loopback_address(port)));
  }
};

TEST_P(ExamplesTest, EachIsAcceptedAndListed) {
  const std::string list = read_text(example_folder() / "README.md");
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(example_folder())) {
    if (entry.path().extension() != ".toml") continue;
    ++count;
    // A list that the example tells to make.
    const std::string deny = folder_.write("deny.txt", "");
    const std::string text =
        Regex("file:/etc/sluice/deny.txt").replaced(read_text(entry.path()), "file:" + deny);
    const std::string file = folder_.write(entry.path().filename().string(), text);
    const Outcome outcome = run_to_end({"--config", file, "--check"});
    EXPECT_EQ(outcome.status, 0) << entry.path() << '\n' << outcome.output << outcome.error;
    EXPECT_NE(list.find(entry.path().filename()), list.npos) << entry.path();
  }
  EXPECT_GE(count, 7U);
}

// --- PostgreSQL

std::string ask_postgres(std::uint16_t port, const std::string& query) {
  return answer_of({"psql", "-X", "-A", "-t", "-q", "-h", "127.0.0.1", "-p", std::to_string(port),
                    "-U", "tester", "-d", "postgres", "-c", query});
}

// The role of the server, and which it is.
constexpr const char* kWhich = "SELECT pg_is_in_recovery() || ' ' || inet_server_port()";
std::string primary_at(std::uint16_t port) { return "false " + std::to_string(port); }
std::string standby_at(std::uint16_t port) { return "true " + std::to_string(port); }

TEST_P(ExamplesTest, APostgresStandbyServesWhileThePrimaryIsAway) {
  for (const char* program : {"initdb", "postgres", "pg_basebackup", "psql"}) {
    SLUICE_NEEDS_PROGRAM(program);
  }
  Postgres primary(folder_, Postgres::owner());
  const auto standby = primary.make_standby(folder_);
  start_checking("postgres-standby.toml",
                 {{"10.0.0.2:5432", loopback_address(primary.port())},
                  {"10.0.0.3:5432", loopback_address(standby->port())}},
                 1);
  const auto which = [this] { return ask_postgres(daemon_->port(), kWhich); };
  EXPECT_EQ(which(), primary_at(primary.port()));

  // A session whose process hangs: nothing but the checks can end it.
  Process session({"psql", "-X", "-A", "-t", "-h", "127.0.0.1", "-p", entrance(), "-U", "tester",
                   "-d", "postgres", "-c", "SELECT pg_backend_pid()", "-c",
                   "SELECT pg_sleep(1000)"});
  const auto backend = session.wait_for_output_line(Regex("^[0-9]+$"), 0, kProgramPatience);
  ASSERT_TRUE(backend) << session.standard_error();
  {
    const Frozen hangs(std::stoi(*backend));
    primary.kill();
    for (int i = 0; i < 20; ++i) EXPECT_EQ(which(), standby_at(standby->port())) << i;
    EXPECT_NE(session.wait(), std::nullopt) << "the session does not end";
    EXPECT_TRUE(daemon_->wait_for_log(Regex("reason=server_down")));
  }
  EXPECT_EQ(ask_postgres(daemon_->port(), "SHOW transaction_read_only"), "on");

  primary.start();
  EXPECT_TRUE(is_logged("server_up", primary.port()));
  EXPECT_EQ(which(), primary_at(primary.port()));
}

TEST_P(ExamplesTest, ClientsFollowThePostgresPrimary) {
  for (const char* program : {"initdb", "postgres", "pg_basebackup", "psql"}) {
    SLUICE_NEEDS_PROGRAM(program);
  }
  Postgres primary(folder_, Postgres::owner());
  EXPECT_EQ(ask_postgres(primary.port(), "CREATE ROLE sluice_check LOGIN CONNECTION LIMIT 10"), "");
  const auto standby = primary.make_standby(folder_);
  const std::string logged = primary.log();
  start_checking("postgres-primary.toml",
                 {{"10.0.0.2:5432", loopback_address(primary.port())},
                  {"10.0.0.3:5432", loopback_address(standby->port())}},
                 1);
  const auto which = [this] { return ask_postgres(daemon_->port(), kWhich); };
  EXPECT_TRUE(is_logged("server_down", standby->port()));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(which(), primary_at(primary.port())) << i;
  EXPECT_EQ(primary.log(), logged) << "checks leave no lines";

  primary.kill();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(which(), standby_at(standby->port())) << i;
  EXPECT_EQ(ask_postgres(standby->port(), "SELECT pg_promote()"), "t");
  EXPECT_TRUE(is_logged("server_up", standby->port()));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(which(), primary_at(standby->port())) << i;
}

// --- Redis

std::string ask_redis(std::uint16_t port, const std::vector<std::string>& command) {
  std::vector<std::string> argv{"redis-cli",          "-h",   "127.0.0.1", "-p",
                                std::to_string(port), "--raw"};
  argv.insert(argv.end(), command.begin(), command.end());
  return answer_of(argv);
}

void replicate(std::uint16_t port, std::uint16_t primary) {
  EXPECT_EQ(ask_redis(port, {"REPLICAOF", "127.0.0.1", std::to_string(primary)}), "OK");
}

void promote(std::uint16_t port) { EXPECT_EQ(ask_redis(port, {"REPLICAOF", "NO", "ONE"}), "OK"); }

using Reached = std::map<std::string, int>;
constexpr int kConnections = 20;
/// How many of that many connections each server gets, by its port.
Reached redis_reached(std::uint16_t port) {
  Reached counts;
  for (int i = 0; i < kConnections; ++i) {
    const std::string answer = ask_redis(port, {"CONFIG", "GET", "port"});
    ++counts[answer.substr(answer.rfind('\n') + 1)];
  }
  return counts;
}

class RedisExampleTest : public ExamplesTest {
 protected:
  /// Starts a primary and two replicas, waits until these have its data, and starts the daemon.
  void start_all() {
    for (std::size_t i = 0; i < 3; ++i) {
      ports_.push_back(free_port());
      servers_.push_back(start_redis(ports_[i], {"--repl-diskless-sync-delay", "0"}));
      if (i > 0) replicate(ports_[i], ports_[0]);
    }
    ASSERT_TRUE(is_in_sync(1) && is_in_sync(2));
    start_checking("redis.toml",
                   {{"10.0.0.2:6379", loopback_address(ports_[0])},
                    {"10.0.0.3:6379", loopback_address(ports_[1])},
                    {"10.0.0.4:6379", loopback_address(ports_[2])}},
                   2);
    EXPECT_TRUE(is_logged("server_down", ports_[1])) << "it is not the primary";
    EXPECT_TRUE(is_logged("server_down", ports_[2]));
    writes_ = daemon_->port_of("writes");
    reads_ = daemon_->port_of("reads");
  }
  [[nodiscard]] bool is_in_sync(std::size_t server) {
    return wait_until([&] {
      const std::string role = ask_redis(ports_[server], {"INFO", "replication"});
      return role.find("master_link_status:up") != role.npos;
    });
  }
  void kill(std::size_t server) {
    servers_[server]->signal(SIGKILL);
    EXPECT_TRUE(servers_[server]->wait());
  }
  [[nodiscard]] bool writes_a_key() const {
    return ask_redis(writes_, {"SET", "key", "value"}) == "OK";
  }
  /// All of them to this server.
  [[nodiscard]] Reached all_to(std::size_t server) const {
    return {{std::to_string(ports_[server]), kConnections}};
  }

  std::vector<std::uint16_t> ports_;
  std::vector<std::unique_ptr<Process>> servers_;
  std::uint16_t writes_ = 0;
  std::uint16_t reads_ = 0;
};

TEST_P(RedisExampleTest, WritesFollowThePrimary) {
  SLUICE_NEEDS_PROGRAM("redis-server");
  SLUICE_NEEDS_PROGRAM("redis-cli");
  ASSERT_NO_FATAL_FAILURE(start_all());
  EXPECT_TRUE(writes_a_key());
  EXPECT_EQ(redis_reached(writes_), all_to(0));

  kill(0);
  EXPECT_FALSE(writes_a_key());
  promote(ports_[1]);
  replicate(ports_[2], ports_[1]);
  EXPECT_TRUE(is_logged("server_up", ports_[1]));
  EXPECT_TRUE(writes_a_key());
  EXPECT_EQ(redis_reached(writes_), all_to(1));

  // A switchover ends the connections to the server that was the primary.
  ASSERT_TRUE(is_in_sync(2));
  const OwnedFd session = connect_tcp(writes_);
  EXPECT_TRUE(send_all(session.get(), "PING\r\n"));
  EXPECT_EQ(receive_text(session.get(), 7), "+PONG\r\n");
  promote(ports_[2]);
  replicate(ports_[1], ports_[2]);
  EXPECT_EQ(ending_of(session.get()), Ending::reset);
  EXPECT_TRUE(daemon_->wait_for_log(Regex("route=writes .*reason=server_down")));
  EXPECT_TRUE(is_logged("server_up", ports_[2]));
  EXPECT_TRUE(writes_a_key());
  EXPECT_EQ(redis_reached(writes_), all_to(2));
}

TEST_P(RedisExampleTest, ReadsAreSpreadOverTheReplicas) {
  SLUICE_NEEDS_PROGRAM("redis-server");
  SLUICE_NEEDS_PROGRAM("redis-cli");
  ASSERT_NO_FATAL_FAILURE(start_all());
  const Reached spread = redis_reached(reads_);
  EXPECT_EQ(spread.size(), 2U);
  EXPECT_FALSE(spread.contains(std::to_string(ports_[0])));
  kill(1);
  EXPECT_EQ(redis_reached(reads_), all_to(2));
  kill(2);
  EXPECT_EQ(redis_reached(reads_), all_to(0));
  EXPECT_TRUE(writes_a_key());
  EXPECT_EQ(ask_redis(reads_, {"GET", "key"}), "value");
}

INSTANTIATE_TEST_SUITE_P(OneEngine, RedisExampleTest, testing::Values(Mode{"auto", "auto"}),
                         name_of_mode);
INSTANTIATE_TEST_SUITE_P(OneEngine, ExamplesTest, testing::Values(Mode{"auto", "auto"}),
                         name_of_mode);

}  // namespace
}  // namespace sluice::test
