// How the daemon moves bytes, as counted by strace, and what an idle connection holds.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>

#include <charconv>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "iolib/reactor/reactor.h"
#include "iolib/relay/pump.h"
#include "tests/support/pattern.h"
#include "tests/support/regex.h"
#include "tests/support/settings.h"
#include "tests/support/wait.h"
#include "tests/system/programs.h"

namespace sluice::test {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kStream = 21;

/// The part of a busy stream that is copied: the receives before its promotion, and one more at its
/// end, since only a receive can notice that.
constexpr std::uint64_t kMostCopied =
    std::uint64_t{Promotion::kPromoteAfter + 1} * Reactor::kReceiveBytes;

// --- Counting

/// Bytes moved, and the calls that moved them.
struct Traffic {
  std::uint64_t bytes = 0;
  std::uint64_t calls = 0;
};
/// The total of all sockets and pipes.
struct SocketTraffic {
  Traffic spliced_in;
  Traffic spliced_out;
  Traffic received;
  Traffic sent;
  /// From pipes to the heap, if a reader has stalled for Pump::kPipePause.
  Traffic taken_out;
};

/// One line of strace's output. The members are empty if it is not a call.
struct Call {
  std::string_view name;
  std::vector<std::string_view> arguments;
  std::int64_t result = -1;
};

Call parse_call(std::string_view line) {
  constexpr std::string_view kComma = ", ";
  constexpr std::string_view kEqual = " = ";
  Call call;
  const std::size_t open = line.find('(');
  const std::size_t equal = line.rfind(kEqual);
  if (open == std::string_view::npos || equal == std::string_view::npos || equal < open) return {};
  const std::string_view result = line.substr(equal + kEqual.size());
  std::from_chars(result.data(), result.data() + result.size(), call.result);
  call.name = line.substr(0, open);
  const std::size_t close = line.rfind(')', equal);
  std::string_view rest = line.substr(open + 1, close - open - 1);
  for (;;) {
    const std::size_t comma = rest.find(kComma);
    call.arguments.push_back(rest.substr(0, comma));
    if (comma == std::string_view::npos) return call;
    rest.remove_prefix(comma + kComma.size());
  }
}

/// Descriptors look like `21<socket:[4711]>` (strace -y).
bool is_a(std::string_view kind, const Call& call, std::size_t argument) {
  return argument < call.arguments.size() &&
         call.arguments[argument].find(kind) != std::string_view::npos;
}
bool is_socket(const Call& call, std::size_t argument) { return is_a("<socket:", call, argument); }

void count_call(const Call& call, SocketTraffic& sum) {
  static const std::set<std::string_view> kReceiving{"read", "readv", "recvfrom", "recvmsg"};
  static const std::set<std::string_view> kSending{"write", "writev", "sendto", "sendmsg",
                                                   "sendfile"};
  // A signal's number, which also comes through a pipe, is not payload.
  constexpr std::int64_t kSignalBytes = sizeof(int);
  if (call.result <= 0) return;
  const auto add = [&](Traffic& traffic) {
    traffic.bytes += static_cast<std::uint64_t>(call.result);
    ++traffic.calls;
  };
  if (call.name == "splice") {
    if (is_socket(call, 0)) add(sum.spliced_in);
    if (is_socket(call, 2)) add(sum.spliced_out);
  } else if (is_socket(call, 0) && kReceiving.contains(call.name)) {
    add(sum.received);
  } else if (is_socket(call, 0) && kSending.contains(call.name)) {
    add(sum.sent);
  } else if (is_a("<pipe:", call, 0) && call.name == "read" && call.result > kSignalBytes) {
    add(sum.taken_out);
  }
}

/// True once strace has written everything: each thread's file reports the thread's end.
bool complete(const std::filesystem::path& folder) {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string text = read_text(entry.path());
    const std::size_t last = text.rfind('\n', text.size() < 2 ? 0 : text.size() - 2);
    const std::size_t begin = last == std::string::npos ? 0 : last + 1;
    if (text.compare(begin, 3, "+++") != 0) return false;
    ++files;
  }
  return files > 0;
}

SocketTraffic count_calls(const std::filesystem::path& folder) {
  SocketTraffic sum;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream lines(entry.path());
    for (std::string line; std::getline(lines, line);) count_call(parse_call(line), sum);
  }
  return sum;
}

// --- Moving

std::uint64_t bulk_bytes() { return by_scale<std::uint64_t>(64 << 20, 256 << 20, 1 << 30); }

bool send_rest(int fd, std::uint64_t offset, std::uint64_t end) {
  std::vector<std::byte> chunk(1 << 20);
  while (offset < end) {
    const auto part = std::span(chunk).first(
        static_cast<std::size_t>(std::min<std::uint64_t>(chunk.size(), end - offset)));
    Pattern(kStream).fill(offset, part);
    if (!send_all(fd, part, kProgramPatience)) return false;
    offset += part.size();
  }
  return true;
}

/// Sends `size_bytes` from one end to the other and checks them there. The daemon first sees full
/// buffers, so its first receives are full.
void transfer(Daemon& daemon, int from, int to, std::uint64_t size_bytes) {
  daemon.process().signal(SIGSTOP);
  const std::uint64_t ahead = send_until_full(from, Pattern(kStream), size_bytes, milliseconds(50));
  daemon.process().signal(SIGCONT);
  ASSERT_GT(ahead, kMostCopied);
  bool sent = false;
  std::thread sender([&] { sent = send_rest(from, ahead, size_bytes); });
  PatternChecker received{Pattern(kStream)};
  const Ending ending =
      read_pattern(to, received, {.stop_after_bytes = size_bytes, .timeout = kProgramPatience});
  if (ending != Ending::open) ::shutdown(from, SHUT_RDWR);
  sender.join();
  EXPECT_TRUE(sent);
  EXPECT_EQ(ending, Ending::open);
  EXPECT_EQ(received.received_bytes(), size_bytes);
  EXPECT_FALSE(received.mismatch().has_value()) << "at " << received.mismatch().value_or(0);
}

// --- With strace

class SyscallTest : public ForwardingTest {
 protected:
  void SetUp() override;
  void start_traced();
  /// Ends the daemon and counts its calls.
  [[nodiscard]] SocketTraffic end_and_count();
  struct Measured {
    SocketTraffic counted;
    ConnectionEnd end;
  };
  /// One bulk transfer through a new daemon.
  [[nodiscard]] Measured measure(bool to_upstream);
  void expect_spliced(bool to_upstream);

  TempDir folder_;
};

void SyscallTest::SetUp() {
  ForwardingTest::SetUp();
  if (IsSkipped()) return;
  SLUICE_NEEDS_STRACE();
}

void SyscallTest::start_traced() {
  std::filesystem::remove_all(folder_.file("trace"));
  std::filesystem::create_directory(folder_.file("trace"));
  // -D: the daemon is our child, not strace. -ff: one file for each thread, so that no call is
  // split over two lines. -s 0: no payload.
  std::vector<std::string> arguments{
      "-D",
      "-ff",
      "-y",
      "-s",
      "0",
      "--seccomp-bpf",
      "-o",
      folder_.file("trace/thread"),
      "-e",
      "trace=splice,vmsplice,sendfile,read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg",
      daemon_binary()};
  const auto route = route_arguments(GetParam(), loopback_address(upstream_.port));
  arguments.insert(arguments.end(), route.begin(), route.end());
  // A traced process cannot look for leaks.
  DaemonOptions traced;
  traced.binary = "strace";
  traced.process.environment = {without_leak_check()};
  daemon_ = std::make_unique<Daemon>(arguments, traced);
  descriptors_before_ = descriptors();
}

SocketTraffic SyscallTest::end_and_count() {
  EXPECT_EQ(daemon_->terminate(kProgramPatience), 0) << daemon_->log();
  daemon_.reset();
  EXPECT_TRUE(wait_until([this] { return complete(folder_.file("trace")); }, kProgramPatience))
      << "strace has not written all";
  return count_calls(folder_.file("trace"));
}

SyscallTest::Measured SyscallTest::measure(bool to_upstream) {
  start_traced();
  Measured measured;
  Forwarded pair = forward_one();
  OwnedFd& from = to_upstream ? pair.client : pair.upstream;
  OwnedFd& to = to_upstream ? pair.upstream : pair.client;
  transfer(*daemon_, from.get(), to.get(), bulk_bytes());
  from.reset();
  to.reset();
  for (ConnectionEnd& end : daemon_->wait_for_ends(1, kProgramPatience)) {
    measured.end = std::move(end);
  }
  measured.counted = end_and_count();
  return measured;
}

void SyscallTest::expect_spliced(bool to_upstream) {
  // If the machine held this program up for a tenth of a second, the daemon rightly copied bytes
  // that stayed in a pipe for so long. This test does not measure that, so it tries again.
  constexpr int kTries = 8;
  Measured measured = measure(to_upstream);
  for (int i = 1; i < kTries && measured.counted.taken_out.calls > 0 && !HasFailure(); ++i) {
    measured = measure(to_upstream);
  }
  if (HasFailure()) return;

  const std::uint64_t size = bulk_bytes();
  const auto& [counted, end] = measured;
  EXPECT_EQ(counted.taken_out.bytes, 0U);
  EXPECT_GE(counted.spliced_out.bytes, size - kMostCopied) << counted.spliced_out.calls << " calls";
  EXPECT_EQ(counted.spliced_out.bytes,
            to_upstream ? end.spliced_to_upstream : end.spliced_to_client)
      << "the log tells something else: " << end.line;
  EXPECT_LE(counted.sent.bytes, kMostCopied) << counted.sent.calls << " calls";
  // Bytes before the promotion were copied. All bytes went one of the counted ways.
  const std::uint64_t copied = size - counted.spliced_out.bytes;
  EXPECT_GE(copied, std::uint64_t{Promotion::kPromoteAfter} * Reactor::kReceiveBytes);
  EXPECT_EQ(counted.spliced_in.bytes, counted.spliced_out.bytes);
  if (GetParam().engine == "epoll") {
    // io_uring sends and receives without a call that strace sees.
    EXPECT_EQ(counted.sent.bytes, copied);
    EXPECT_LE(counted.received.bytes, kMostCopied) << counted.received.calls << " calls";
    EXPECT_LE(counted.received.calls, std::uint64_t{Promotion::kPromoteAfter} + 1);
    EXPECT_EQ(counted.received.bytes + counted.spliced_in.bytes, size);
  }
}

TEST_P(SyscallTest, BulkToTheUpstreamIsSpliced) { expect_spliced(true); }
TEST_P(SyscallTest, BulkToTheClientIsSpliced) { expect_spliced(false); }

INSTANTIATE_TEST_SUITE_P(EveryEngine, SyscallTest, testing::ValuesIn(both_engines()), name_of_mode);

// --- Idle connections

class IdleTest : public ForwardingTest {
 protected:
  /// The counters that SIGUSR1 prints.
  [[nodiscard]] LogFields stats() const;
};

LogFields IdleTest::stats() const {
  const std::size_t from = daemon_->log().size();
  daemon_->process().signal(SIGUSR1);
  const auto line =
      daemon_->process().wait_for_error_line(Regex(" stats .*pipe_slots="), from, kProgramPatience);
  EXPECT_TRUE(line.has_value()) << "no counters";
  return line ? parse_text_line(*line) : LogFields{};
}

TEST_P(IdleTest, ConnectionsThatMovedNothingHoldNoPipe) {
  start();
  std::vector<Forwarded> idle;
  for (int i = 0; i < 16; ++i) idle.push_back(forward_one());
  for (Forwarded& pair : idle) {
    ASSERT_TRUE(send_all(pair.client.get(), "?"));
    ASSERT_EQ(receive_text(pair.upstream.get(), 1), "?");
    ASSERT_TRUE(send_all(pair.upstream.get(), "!"));
    ASSERT_EQ(receive_text(pair.client.get(), 1), "!");
  }
  EXPECT_EQ(stats()["pipe_slots"], "0");
  EXPECT_EQ(stats()["active"], "16");
}

/// One pipe serves all connections in both directions. If an idle connection kept it, the next one
/// would have none.
TEST_P(IdleTest, ConnectionsThatWereSplicedGiveTheirPipeBack) {
  constexpr std::uint64_t kMoved = 4 << 20;
  constexpr std::string_view kOnePipeSlots = "16";
  constexpr int kConnections = 12;
  start({"--workers", "1", "--pipe-size", "64KiB", "--pipe-budget", std::string(kOnePipeSlots)});
  std::vector<Forwarded> idle;
  for (int i = 0; i < kConnections; ++i) {
    Forwarded pair = forward_one();
    ASSERT_NO_FATAL_FAILURE(transfer(*daemon_, pair.client.get(), pair.upstream.get(), kMoved));
    ASSERT_NO_FATAL_FAILURE(transfer(*daemon_, pair.upstream.get(), pair.client.get(), kMoved));
    idle.push_back(std::move(pair));
  }
  LogFields counters = stats();
  EXPECT_EQ(counters["active"], std::to_string(kConnections));
  EXPECT_EQ(counters["pipe_shortages"], "0") << "some idle connection held the pipe";
  EXPECT_EQ(counters["pipe_slots"], kOnePipeSlots);
  idle.clear();
  const auto ends = daemon_->wait_for_ends(kConnections, kProgramPatience);
  EXPECT_EQ(ends.size(), std::size_t{kConnections});
  for (const ConnectionEnd& end : ends) {
    EXPECT_GE(end.spliced_to_upstream, kMoved / 2) << end.line;
    EXPECT_GE(end.spliced_to_client, kMoved / 2) << end.line;
  }
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, IdleTest, testing::ValuesIn(both_engines()), name_of_mode);

}  // namespace
}  // namespace sluice::test
