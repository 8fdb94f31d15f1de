// What is recorded of real programs, against what both ends have sent and received:
// redis-benchmark, pgbench, and a download from nginx; with clients that are killed.

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/pattern.h"
#include "tests/system/outcome.h"
#include "tests/system/postgres.h"
#include "tests/system/programs.h"
#include "tests/system/recorded.h"
#include "tests/system/witness.h"

namespace sluice::test {
namespace {

using capture::Side;
using std::chrono::milliseconds;

class CaptureProgramTest : public ProgramTest {
 protected:
  using Bytes = std::pair<std::string, std::string>;  ///< the client's and the upstream's

  /// The daemon, with a witness on each of its sides, before `port`.
  void start_witnessed(std::uint16_t port, const std::string& durability) {
    behind_ = std::make_unique<Witness>(port);
    start_recording(behind_->port(), durability);
    before_ = std::make_unique<Witness>(daemon_->port());
  }
  void start_recording(std::uint16_t port, const std::string& durability) {
    start_before(port, {"--capture", directory_, "--durability", durability, "--capture-full",
                        "block", "--segment-size", "64MiB"});
  }
  [[nodiscard]] std::string witnessed_port() const { return std::to_string(before_->port()); }
  void end_daemon() {
    EXPECT_EQ(daemon_->terminate(kProgramPatience), 0) << daemon_->log();
    daemon_.reset();
  }
  /// What sluice-capture extracts of a capture that it calls clean, by the client's address.
  [[nodiscard]] std::map<std::string, Bytes> extracted_bytes() const;
  void compare_whole();
  void compare_cut();

  std::string directory_ = folder_.file("capture");
  std::unique_ptr<Witness> behind_;
  std::unique_ptr<Witness> before_;
};

std::map<std::string, CaptureProgramTest::Bytes> CaptureProgramTest::extracted_bytes() const {
  EXPECT_EQ(verify_status(directory_), 0);
  const std::string out = folder_.file("extracted");
  static_cast<void>(run_program({capture_tool(), "extract", "--out", out, directory_}));
  std::map<std::string, Bytes> all;
  const boost::json::value index = boost::json::parse(read_text(out + "/index.json"));
  for (const boost::json::value& each : index.at("connections").as_array()) {
    const boost::json::object& connection = each.as_object();
    const auto bytes_of = [&](const char* side) {
      const boost::json::value* file = connection.if_contains(side);
      return file == nullptr ? "" : read_text(out + '/' + std::string(file->as_string()));
    };
    all[std::string(connection.at("client").as_string())] = {bytes_of("client_file"),
                                                             bytes_of("upstream_file")};
  }
  return all;
}

/// Every stream is recorded as both witnesses have seen it.
void CaptureProgramTest::compare_whole() {
  const std::list<Witness::Connection>& before = before_->end();
  end_daemon();
  const std::map<std::string, Bytes> recorded = extracted_bytes();
  EXPECT_EQ(recorded.size(), before.size());
  std::vector<Bytes> seen_before;
  for (const Witness::Connection& connection : before) {
    const auto found = recorded.find(connection.address);
    ASSERT_NE(found, recorded.end()) << connection.address;
    EXPECT_TRUE(found->second.first == connection.sent) << connection.address;
    EXPECT_TRUE(found->second.second == connection.received) << connection.address;
    seen_before.emplace_back(connection.sent, connection.received);
  }
  std::vector<Bytes> seen_behind;
  for (const Witness::Connection& connection : behind_->end()) {
    seen_behind.emplace_back(connection.sent, connection.received);
  }
  std::ranges::sort(seen_before);
  std::ranges::sort(seen_behind);
  EXPECT_TRUE(seen_before == seen_behind);
}

/// Of streams that were cut: no byte is recorded that was not sent, and none received that was not
/// recorded.
void CaptureProgramTest::compare_cut() {
  const std::list<Witness::Connection>& before = before_->end();
  end_daemon();
  const std::map<std::string, Bytes> recorded = extracted_bytes();
  EXPECT_FALSE(recorded.empty());
  for (const Witness::Connection& connection : before) {
    const auto found = recorded.find(connection.address);
    if (found == recorded.end()) {
      EXPECT_EQ(connection.received, "") << connection.address;
      continue;
    }
    EXPECT_TRUE(connection.sent.starts_with(found->second.first)) << connection.address;
    EXPECT_TRUE(found->second.second.starts_with(connection.received)) << connection.address;
  }
  for (const Witness::Connection& connection : behind_->end()) {
    const bool known = std::ranges::any_of(recorded, [&](const auto& each) {
      return each.second.first.starts_with(connection.sent) &&
             connection.received.starts_with(each.second.second);
    });
    EXPECT_TRUE(known) << "a stream at the far end that was not recorded so";
  }
}

// --- redis

class CaptureRedisTest : public CaptureProgramTest {
 protected:
  [[nodiscard]] std::vector<std::string> benchmark(std::uint64_t requests) const {
    return {"redis-benchmark",        "-h",   "127.0.0.1", "-p", witnessed_port(), "-n",
            std::to_string(requests), "-c",   "50",        "-d", "1000",           "-t",
            "set,get,lrange_100",     "--csv"};
  }
};

TEST_P(CaptureRedisTest, BenchmarkIsRecordedAsItWas) {
  SLUICE_NEEDS_PROGRAM("redis-server");
  SLUICE_NEEDS_PROGRAM("redis-benchmark");
  const std::uint16_t port = free_port();
  const std::unique_ptr<Process> server = start_redis(port);
  start_witnessed(port, "batch");
  static_cast<void>(run_program(benchmark(by_scale<std::uint64_t>(500, 3'000, 20'000))));
  compare_whole();
}

TEST_P(CaptureRedisTest, KilledBenchmarksAreRecordedAsTheyWere) {
  SLUICE_NEEDS_PROGRAM("redis-server");
  SLUICE_NEEDS_PROGRAM("redis-benchmark");
  const std::uint16_t port = free_port();
  const std::unique_ptr<Process> server = start_redis(port);
  start_witnessed(port, "before-forward");
  std::mt19937_64 random(seed());
  for (int round = 0; round < by_scale(2, 5, 50); ++round) {
    Process client(benchmark(1'000'000));
    std::this_thread::sleep_for(milliseconds(random() % 200));
    client.signal(SIGKILL);
    EXPECT_EQ(client.wait(), -SIGKILL);
  }
  compare_cut();
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, CaptureRedisTest, testing::ValuesIn(both_engines()),
                         name_of_mode);

// --- postgres

class CapturePostgresTest : public CaptureProgramTest {};

TEST_P(CapturePostgresTest, PgbenchIsRecordedAsItWas) {
  for (const char* program : {"initdb", "postgres", "pgbench"}) {
    SLUICE_NEEDS_PROGRAM(program);
  }
  const Postgres database(folder_, Postgres::owner());
  start_witnessed(database.port(), "interval");
  const std::vector<std::string> pgbench{"pgbench",        "-h", "127.0.0.1", "-p",
                                         witnessed_port(), "-U", "tester"};
  std::vector<std::string> fill = pgbench;
  fill.insert(fill.end(), {"-i", "-q", "-s", "1", "postgres"});
  static_cast<void>(run_program(fill));
  std::vector<std::string> load = pgbench;
  load.insert(load.end(), {"-n", "-c", "8", "-j", "2", "-t",
                           std::to_string(by_scale(20, 100, 1000)), "postgres"});
  static_cast<void>(run_program(load));
  compare_whole();
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, CapturePostgresTest, testing::ValuesIn(both_engines()),
                         name_of_mode);

// --- nginx

class CaptureNginxTest : public CaptureProgramTest {
 protected:
  static constexpr std::uint64_t kFile = 12;

  /// Serves `bulk`.
  [[nodiscard]] std::unique_ptr<Process> nginx(std::uint16_t port, std::uint64_t size) const {
    write_pattern_file(folder_.file("bulk"), Pattern(kFile), size);
    return start_nginx(port, folder_.path());
  }
  [[nodiscard]] std::vector<std::string> curl() const {
    return {
        "curl",      "-q",          "--noproxy",        "*",
        "--fail",    "--silent",    "--show-error",     "--output",
        "/dev/null", "--write-out", "%{size_download}", "http://127.0.0.1:" + entrance() + "/bulk"};
  }
  /// Reads it all, every answer's body compared with the file.
  [[nodiscard]] Recorded check_answers() const;
};

Recorded CaptureNginxTest::check_answers() const {
  std::map<std::string, std::size_t> head_bytes;  // of each connection's answer
  return read_capture(directory_, [&](const RecordedConnection& connection, Side side,
                                      std::uint64_t offset, std::span<const std::byte> bytes) {
    if (side != Side::upstream) return;
    if (offset == 0) {
      const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      const std::size_t end = text.find("\r\n\r\n");
      ASSERT_NE(end, std::string_view::npos) << "an answer's head in two records";
      head_bytes[connection.open.id] = end + 4;
      bytes = bytes.subspan(end + 4);
      offset = end + 4;
    }
    EXPECT_EQ(Pattern(kFile).first_mismatch(offset - head_bytes[connection.open.id], bytes),
              std::nullopt);
  });
}

TEST_P(CaptureNginxTest, ALargeDownloadIsRecordedAsItWas) {
  SLUICE_NEEDS_PROGRAM("nginx");
  SLUICE_NEEDS_PROGRAM("curl");
  const bool whole = GetParam().engine == "uring";
  const auto size = by_scale<std::uint64_t>(256 << 20, std::uint64_t{whole ? 4U : 1U} << 30,
                                            std::uint64_t{4} << 30);
  const std::uint16_t port = free_port();
  const std::unique_ptr<Process> server = nginx(port, size);
  start_recording(port, "batch");
  EXPECT_EQ(run_program(curl()), std::to_string(size));
  end_daemon();
  const Recorded recorded = check_answers();
  EXPECT_EQ(recorded.status(), 0) << recorded.error << recorded.findings;
  EXPECT_GT(recorded.only().upstream().recorded, size);
  ASSERT_TRUE(recorded.only().close.has_value());
  EXPECT_EQ(recorded.only().close->sides[1].received, recorded.only().upstream().recorded);
}

TEST_P(CaptureNginxTest, KilledDownloadsAreRecordedAsTheyWere) {
  SLUICE_NEEDS_PROGRAM("nginx");
  SLUICE_NEEDS_PROGRAM("curl");
  const std::uint16_t port = free_port();
  const std::unique_ptr<Process> server = nginx(port, 256 << 20);
  start_recording(port, "none");
  std::mt19937_64 random(seed());
  for (int round = 0; round < by_scale(2, 6, 50); ++round) {
    Process client(curl());
    std::this_thread::sleep_for(milliseconds(random() % 200));
    client.signal(SIGKILL);
    static_cast<void>(client.wait());
  }
  end_daemon();
  const Recorded recorded = check_answers();
  EXPECT_EQ(recorded.status(), 0) << recorded.error << recorded.findings;
  for (const auto& [id, connection] : recorded.connections) {
    ASSERT_TRUE(connection.close.has_value()) << id;
    EXPECT_GE(connection.close->sides[1].received, connection.close->sides[1].forwarded);
    EXPECT_EQ(connection.close->sides[1].received, connection.upstream().recorded);
  }
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, CaptureNginxTest, testing::ValuesIn(both_engines()),
                         name_of_mode);

}  // namespace
}  // namespace sluice::test
