// What the log says about a connection, as text and as JSON.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/http.h"
#include "tests/system/outcome.h"

namespace sluice::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::uint64_t kForthBytes = 300'000;
constexpr std::uint64_t kBackBytes = 700'000;

class LogLineTest : public testing::TestWithParam<std::string> {
 protected:
  [[nodiscard]] bool json() const { return GetParam() == "json"; }
  /// The fields of a line; a failure if the line is malformed.
  [[nodiscard]] LogFields parse(const std::string& line) const {
    if (!json()) return parse_text_line(line);
    const auto fields = parse_json_line(line);
    if (!fields) ADD_FAILURE() << "no JSON object: " << line;
    return fields.value_or(LogFields{});
  }
};

double seconds_in(const std::string& text) {
  double number = -1;
  const char* end = text.data() + text.size();
  return std::from_chars(text.data(), end, number).ptr == end ? number : -1;
}

TEST_P(LogLineTest, SaysAllOfAConnection) {
  const Listener upstream = listen_tcp();
  for (const char* zero_copy : {"always", "never"}) {
    Daemon daemon(route_arguments({"auto", zero_copy}, loopback_address(upstream.port),
                                  {"--log-format", GetParam()}));
    const auto began = steady_clock::now();
    Forwarded pair = forward(daemon.port(), upstream.fd.get());
    const std::string client = loopback_address(local_port(pair.client.get()));
    EXPECT_EQ(transfer(pair.client.get(), pair.upstream.get(), Pattern(1), kForthBytes), "");
    EXPECT_EQ(transfer(pair.upstream.get(), pair.client.get(), Pattern(2), kBackBytes), "");
    std::this_thread::sleep_for(milliseconds(100));
    pair = {};
    const auto ends = daemon.wait_for_ends(1, kLate);
    const std::chrono::duration<double> took = steady_clock::now() - began;
    ASSERT_EQ(ends.size(), 1U) << daemon.log();

    LogFields fields = parse(ends[0].line);
    EXPECT_NE(fields["id"], "");
    EXPECT_EQ(fields["route"], "default");
    EXPECT_EQ(fields["client"], client);
    EXPECT_EQ(fields["upstream"], loopback_address(upstream.port));
    EXPECT_EQ(fields["to_upstream"], std::to_string(kForthBytes));
    EXPECT_EQ(fields["to_client"], std::to_string(kBackBytes));
    EXPECT_EQ(fields["reason"], "closed");
    const bool splices = std::string(zero_copy) == "always";
    EXPECT_EQ(fields["spliced_to_upstream"], splices ? std::to_string(kForthBytes) : "0");
    EXPECT_EQ(fields["spliced_to_client"], splices ? std::to_string(kBackBytes) : "0");
    EXPECT_GE(seconds_in(fields["duration"]), 0.09) << ends[0].line;
    EXPECT_LE(seconds_in(fields["duration"]), took.count() + 0.01) << ends[0].line;
    EXPECT_EQ(daemon.terminate(kLate), 0);
    EXPECT_EQ(connection_ends(daemon.log()).size(), 1U);
  }
}

TEST_P(LogLineTest, EveryLineIsWellFormed) {
  const TempDir folder;
  // Characters that a path may contain and JSON may not.
  const std::string path = folder.file("a \"b\" \\ \x01 \xc3\xa4");
  Daemon daemon({"--listen", "127.0.0.1:0", "--to", "unix:" + path, "--log-format", GetParam()});
  // Nothing listens there, which gives a warning and a connection's line with the path.
  const OwnedFd client = connect_tcp(daemon.port());
  std::byte byte{};
  EXPECT_EQ(receive_some(client.get(), {&byte, 1}, kLate).ending, Ending::reset);
  const auto ends = daemon.wait_for_ends(1, kLate);
  ASSERT_EQ(ends.size(), 1U) << daemon.log();
  daemon.process().signal(SIGUSR1);
  EXPECT_TRUE(daemon.wait_for_log(Regex("pipe_slots"), kLate));
  EXPECT_EQ(daemon.terminate(kLate), 0);

  const auto lines = lines_of(daemon.log());
  EXPECT_GE(lines.size(), 7U) << daemon.log();
  for (const std::string& line : lines) {
    if (json()) {
      LogFields fields = parse(line);
      EXPECT_NE(fields["time"], "") << line;
      EXPECT_NE(fields["level"], "") << line;
      EXPECT_NE(fields["event"], "") << line;
    } else {
      const Regex form(R"(^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d [a-z]+ [a-z_]+)");
      EXPECT_TRUE(form.is_in(line)) << line;
    }
  }
  if (json()) {
    EXPECT_EQ(parse(ends[0].line)["upstream"], "unix:" + path);
    EXPECT_NE(ends[0].line.find("\"to_upstream\":0,"), std::string::npos) << ends[0].line;
  }
}

/// A file's name may be any bytes, but a line of JSON must be UTF-8.
TEST_P(LogLineTest, BytesThatAreNoTextDoNotSpoilTheLine) {
  const TempDir folder;
  Daemon daemon({"--listen", "127.0.0.1:0", "--to", "unix:" + folder.file("\xff\xc3("),
                 "--log-format", GetParam()});
  const OwnedFd client = connect_tcp(daemon.port());
  std::byte byte{};
  EXPECT_EQ(receive_some(client.get(), {&byte, 1}, kLate).ending, Ending::reset);
  const auto ends = daemon.wait_for_ends(1, kLate);
  ASSERT_EQ(ends.size(), 1U) << daemon.log();
  EXPECT_EQ(parse(ends[0].line)["reason"], "connect_failed");
  EXPECT_EQ(ends[0].line.find('\xff'), std::string::npos) << ends[0].line;
}

TEST_P(LogLineTest, IdsAreNeverUsedTwice) {
  std::set<std::string> ids;
  constexpr std::size_t kConnections = 50;
  constexpr std::size_t kRuns = 3;
  for (std::size_t run = 0; run < kRuns; ++run) {
    Daemon daemon(
        {"--listen", "127.0.0.1:0", "--to", "echo:", "--workers", "2", "--log-format", GetParam()});
    for (std::size_t i = 0; i < kConnections; ++i) {
      const OwnedFd client = connect_tcp(daemon.port());
      ASSERT_TRUE(echoes(client.get()));
    }
    const auto ends = daemon.wait_for_ends(kConnections, kLate);
    ASSERT_EQ(ends.size(), kConnections);
    for (const ConnectionEnd& end : ends) ids.insert(end.id);
  }
  EXPECT_EQ(ids.size(), kConnections * kRuns);
}

TEST_P(LogLineTest, RefusedUpstreamResetsTheClientAndSaysWhy) {
  const Listener refusing = bind_tcp();
  const std::string upstream = loopback_address(refusing.port);
  const Daemon daemon({"--listen", "127.0.0.1:0", "--to", upstream, "--log-format", GetParam()});
  const OwnedFd client = connect_tcp(daemon.port());
  std::byte byte{};
  EXPECT_EQ(receive_some(client.get(), {&byte, 1}, kLate).ending, Ending::reset);
  const auto ends = daemon.wait_for_ends(1, kLate);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].reason, "connect_refused");
  EXPECT_EQ(ends[0].client, loopback_address(local_port(client.get())));
  EXPECT_EQ(ends[0].upstream, upstream);
  EXPECT_EQ(count_lines(daemon.log(), Regex("upstream_failed.*refused")), 1U);
}

INSTANTIATE_TEST_SUITE_P(BothFormats, LogLineTest, testing::Values("text", "json"),
                         [](const auto& about) { return about.param; });

bool has_line(const std::string& path, const std::string& event) {
  return !line_of(read_text(path), ' ' + event + ' ').empty();
}

/// Lines are written together, some time after they were logged. Counters on demand are not.
TEST(LogOrderTest, TheLastCountersStandBehindTheLinesThatTheyCount) {
  Daemon daemon({"--listen", "127.0.0.1:0", "--to", "echo:"});
  constexpr std::size_t kConnections = 50;
  for (std::size_t i = 0; i < kConnections; ++i) {
    ASSERT_TRUE(echoes(connect_tcp(daemon.port()).get()));
  }
  EXPECT_EQ(daemon.terminate(kLate), 0);
  const std::string log = daemon.log();
  const std::string counters = log.substr(std::min(log.size(), log.find(" stats accepted=50 ")));
  EXPECT_EQ(connection_ends(log).size(), kConnections) << log;
  EXPECT_EQ(count_lines(counters, Regex("stats|connection|ended")), 2U) << log;
}

TEST(LogStdoutTest, ADashIsStdoutWhateverThatIs) {
  const TempDir folder;
  const std::string path = folder.write("stdout", "before\n");
  const OwnedFd out(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  DaemonOptions options;
  options.listeners = 0;
  options.process.standard_output = out.get();
  options.process.working_directory = folder.path();
  const std::vector<std::string> arguments{"--listen", "127.0.0.1:0", "--to",
                                           "echo:",    "--log-file",  "-"};
  Daemon daemon(arguments, options);
  ASSERT_TRUE(wait_until([&] { return has_line(path, "started"); }, kLate));
  daemon.process().signal(SIGHUP);
  daemon.process().signal(SIGUSR1);
  ASSERT_TRUE(wait_until([&] { return has_line(path, "stats"); }, kLate));
  EXPECT_EQ(daemon.terminate(kLate), 0);
  const std::string log = read_text(path);
  EXPECT_EQ(log.substr(0, 7), "before\n");
  EXPECT_EQ(count_lines(log, Regex("ended")), 1U) << log;
  EXPECT_EQ(count_lines(log, Regex("failed")), 0U) << log;
  EXPECT_EQ(daemon.process().standard_error(), "");
  EXPECT_FALSE(std::filesystem::exists(folder.file("-")));

  std::vector<std::string> check = arguments;
  check.emplace_back("--check");
  EXPECT_EQ(run_to_end(check).status, 0);
}

/// The disk is full, and later it is not.
TEST(LogLossTest, LinesThatCannotBeWrittenAreCountedAndStopNothing) {
  const TempDir folder;
  const std::string path = folder.file("sluice.log");
  std::filesystem::create_symlink("/dev/full", path);
  const std::uint16_t port = free_port();
  DaemonOptions options;
  options.listeners = 0;
  Daemon daemon({"--listen", loopback_address(port), "--to", "echo:", "--log-file", path}, options);
  ASSERT_TRUE(wait_until([&] { return try_connect(port) == 0; }, kLate));
  constexpr std::size_t kConnections = 20;
  for (std::size_t i = 0; i < kConnections; ++i) ASSERT_TRUE(echoes(connect_tcp(port).get()));
  EXPECT_TRUE(daemon.process().wait_for_error_line(Regex("No space left.*are lost"), 0, kLate));

  std::filesystem::remove(path);
  daemon.process().signal(SIGHUP);
  ASSERT_TRUE(wait_until([&] { return std::filesystem::exists(path); }, kLate));
  EXPECT_TRUE(echoes(connect_tcp(port).get()));
  EXPECT_TRUE(wait_until([&] { return !connection_ends(read_text(path)).empty(); }, kLate));
  EXPECT_EQ(daemon.terminate(kLate), 0);
  const std::string log = read_text(path);
  const auto lines = lines_of(log);
  const auto stats = std::find_if(lines.begin(), lines.end(), [](const std::string& line) {
    return line.find(" stats ") != line.npos;
  });
  ASSERT_NE(stats, lines.end()) << log;
  // Each connection's line is in the file or counted. So are a few lines from the start, and from
  // the probe that checked whether the daemon listens.
  const std::size_t dropped = std::stoul(parse_text_line(*stats)["log_lines_dropped"]);
  EXPECT_GT(dropped, 0U) << log;
  EXPECT_EQ(count_lines(log, Regex(" log_lines_dropped lines=[1-9]")), 1U) << log;
  EXPECT_GE(dropped + connection_ends(log).size(), kConnections + 1) << log;
  EXPECT_LE(dropped + connection_ends(log).size(), kConnections + 1 + 5) << log;
  EXPECT_EQ(count_lines(daemon.process().standard_error(), Regex("")), 1U) << "told once";
}

TEST(LogReopenTest, AReloadByRequestOpensTheLogAnewAndADryRunDoesNot) {
  const TempDir folder;
  const std::string path = folder.file("sluice.log");
  const std::string admin = folder.file("admin.sock");
  DaemonOptions options;
  options.log_file = path;
  Daemon daemon(
      {"--listen", "127.0.0.1:0", "--to", "echo:", "--log-file", path, "--admin", "unix:" + admin},
      options);
  ASSERT_TRUE(daemon.wait_for_log(Regex(" started "), kLate));
  const std::string aside = folder.file("sluice.log.1");
  std::filesystem::rename(path, aside);
  // Both are refused, since there is no file to read.
  const auto ask = [&](const char* target) {
    return exchange(connect_unix(admin).get(), change_request("POST", target)).status;
  };
  EXPECT_GE(ask("/v1/reload?dry-run=1"), 400);
  EXPECT_TRUE(echoes(connect_tcp(daemon.port()).get()));
  EXPECT_TRUE(
      wait_until([&] { return count_lines(read_text(aside), Regex(" connection ")) == 1; }, kLate));
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_GE(ask("/v1/reload"), 400);
  EXPECT_TRUE(wait_until([&] { return std::filesystem::exists(path); }, kLate));
}

/// Opening a FIFO for writing waits for a reader, which may never come.
TEST(LogFifoTest, WithoutAReaderTheStartFailsAndSighupKeepsTheOldFile) {
  const TempDir folder;
  const std::string path = folder.file("sluice.log");
  const std::string aside = folder.file("sluice.log.1");
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(refusal({"--listen", "127.0.0.1:0", "--to", "echo:", "--log-file", path}, 1,
                    {path, "no process reads this FIFO"}),
            "");
  ASSERT_EQ(::unlink(path.c_str()), 0);
  DaemonOptions options;
  options.log_file = path;
  Daemon daemon({"--listen", "127.0.0.1:0", "--to", "echo:", "--log-file", path}, options);
  std::filesystem::rename(path, aside);
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  daemon.process().signal(SIGHUP);
  const Regex kept("log_reopen_failed.*no process reads");
  EXPECT_TRUE(wait_until([&] { return count_lines(read_text(aside), kept) == 1; }, kLate));
  EXPECT_TRUE(echoes(connect_tcp(daemon.port()).get()));
  EXPECT_EQ(daemon.terminate(kLate), 0);
  EXPECT_EQ(count_lines(read_text(aside), Regex(" ended ")), 1U);
}

}  // namespace
}  // namespace sluice::test
