// What is recorded of real programs, compared with what both ends have sent and received:
// redis-benchmark, pgbench, and a download from nginx. Some clients are killed.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cerrno>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/pattern.h"
#include "tests/support/wait.h"
#include "tests/system/outcome.h"
#include "tests/system/postgres.h"
#include "tests/system/programs.h"
#include "tests/system/recorded.h"
#include "tests/system/witness.h"

namespace sluice::test {
namespace {

using capture::Side;
using std::chrono::milliseconds;

constexpr std::array kLevels{"none", "interval", "batch", "before-forward"};

using Bytes = std::pair<std::string, std::string>;  ///< sent by the client and by the upstream

class CaptureProgramTest : public ProgramTest {
 protected:
  /// Starts the daemon before `port`, with a witness on each side.
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
  /// What sluice-capture extracts from a capture that is clean, by the client's address.
  [[nodiscard]] std::map<std::string, Bytes> extracted_bytes() const;
  void compare_whole();
  void compare_cut();

  std::string directory_ = folder_.file("capture");
  std::unique_ptr<Witness> behind_;
  std::unique_ptr<Witness> before_;
};

std::map<std::string, Bytes> CaptureProgramTest::extracted_bytes() const {
  EXPECT_EQ(verify_status(directory_), 0);
  const std::string out = directory_ + ".extracted";
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

/// Assigns each stream seen behind the daemon a recorded stream of its own. Streams there carry no
/// client address, and a benchmark's streams are very similar. Uses augmenting paths (Kuhn).
class Pairing {
 public:
  /// Shortest first: if the longest streams are added first, hardly any pair has to be undone.
  explicit Pairing(const std::map<std::string, Bytes>& recorded) {
    for (const auto& [client, bytes] : recorded) recorded_.push_back(&bytes);
    std::ranges::sort(recorded_, {}, [](const Bytes* bytes) { return bytes->first.size(); });
    owners_.resize(recorded_.size());
  }
  /// False if no assignment has a recorded stream for it.
  [[nodiscard]] bool add(const Witness::Connection& stream) {
    std::vector<bool> tried(recorded_.size());
    return give(stream, tried);
  }

 private:
  [[nodiscard]] bool give(const Witness::Connection& stream, std::vector<bool>& tried) {
    std::vector<std::size_t> taken;
    for (std::size_t i = 0; i < recorded_.size(); ++i) {
      if (tried[i] || !may_be(*recorded_[i], stream)) continue;
      if (owners_[i] == nullptr) {
        owners_[i] = &stream;
        return true;
      }
      taken.push_back(i);
    }
    for (const std::size_t i : taken) {
      if (tried[i]) continue;
      tried[i] = true;
      if (!give(*owners_[i], tried)) continue;
      owners_[i] = &stream;
      return true;
    }
    return false;
  }
  static bool may_be(const Bytes& recorded, const Witness::Connection& stream) {
    return recorded.first.starts_with(stream.sent) && stream.received.starts_with(recorded.second);
  }

  std::vector<const Bytes*> recorded_;
  std::vector<const Witness::Connection*> owners_;  ///< by index of `recorded_`
};

/// Every stream is recorded as both witnesses saw it.
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

/// For streams that were cut: recorded bytes were sent, and received bytes were recorded.
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
  Pairing pairing(recorded);
  std::vector<const Witness::Connection*> behind;
  for (const Witness::Connection& connection : behind_->end()) behind.push_back(&connection);
  std::ranges::sort(behind, std::ranges::greater{},
                    [](const auto* connection) { return connection->sent.size(); });
  for (const Witness::Connection* connection : behind) {
    EXPECT_TRUE(pairing.add(*connection)) << "a stream at the far end that was not recorded so";
  }
}

// --- redis

class CaptureRedisTest : public CaptureProgramTest {
 protected:
  void SetUp() override {
    SLUICE_NEEDS_PROGRAM("redis-server");
    SLUICE_NEEDS_PROGRAM("redis-benchmark");
    port_ = free_port();
    server_ = start_redis(port_);
  }
  /// Each level has its own capture; the server stays the same.
  void start_level(const std::string& durability) {
    directory_ = folder_.file(durability);
    start_witnessed(port_, durability);
  }
  [[nodiscard]] std::vector<std::string> benchmark(std::uint64_t requests, std::size_t clients,
                                                   const std::string& tests) const {
    return {"redis-benchmark",
            "-h",
            "127.0.0.1",
            "-p",
            witnessed_port(),
            "-n",
            std::to_string(requests),
            "-c",
            std::to_string(clients),
            "-d",
            "1000",
            "-t",
            tests,
            "--csv"};
  }
  void kill_one_under_load(bool at_once);

  std::uint16_t port_ = 0;
  std::unique_ptr<Process> server_;
  std::mt19937_64 random_{seed()};
};

TEST_P(CaptureRedisTest, BenchmarkIsRecordedAsItWas) {
  start_witnessed(port_, "batch");
  const auto requests = by_scale<std::uint64_t>(500, 3'000, 20'000);
  static_cast<void>(run_program(benchmark(requests, 50, "set,get,lrange_100")));
  compare_whole();
}

TEST_P(CaptureRedisTest, ACrowdIsRecordedAsItWasAtEveryLevel) {
  for (const char* durability : kLevels) {
    SCOPED_TRACE(durability);
    start_level(durability);
    const auto requests = by_scale<std::uint64_t>(500, 3'000, 20'000);
    static_cast<void>(run_program(benchmark(requests, 200, "set,get")));
    compare_whole();
  }
}

/// Kills the client at once, or only after something was recorded.
void CaptureRedisTest::kill_one_under_load(bool at_once) {
  Process client(benchmark(1'000'000, 200, "set,get,lrange_100"));
  const auto has_data = [this] { return counters_of(*daemon_).at("capture_bytes") != "0"; };
  EXPECT_TRUE(at_once || wait_until(has_data));
  std::this_thread::sleep_for(milliseconds(random_() % 200));
  client.signal(SIGKILL);
  EXPECT_EQ(client.wait(), -SIGKILL);
}

TEST_P(CaptureRedisTest, KilledBenchmarksAreRecordedAsTheyWereAtEveryLevel) {
  for (const char* durability : kLevels) {
    SCOPED_TRACE(durability);
    start_level(durability);
    for (int round = 0; round < by_scale(1, 2, 12); ++round) kill_one_under_load(round > 0);
    compare_cut();
  }
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

  /// Serves the file `bulk`.
  [[nodiscard]] std::unique_ptr<Process> nginx(std::uint16_t port, std::uint64_t size) const {
    write_pattern_file(folder_.file("bulk"), Pattern(kFile), size);
    return start_nginx(port, folder_.path());
  }
  /// Writes the received file to its output.
  [[nodiscard]] std::vector<std::string> curl() const {
    return {"curl",         "-q",
            "--noproxy",    "*",
            "--fail",       "--silent",
            "--show-error", "--user-agent",
            "the test",     "http://127.0.0.1:" + entrance() + "/bulk"};
  }
  [[nodiscard]] std::string request() const {
    return "GET /bulk HTTP/1.1\r\nHost: 127.0.0.1:" + entrance() +
           "\r\nUser-Agent: the test\r\nAccept: */*\r\n\r\n";
  }
  /// Reads the capture, and compares every answer's body with the file.
  [[nodiscard]] Recorded check_answers() const;
};

Recorded CaptureNginxTest::check_answers() const {
  std::map<std::string, std::size_t> head_bytes;  // the size of each connection's answer head
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

/// Runs a program that must succeed, and compares its output with the file as it comes. With
/// `has_head` an answer's head comes first. Returns the number of the file's bytes.
std::uint64_t file_bytes_from(const std::vector<std::string>& argv, Pattern file, bool has_head) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw std::system_error(errno, std::generic_category(), "pipe2");
  }
  const OwnedFd from(ends[0]);
  OwnedFd to(ends[1]);
  Process program(argv, with_streams(-1, to.get()));
  to.reset();
  PatternChecker checker(file);
  std::string head;
  std::vector<std::byte> buffer(1 << 18);
  for (ssize_t got = 0; (got = ::read(from.get(), buffer.data(), buffer.size())) > 0;) {
    std::span<const std::byte> bytes = std::span(buffer).first(static_cast<std::size_t>(got));
    if (has_head) {
      head.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      const std::size_t end = head.find("\r\n\r\n");
      if (end == std::string::npos) continue;
      has_head = false;
      bytes = bytes.last(head.size() - end - 4);
    }
    checker.take(bytes);
  }
  EXPECT_EQ(program.wait(kProgramPatience), 0) << program.standard_error();
  EXPECT_EQ(checker.mismatch(), std::nullopt) << argv.at(0);
  return checker.received_bytes();
}

TEST_P(CaptureNginxTest, ALargeDownloadIsRecordedAsItWas) {
  SLUICE_NEEDS_PROGRAM("nginx");
  SLUICE_NEEDS_PROGRAM("curl");
  // With one engine, more than 32 bits can count.
  constexpr std::uint64_t kWhole = std::uint64_t{4} << 30;
  const auto size =
      by_scale<std::uint64_t>(256 << 20, GetParam().engine == "uring" ? kWhole : 256 << 20, kWhole);
  const std::uint16_t port = free_port();
  const std::unique_ptr<Process> server = nginx(port, size);
  start_recording(port, "batch");
  EXPECT_EQ(file_bytes_from(curl(), Pattern(kFile), false), size);
  const std::string asked = request();
  end_daemon();
  // The bytes are counted here. The output of the tool, below, is compared with the file.
  const Recorded recorded = read_capture(directory_);
  EXPECT_EQ(recorded.status(), 0) << recorded.error << recorded.findings;
  EXPECT_GT(recorded.only().upstream().recorded, size);
  const auto cat = [&](const char* side) {
    return std::vector<std::string>{capture_tool(), "cat", "--connection", recorded.only().open.id,
                                    "--side",       side,  directory_};
  };
  EXPECT_EQ(run_program(cat("client")), asked);
  EXPECT_EQ(file_bytes_from(cat("upstream"), Pattern(kFile), true), size);
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
  const OwnedFd nowhere(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  for (int round = 0; round < by_scale(2, 6, 50); ++round) {
    Process client(curl(), with_streams(-1, nowhere.get()));
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
