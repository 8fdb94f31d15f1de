// Test suites of other projects, through the daemon, and replayed to fresh servers: answers differ
// only in what each server makes anew.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/support/regex.h"
#include "tests/system/postgres.h"
#include "tests/system/programs.h"
#include "tests/system/replay_program.h"
#include "tests/system/replayed.h"

namespace sluice::test {
namespace {

// --- memcached: libmemcached's suite for servers, of both protocols

class ReplayMemcachedTest : public ReplayProgramTest {
 protected:
  [[nodiscard]] std::unique_ptr<Process> memcached(std::uint16_t port) const {
    auto server = std::make_unique<Process>(std::vector<std::string>{
        "memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", std::to_string(port)});
    wait_for_listener(*server, port);
    return server;
  }
};

// Only what `stat` answers differs: the process, its times, its memory, and counters that depend on
// in which second something came. Its rows are lines or, in the binary protocol, messages.
TEST_P(ReplayMemcachedTest, OnlyTheStatisticsOfItsSuiteDiffer) {
  SLUICE_NEEDS_PROGRAM("memcached");
  SLUICE_NEEDS_PROGRAM("memccapable");
  const std::uint16_t first_port = free_port();
  const std::unique_ptr<Process> first = memcached(first_port);
  start_recording(first_port);
  const std::string report = run_program({"memccapable", "-h", "127.0.0.1", "-p", entrance()});
  EXPECT_NE(report.find("All tests passed"), std::string::npos) << report;
  EXPECT_GT(count_lines(report, Regex("\\[pass\\]")), 50U) << report;
  end_recording();
  const std::vector<std::string> compares{"--wait-responses", "--compare", "--speed", "max"};
  const std::uint16_t second_port = free_port();
  const std::unique_ptr<Process> second = memcached(second_port);
  EXPECT_EQ(replay_to(second_port, compares).status, 6) << "processes have other numbers";
  std::vector<std::string> masks = compares;
  masks.insert(masks.end(),
               {"--ignore-pattern", "STAT .*", "--ignore-pattern", "(?s)\\x81\\x10.{22}[^\\x81]*"});
  const std::uint16_t third_port = free_port();
  const std::unique_ptr<Process> third = memcached(third_port);
  const Replayed replayed = replay_to(third_port, masks);
  EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
  EXPECT_EQ(replayed.report.at("compare").at("connections").to_number<int>(), 5);
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, ReplayMemcachedTest, testing::ValuesIn(both_engines()),
                         name_of_mode);

// --- PostgreSQL: SQLAlchemy's suite for dialects

// Debian's packages are for Debian's Python.
constexpr char kPython[] = "/usr/bin/python3";

// The suite asks in one connection for what others have made. A replay keeps the order of
// connections that do not overlap, so each use gets a connection of its own, and the next one
// begins once the server, asked directly, has ended it.
constexpr char kConfiguration[] = R"(import os
import time

import psycopg2
from sqlalchemy import pool
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.testing.plugin.pytestplugin import *

server = psycopg2.connect(host="127.0.0.1", port=os.environ["SERVER"], user="tester", dbname="postgres")
server.autocommit = True


def close(dialect, connection):
    number = connection.info.backend_pid
    connection.close()
    with server.cursor() as cursor:
        while True:
            cursor.execute("select from pg_stat_activity where pid = %s", (number,))
            if cursor.rowcount == 0:
                return
            time.sleep(0.001)


PGDialect_psycopg2.get_pool_class = classmethod(lambda dialect, url: pool.NullPool)
PGDialect_psycopg2.do_close = PGDialect_psycopg2.do_terminate = close
)";

class ReplayAlchemyTest : public ReplayProgramTest {
 protected:
  [[nodiscard]] static std::unique_ptr<Postgres> database(const TempDir& folder) {
    auto server = std::make_unique<Postgres>(folder, Postgres::owner());
    static_cast<void>(run_program({"psql", "-h", "127.0.0.1", "-p", std::to_string(server->port()),
                                   "-U", "tester", "-c", "create schema test_schema", "postgres"}));
    return server;
  }
};

/// The suite, as it runs through `port` to `server`.
class AlchemySuite {
 public:
  AlchemySuite(std::uint16_t port, const Postgres& server)
      : process_(arguments(port), options(server)) {}

  /// The outcome of each test, once all are over. Some fail, with sluice or without it, since the
  /// dialect is of another version.
  [[nodiscard]] std::string outcomes() {
    EXPECT_TRUE(process_.wait(kSuitePatience).has_value());
    std::string outcomes;
    const Regex outcome("^(test_suite.py::.* (PASSED|FAILED|SKIPPED|ERROR))");
    for (const std::string& line : lines_with(process_.standard_output(), outcome)) {
      outcomes += outcome.first_in(line).at(1) + '\n';
    }
    EXPECT_GT(count_lines(outcomes, Regex("PASSED")), 300U)
        << process_.standard_output() << process_.standard_error();
    return outcomes;
  }

 private:
  // Two classes ask for a table while the connection that makes it is open: only time orders them.
  [[nodiscard]] static std::vector<std::string> arguments(std::uint16_t port) {
    return {
        kPython,   "-B",
        "-m",      "pytest",
        "-v",      "--tb=no",
        "-p",      "no:warnings",
        "-p",      "no:cacheprovider",
        "-k",      "not HasTableTest and not IntegerTest",
        "--dburi", "postgresql+psycopg2://tester@127.0.0.1:" + std::to_string(port) + "/postgres"};
  }
  [[nodiscard]] ProcessOptions options(const Postgres& server) const {
    static_cast<void>(folder_.write("conftest.py", kConfiguration));
    static_cast<void>(folder_.write("test_suite.py", "from sqlalchemy.testing.suite import *\n"));
    static_cast<void>(
        folder_.write("setup.cfg",
                      "[sqla_testing]\nprofile_file=profiles\n"
                      "requirement_cls=sqlalchemy.testing.requirements:SuiteRequirements\n"));
    ProcessOptions there;
    there.working_directory = folder_.path();
    there.environment = {"SERVER=" + std::to_string(server.port())};
    return there;
  }

  TempDir folder_;
  Process process_;
};

// Only keys for cancelling and numbers of tables differ. A server draws a key for each connection;
// it counts tables, also those that came to nothing. A row's description has such a number as four
// bytes, from 0x4000 on, before that of a column; a row has it as text.
TEST_P(ReplayAlchemyTest, OnlyKeysAndNumbersOfTablesOfItsSuiteDiffer) {
  for (const char* program : {"initdb", "postgres", "psql", kPython}) SLUICE_NEEDS_PROGRAM(program);
  if (Process({kPython, "-c", "import psycopg2, pytest, sqlalchemy"}).wait() != 0) {
    GTEST_SKIP() << "psycopg2, pytest or sqlalchemy is not installed";
  }
  const TempDir direct_folder;
  const std::unique_ptr<Postgres> direct = database(direct_folder);
  const TempDir first_folder;
  const std::unique_ptr<Postgres> first = database(first_folder);
  // One worker, which sees each end before the next beginning.
  start_recording(first->port(), {"--workers", "1"});
  AlchemySuite without(direct->port(), *direct);
  AlchemySuite with(daemon_->port(), *first);
  EXPECT_EQ(with.outcomes(), without.outcomes()) << "as without sluice";
  end_recording();
  const TempDir fresh_folder;
  const std::unique_ptr<Postgres> fresh = database(fresh_folder);
  const Replayed replayed =
      replay_to(fresh->port(),
                {"--wait-responses", "--compare", "--speed", "max", "--ignore-pattern",
                 "(?s)K\\x00\\x00\\x00\\x0c.{8}", "--ignore-pattern", "(?s)\\x00\\x00[@-O].\\x00.",
                 "--ignore-pattern", "\\x00\\x00\\x00\\x05[12][0-9]{4}"});
  EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
  EXPECT_GT(replayed.report.at("compare").at("connections").to_number<int>(), 1000);
}

INSTANTIATE_TEST_SUITE_P(AnEngine, ReplayAlchemyTest, testing::Values(Mode{"uring", "auto"}),
                         name_of_mode);

}  // namespace
}  // namespace sluice::test
