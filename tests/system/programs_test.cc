// Real programs that move bulk data through the real binary: nginx and curl, iperf3, openssl, nc.

#include "tests/system/programs.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>
#include <memory>
#include <span>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tests/support/pattern.h"
#include "tests/support/wait.h"

namespace sluice::test {
namespace {

constexpr std::uint64_t kForth = 11;
constexpr std::uint64_t kBack = 12;

/// A part of a long stream may be copied: before it is spliced, and while there is little to move.
constexpr std::uint64_t kLeastSplicedShare = 2;

OwnedFd new_file(const std::string& path) {
  return OwnedFd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
}
OwnedFd open_file(const std::string& path) {
  return OwnedFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

// --- nginx and curl

class NginxTest : public ProgramTest {
 protected:
  static void SetUpTestSuite() {
    if (find_program("nginx").empty() || find_program("curl").empty()) return;
    site_ = std::make_unique<TempDir>();
    write_pattern_file(site_->file("bulk"), Pattern(kBack), size_bytes());
  }
  static void TearDownTestSuite() { site_.reset(); }

  [[nodiscard]] static std::uint64_t size_bytes() {
    return by_scale<std::uint64_t>(64 << 20, 1 << 30, 1 << 30);
  }
  static inline std::unique_ptr<TempDir> site_;
};

TEST_P(NginxTest, CurlFetchesALargeFileUnchanged) {
  SLUICE_NEEDS_PROGRAM("nginx");
  SLUICE_NEEDS_PROGRAM("curl");
  const std::uint16_t port = free_port();
  const auto server = start_nginx(port, site_->path());
  start_before(port);
  const std::string fetched = folder_.file("fetched");
  static_cast<void>(
      run_program({"curl", "-q", "--noproxy", "*", "--fail", "--silent", "--show-error", "--output",
                   fetched, "http://127.0.0.1:" + entrance() + "/bulk"}));
  EXPECT_EQ(compare_pattern_file(fetched, Pattern(kBack), size_bytes()), "");
  const Moved moved = moved_bytes(*daemon_, 1);
  EXPECT_GT(moved.to_client, size_bytes()) << "the file and its headers";
  EXPECT_GE(moved.spliced_to_client, size_bytes() / kLeastSplicedShare);
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, NginxTest, testing::ValuesIn(both_engines()), name_of_mode);

// --- iperf3

class IperfTest : public ProgramTest {
 protected:
  /// Sends a stream through the daemon, from the client or (`reverse`) from the server.
  void measure(bool reverse);
};

void IperfTest::measure(bool reverse) {
  const auto size = by_scale<std::uint64_t>(64 << 20, 512 << 20, 1 << 30);
  // The receiver's count ends when the sender says so on another connection. Bytes still in the
  // buffers of the daemon and of four sockets are not counted.
  const std::uint64_t in_buffers = 48 << 20;
  const std::uint16_t port = free_port();
  Process server(
      {"iperf3", "--server", "--one-off", "--bind", "127.0.0.1", "--port", std::to_string(port)});
  wait_for_listener(server, port);
  start_before(port);
  std::vector<std::string> client{"iperf3",   "--client", "127.0.0.1",          "--port",
                                  entrance(), "--bytes",  std::to_string(size), "--json"};
  if (reverse) client.emplace_back("--reverse");
  const std::string report = run_program(client);
  EXPECT_EQ(server.wait(kProgramPatience), 0) << server.standard_error();

  boost::json::error_code error;
  const boost::json::value parsed = boost::json::parse(report, error);
  ASSERT_FALSE(error) << report;
  const auto count = [&](const char* sum) {
    return parsed.at("end").at(sum).at("bytes").to_number<std::uint64_t>();
  };
  EXPECT_GE(count("sum_sent"), size);
  EXPECT_GE(count("sum_received") + in_buffers, size);
  // One connection controls the test, the other carries its data.
  const Moved moved = moved_bytes(*daemon_, 2);
  EXPECT_GE(reverse ? moved.to_client : moved.to_upstream, count("sum_received"));
  EXPECT_GE(reverse ? moved.spliced_to_client : moved.spliced_to_upstream,
            count("sum_received") / kLeastSplicedShare);
}

TEST_P(IperfTest, Sends) {
  SLUICE_NEEDS_PROGRAM("iperf3");
  measure(false);
}

TEST_P(IperfTest, Receives) {
  SLUICE_NEEDS_PROGRAM("iperf3");
  measure(true);
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, IperfTest, testing::ValuesIn(both_engines()), name_of_mode);

// --- openssl

/// A program's standard input: the pattern's first bytes, without an end before finish().
class Feed {
 public:
  Feed(Pattern pattern, std::uint64_t size_bytes) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    reader_.reset(ends[0]);
    writer_.reset(ends[1]);
    thread_ = std::thread([this, pattern, size_bytes] { write(pattern, size_bytes); });
  }
  /// By then the program has ended, or has read everything.
  ~Feed() { finish(); }
  Feed(const Feed&) = delete;
  Feed& operator=(const Feed&) = delete;

  [[nodiscard]] int reader() const { return reader_.get(); }
  /// Call once the program runs. Only it then holds the reading end, so the feed ends with it.
  void started() { reader_.reset(); }
  void finish() {
    reader_.reset();
    if (thread_.joinable()) thread_.join();
    writer_.reset();
  }

 private:
  void write(Pattern pattern, std::uint64_t size_bytes) const {
    std::vector<std::byte> chunk(1 << 16);
    for (std::uint64_t offset = 0; offset < size_bytes;) {
      const auto part = std::span(chunk).first(
          static_cast<std::size_t>(std::min<std::uint64_t>(chunk.size(), size_bytes - offset)));
      pattern.fill(offset, part);
      const ssize_t written = ::write(writer_.get(), part.data(), part.size());
      if (written <= 0) return;
      offset += static_cast<std::uint64_t>(written);
    }
  }

  OwnedFd reader_;
  OwnedFd writer_;
  std::thread thread_;
};

class OpensslTest : public ProgramTest {
 protected:
  [[nodiscard]] bool has_size(const std::string& name, std::uint64_t size_bytes) const {
    std::error_code none;
    const std::uintmax_t size = std::filesystem::file_size(folder_.file(name), none);
    return !none && size >= size_bytes;
  }
};

TEST_P(OpensslTest, TlsPassesBothWaysAtOnce) {
  SLUICE_NEEDS_PROGRAM("openssl");
  const auto size = by_scale<std::uint64_t>(8 << 20, 64 << 20, 256 << 20);
  make_certificate();
  const std::uint16_t port = free_port();
  const OwnedFd at_server = new_file(folder_.file("at_server"));
  const OwnedFd at_client = new_file(folder_.file("at_client"));
  Feed answer(Pattern(kBack), size);
  Feed request(Pattern(kForth), size);
  Process server(
      {"openssl", "s_server", "-accept", loopback_address(port), "-cert",
       folder_.file("certificate"), "-key", folder_.file("key"), "-quiet", "-naccept", "1"},
      with_streams(answer.reader(), at_server.get()));
  answer.started();
  wait_for_listener(server, port);
  start_before(port);
  Process client(
      {"openssl", "s_client", "-connect", "127.0.0.1:" + entrance(), "-CAfile",
       folder_.file("certificate"), "-verify_return_error", "-quiet", "-no_ign_eof", "-nocommands"},
      with_streams(request.reader(), at_client.get()));
  request.started();
  const bool arrived = wait_until(
      [&] {
        return (has_size("at_server", size) && has_size("at_client", size)) || !client.running();
      },
      kProgramPatience);
  ASSERT_TRUE(arrived) << "the streams do not move any more";
  request.finish();
  EXPECT_EQ(client.wait(kProgramPatience), 0) << client.standard_error();
  EXPECT_TRUE(server.wait(kProgramPatience).has_value()) << "it did not see the end";
  EXPECT_EQ(compare_pattern_file(folder_.file("at_server"), Pattern(kForth), size), "");
  EXPECT_EQ(compare_pattern_file(folder_.file("at_client"), Pattern(kBack), size), "");
  const Moved moved = moved_bytes(*daemon_, 1);
  EXPECT_GT(moved.to_upstream, size) << "TLS adds to what it carries";
  EXPECT_GT(moved.to_client, size) << "TLS adds to what it carries";
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, OpensslTest, testing::ValuesIn(both_engines()), name_of_mode);

// --- nc

/// True for the nc that can shut its side down at the end of its input (-N).
bool nc_half_closes() {
  Process help({"nc", "-h"});
  static_cast<void>(help.wait());
  return (help.standard_error() + help.standard_output()).find("-46CDdFhklNn") != std::string::npos;
}

class NcTest : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    if (IsSkipped()) return;
    SLUICE_NEEDS_PROGRAM("nc");
    if (!nc_half_closes()) GTEST_SKIP() << "nc has no option -N here: not OpenBSD's";
  }
  [[nodiscard]] static std::uint64_t size_bytes() {
    return by_scale<std::uint64_t>(4 << 20, 32 << 20, 256 << 20);
  }
  /// A test that is delayed must not lose its half-closed connection.
  const std::vector<std::string> patient_{"--half-close-timeout", "10m"};
};

TEST_P(NcTest, ReceivesTheWholeAnswerAfterItsEnd) {
  write_pattern_file(folder_.file("request"), Pattern(kForth), size_bytes());
  start(patient_);
  const OwnedFd request = open_file(folder_.file("request"));
  const OwnedFd answer = new_file(folder_.file("answer"));
  Process client({"nc", "-N", "127.0.0.1", entrance()}, with_streams(request.get(), answer.get()));
  OwnedFd upstream = accept_from(upstream_.fd.get(), kProgramPatience);
  PatternChecker received{Pattern(kForth)};
  ASSERT_EQ(read_pattern(upstream.get(), received, {.timeout = kProgramPatience}), Ending::eof);
  EXPECT_EQ(received.received_bytes(), size_bytes());
  EXPECT_FALSE(received.mismatch().has_value());
  // The answer begins only now, after the client's end was seen.
  ASSERT_TRUE(send_pattern(upstream.get(), Pattern(kBack), 0, size_bytes()));
  upstream.reset();
  EXPECT_EQ(client.wait(kProgramPatience), 0) << client.standard_error();
  EXPECT_EQ(compare_pattern_file(folder_.file("answer"), Pattern(kBack), size_bytes()), "");
}

TEST_P(NcTest, ServerReceivesTheWholeRequestAfterItsEnd) {
  const std::uint16_t port = free_port();
  const OwnedFd request = new_file(folder_.file("request"));
  // Its input is empty, so it shuts its side down as soon as it has a client.
  Process server({"nc", "-l", "-N", "127.0.0.1", std::to_string(port)},
                 with_streams(-1, request.get()));
  wait_for_listener(server, port);
  start_before(port, patient_);
  OwnedFd client = connect_tcp(daemon_->port());
  PatternChecker received{Pattern(kBack)};
  ASSERT_EQ(read_pattern(client.get(), received, {.timeout = kProgramPatience}), Ending::eof);
  EXPECT_EQ(received.received_bytes(), 0U);
  ASSERT_TRUE(send_pattern(client.get(), Pattern(kForth), 0, size_bytes()));
  finish_sending(client.get());
  EXPECT_EQ(server.wait(kProgramPatience), 0) << server.standard_error();
  EXPECT_EQ(compare_pattern_file(folder_.file("request"), Pattern(kForth), size_bytes()), "");
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, NcTest, testing::ValuesIn(both_engines()), name_of_mode);

}  // namespace
}  // namespace sluice::test
