// The real program on good and bad captures made by hand.

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/capture_builder.h"
#include "tests/support/daemon.h"
#include "tests/support/process.h"
#include "tests/support/regex.h"
#include "tests/support/settings.h"
#include "tests/support/temp_dir.h"
#include "tests/support/terminal.h"
#include "tests/support/wait.h"
#include "tests/system/keeper.h"
#include "tests/system/replayed.h"
#include "tests/system/two_addresses.h"

namespace sluice::test {
namespace {

using capture::GapReason;
using capture::Kind;
using capture::Side;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

CaptureRecord after(milliseconds time, CaptureRecord record) {
  const auto ns = static_cast<std::uint64_t>(std::chrono::nanoseconds(time).count());
  record.header.monotonic_ns = 1'000'000'000'000 + ns;
  record.header.wall_ns = 1'790'000'000'000'000'000 + ns;
  return record;
}
CaptureRecord opened(milliseconds time, std::uint64_t connection, std::uint8_t sides = 3) {
  const CaptureRecord stamp = after(time, {});
  capture::OpenInfo info = open_info(connection);
  info.began_monotonic_ns = stamp.header.monotonic_ns;
  info.began_wall_ns = stamp.header.wall_ns;
  info.sides = sides;
  return after(time, open_record(connection, info));
}
/// A `close` record. The sides have recorded these bytes.
CaptureRecord closed(milliseconds time, std::uint64_t connection, const std::string& client = "",
                     const std::string& upstream = "") {
  capture::CloseInfo info;
  info.sides = {totals_of(bytes_of(client)), totals_of(bytes_of(upstream))};
  info.reason = "closed";
  return after(time, close_record(connection, info));
}

/// Sends `text` after 1 ms and ends both sides in order after 2 ms.
std::vector<CaptureRecord> simple(std::uint64_t connection, const std::string& text,
                                  milliseconds begin = milliseconds(0)) {
  const milliseconds ms(1);
  return {opened(begin, connection),
          after(begin + ms, data_record(connection, Side::client, 0, text)),
          after(begin + 2 * ms, end_record(Kind::eof, connection, Side::client, text.size())),
          after(begin + 2 * ms, end_record(Kind::eof, connection, Side::upstream, 0)),
          closed(begin + 3 * ms, connection, text)};
}

/// Asks and ends in order at once, and closes after `length`. Nothing of its upstream is recorded.
std::vector<CaptureRecord> client_only(milliseconds length, std::uint64_t connection = 1,
                                       milliseconds begin = milliseconds(0)) {
  return {opened(begin, connection, 1),
          after(begin, data_record(connection, Side::client, 0, "ask")),
          after(begin, end_record(Kind::eof, connection, Side::client, 3)),
          closed(begin + length, connection, "ask")};
}

std::vector<CaptureRecord> joined(const std::vector<std::vector<CaptureRecord>>& parts) {
  std::vector<CaptureRecord> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

/// A server that accepts one connection and calls `serve` with it.
class OneCall {
 public:
  explicit OneCall(std::function<void(OwnedFd&)> serve, SocketOptions options = {})
      : listener_(listen_tcp(16, options)), thread_([this, serve = std::move(serve)] {
          if (!readable_within(listener_.fd.get(), kPatience)) return;
          OwnedFd fd = accept_from(listener_.fd.get());
          serve(fd);
        }) {}
  ~OneCall() { join(); }
  OneCall(const OneCall&) = delete;
  OneCall& operator=(const OneCall&) = delete;
  [[nodiscard]] std::string address() const { return loopback_address(listener_.port); }
  /// Waits until that is done. Then its results may be read.
  void join() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  Listener listener_;
  std::thread thread_;
};

/// Reads everything, and returns how it ended.
Ending drain(int fd) {
  std::vector<std::byte> buffer(1 << 16);
  Ending ending = Ending::open;
  while (ending == Ending::open) ending = receive_some(fd, buffer).ending;
  return ending;
}

/// The answer and its end are recorded before the client's reset.
std::vector<CaptureRecord> reset_behind_the_answer(const std::string& request,
                                                   const std::string& answer) {
  const auto ms = [](int number) { return milliseconds(number); };
  return {opened(ms(0), 1),
          after(ms(0), data_record(1, Side::client, 0, request)),
          after(ms(50), data_record(1, Side::upstream, 0, answer)),
          after(ms(50), end_record(Kind::eof, 1, Side::upstream, answer.size())),
          after(ms(100), end_record(Kind::reset, 1, Side::client, request.size())),
          closed(ms(100), 1, request, answer)};
}

// --- Time ---

TEST(ReplayTime, NothingComesBeforeItIsDue) {
  const TempDir folder;
  write_segment(
      folder.path(), {},
      {opened(milliseconds(0), 1), after(milliseconds(0), data_record(1, Side::client, 0, "a")),
       after(milliseconds(600), data_record(1, Side::client, 1, "b")),
       after(milliseconds(600), end_record(Kind::eof, 1, Side::client, 2)),
       after(milliseconds(600), end_record(Kind::eof, 1, Side::upstream, 0)),
       closed(milliseconds(600), 1, "ab")});
  for (const auto& [speed, least] : std::vector<std::pair<std::string, milliseconds>>{
           {"1x", milliseconds(600)}, {"2x", milliseconds(300)}, {"0.5x", milliseconds(1200)}}) {
    steady_clock::time_point second;
    Keeper target([&](const std::string& so_far, bool ended) {
      if (so_far.size() == 2 && !ended) second = steady_clock::now();
      return std::string();
    });
    const auto began = steady_clock::now();
    EXPECT_EQ(replay({folder.path(), "--to", target.address(), "--speed", speed}).status, 0);
    ASSERT_EQ(target.wait_for(1).at(0).bytes, "ab");
    EXPECT_GE(second - began, least) << speed;
    EXPECT_LT(second - began, 3 * least + std::chrono::seconds(10)) << speed;
  }
}

/// The records of a run whose clock is `days` ahead.
void write_run(const std::string& folder, const std::string& run, std::uint8_t number, int days,
               std::vector<CaptureRecord> records) {
  const auto ahead = static_cast<std::uint64_t>(days) * 24 * 3600 * 1'000'000'000;
  for (CaptureRecord& record : records) {
    if (record.header.is(Kind::open)) {
      capture::OpenInfo info = *capture::decode_open(record.payload);
      info.began_wall_ns += ahead;
      record.payload = open_record(record.header.connection, info).payload;
    }
    record.header.wall_ns += ahead;
  }
  SegmentPlan plan;
  plan.run = run;
  plan.id = number;
  write_segment(folder, plan, records);
}

// The first run's clock was wrong, as on a machine that has no clock while it is off.
TEST(ReplayGapsInTime, BetweenRunsNothingWaits) {
  const TempDir folder;
  write_run(folder.path(), "run1", 1, 0, simple(1, "first"));
  write_run(folder.path(), "run2", 2, 300, simple(2, "second"));
  Keeper target;
  const TempDir out;
  const Replayed replayed =
      replay({folder.path(), "--to", target.address(), "--html", out.file("page")});
  EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
  EXPECT_EQ(target.wait_for(2).size(), 2U);
  const std::string told = "1 gap between runs skipped: 299d23h59m59s of the recording in all";
  EXPECT_TRUE(has(replayed.output, told + '\n')) << replayed.output;
  EXPECT_TRUE(has(read_text(out.file("page")), '"' + told + '"'));
  const json::value& gaps = replayed.report.at("gaps");
  EXPECT_EQ(gaps.at("between_runs").at("count").to_number<int>(), 1);
  EXPECT_NEAR(gaps.at("between_runs").at("seconds").to_number<double>(), 300 * 24 * 3600.0, 1);
  EXPECT_EQ(gaps.at("shortened").at("count").to_number<int>(), 0);
}

// The outer connection is idle for a day, in which nothing else happens. The inner one begins and
// ends behind that, while the outer one is open.
TEST(ReplayGapsInTime, ALongOneIsShortenedForAllConnections) {
  const TempDir folder;
  const std::chrono::hours day(24);
  write_segment(
      folder.path(), {},
      joined({{opened(milliseconds(0), 1),
               after(milliseconds(0), data_record(1, Side::client, 0, "outer"))},
              simple(2, "inner", day),
              {after(day + milliseconds(500), end_record(Kind::eof, 1, Side::client, 5)),
               after(day + milliseconds(500), end_record(Kind::eof, 1, Side::upstream, 0)),
               closed(day + milliseconds(500), 1, "outer")}}));
  for (const auto& [speed, least] :
       {std::pair{"1x", milliseconds(400)}, std::pair{"1000x", milliseconds(200)}}) {
    Keeper target;
    const auto began = steady_clock::now();
    const Replayed replayed =
        replay({folder.path(), "--to", target.address(), "--speed", speed, "--max-gap", "200ms"});
    EXPECT_GE(steady_clock::now() - began, least);
    EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
    const std::vector<Keeper::Kept> kept = target.wait_for(2);
    EXPECT_EQ(kept.at(0).bytes, "outer");
    EXPECT_EQ(kept.at(1).bytes, "inner");
    const json::value& gaps = replayed.report.at("gaps").at("shortened");
    EXPECT_EQ(gaps.at("count").to_number<int>(), speed == std::string("1x") ? 2 : 1);
    EXPECT_TRUE(
        Regex("(2 gaps shortened by --max-gap: 1d|1 gap shortened by --max-gap: 23h56m40s) of "
              "the recording in all\n")
            .is_in(replayed.output))
        << replayed.output;
    EXPECT_EQ(replayed.report.at("settings").at("max_gap_ns").to_number<int>(), 200'000'000);
  }
}

/// Measures how late a thread that only sleeps is woken here meanwhile.
class Sleeper {
 public:
  /// Ends it. Returns the delay that nine of ten wake-ups did not exceed.
  [[nodiscard]] std::chrono::nanoseconds late() {
    thread_.request_stop();
    thread_.join();
    std::ranges::sort(late_);
    return late_.empty() ? std::chrono::nanoseconds(0) : late_[late_.size() * 9 / 10];
  }

 private:
  void sleep(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const auto until = steady_clock::now() + milliseconds(10);
      std::this_thread::sleep_until(until);
      late_.emplace_back(steady_clock::now() - until);
    }
  }
  std::vector<std::chrono::nanoseconds> late_;  // used by the thread until it has ended
  std::jthread thread_{[this](const std::stop_token& stop) { sleep(stop); }};
};

/// The parameter: without io_uring.
class ReplayClockTest : public testing::TestWithParam<bool> {};

// With SLUICE_LONG=1 this takes an hour.
TEST_P(ReplayClockTest, ConnectionsBeginWhenTheyAreDueAndTheLastAsMuchAsTheFirst) {
  constexpr double kMostUs = 1000;
  constexpr std::chrono::microseconds kIdle{500};
  const int tries = by_scale(3, 3, 1);
  const auto connections = by_scale<std::uint64_t>(40, 40, 3'601);
  const auto apart = by_scale(milliseconds(53), milliseconds(53), milliseconds(1'000));
  const TempDir folder;
  std::vector<std::vector<CaptureRecord>> all;
  for (std::uint64_t each = 0; each < connections; ++each) {
    all.push_back(simple(each + 1, "hello", each * apart));
  }
  write_segment(folder.path(), {}, joined(all));
  ProcessOptions options;
  options.forbid_io_uring = GetParam();
  const auto patience =
      std::chrono::duration_cast<std::chrono::seconds>(connections * apart) + kProgramPatience;
  bool late_though_idle = false;
  for (int i = 0; i < tries; ++i) {
    Keeper target;
    Sleeper sleeper;
    const Replayed replayed = replay({folder.path(), "--to", target.address()}, options, patience);
    ASSERT_EQ(replayed.status, 0) << replayed.output << replayed.error;
    ASSERT_EQ(replayed.count("completed"), connections);
    std::printf("%s", replayed.output.c_str());
    const json::value& lag = replayed.report.at("lag_us").at("connections");
    const bool in_time =
        std::max(lag.at("p50").to_number<double>(), lag.at("last").to_number<double>()) < kMostUs;
    if (in_time) return;
    if (sleeper.late() < kIdle) late_though_idle = true;
  }
  if (!late_though_idle) GTEST_SKIP() << "the machine has too much else to do";
  FAIL() << "behind schedule each time";
}

std::string name_of_clock(const testing::TestParamInfo<bool>& without_uring) {
  return without_uring.param ? "epoll" : "uring";
}
INSTANTIATE_TEST_SUITE_P(EveryEngine, ReplayClockTest, testing::Bool(), name_of_clock);

TEST(ReplayTime, ConnectionsBeyondTheBoundWaitAndTheirLagIsTold) {
  const TempDir folder;
  // Both last from the first moment to 300 ms.
  std::vector<CaptureRecord> records;
  for (const std::uint64_t each : {1U, 2U}) records.push_back(opened(milliseconds(0), each));
  for (const std::uint64_t each : {1U, 2U}) {
    records.push_back(after(milliseconds(300), end_record(Kind::eof, each, Side::client, 0)));
    records.push_back(after(milliseconds(300), end_record(Kind::eof, each, Side::upstream, 0)));
    records.push_back(closed(milliseconds(300), each));
  }
  write_segment(folder.path(), {}, records);
  Keeper target;
  const Replayed replayed = replay({folder.path(), "--to", target.address(), "--connections", "1"});
  EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
  EXPECT_EQ(target.wait_for(2).size(), 2U);
  EXPECT_EQ(target.most_at_once(), 1U);
  const json::value& lag = replayed.report.at("lag_us").at("connections");
  EXPECT_GE(lag.at("max").to_number<double>(), 300'000 * 0.99);
}

// In the recording the server took 5 s. Now it takes only slightly longer than --response-timeout,
// to show that the recorded time counts, too. The replay waits for the answer or, without checking,
// for its end.
TEST(ReplayTime, AnAnswerMayTakeAsLongAsInTheRecording) {
  constexpr milliseconds kThen{5000};
  constexpr milliseconds kNow{500};
  const TempDir folder;
  write_segment(
      folder.path(), {},
      {opened(milliseconds(0), 1), after(milliseconds(0), data_record(1, Side::client, 0, "ask")),
       after(kThen, data_record(1, Side::upstream, 0, "answer")),
       after(kThen, end_record(Kind::eof, 1, Side::client, 3)),
       after(kThen, end_record(Kind::eof, 1, Side::upstream, 6)),
       closed(kThen, 1, "ask", "answer")});
  for (const bool waits : {true, false}) {
    Keeper slow([&](const std::string&, bool ended) {
      if (ended) return std::string();
      std::this_thread::sleep_for(kNow);
      return std::string("answer");
    });
    std::vector<std::string> arguments{
        folder.path(), "--to", slow.address(), "--speed", "max", "--response-timeout", "50ms"};
    if (waits) arguments.emplace_back("--wait-responses");
    const Replayed replayed = replay(arguments);
    EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
    EXPECT_EQ(replayed.count("received_bytes"), 6U);
    EXPECT_EQ(replayed.count("completed"), 1U);
  }
}

// It is unknown when it came, but it took no longer than the connection.
TEST(ReplayTime, AnAnswerThatWasNotRecordedMayTakeAsLongAsTheConnection) {
  const TempDir folder;
  write_segment(folder.path(), {}, client_only(std::chrono::minutes(1)));
  Keeper slow([](const std::string&, bool ended) {
    if (ended) std::this_thread::sleep_for(milliseconds(500));
    return std::string("answer");
  });
  const Replayed replayed = replay(
      {folder.path(), "--to", slow.address(), "--speed", "max", "--response-timeout", "50ms"});
  EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
  EXPECT_EQ(replayed.count("completed"), 1U);
}

// Nor does it wait for ever, whatever a server sends.
TEST(ReplayTime, AnAnswerThatWasNotRecordedHasToEnd) {
  const TempDir folder;
  write_segment(folder.path(), {}, client_only(milliseconds(1)));
  OneCall endless([](OwnedFd& fd) {
    while (send_all(fd.get(), "more")) std::this_thread::sleep_for(milliseconds(20));
  });
  const Replayed replayed =
      replay({folder.path(), "--to", endless.address(), "--response-timeout", "300ms"});
  EXPECT_EQ(replayed.status, 1) << replayed.output << replayed.error;
  EXPECT_TRUE(has(replayed.output, "the server did not end the connection in time"))
      << replayed.output;
}

TEST(ReplayTime, AResetThatCameBehindTheAnswersEndDoesNotComeBeforeIt) {
  const TempDir folder;
  write_segment(folder.path(), {}, reset_behind_the_answer("ask", "answer"));
  Ending ending = Ending::open;
  OneCall slow([&](OwnedFd& fd) {
    EXPECT_EQ(receive_text(fd.get(), 3), "ask");
    std::this_thread::sleep_for(milliseconds(300));
    EXPECT_TRUE(send_all(fd.get(), "answer"));
    ::shutdown(fd.get(), SHUT_WR);
    ending = drain(fd.get());
  });
  const Replayed replayed =
      replay({folder.path(), "--to", slow.address(), "--speed", "max", "--compare"});
  EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
  EXPECT_EQ(replayed.count("received_bytes"), 6U);
  EXPECT_EQ(replayed.count("completed"), 1U);
  slow.join();
  EXPECT_NE(ending, Ending::open);
}

// --- How ---

/// A client that sends `pieces` of `bytes` each, at once, and ends after `time`.
std::vector<CaptureRecord> sender(std::uint64_t connection, std::uint64_t pieces, std::size_t bytes,
                                  milliseconds time) {
  const std::string piece(bytes, 'x');
  std::vector<CaptureRecord> records{opened(milliseconds(0), connection)};
  for (std::uint64_t i = 0; i < pieces; ++i) {
    records.push_back(
        after(milliseconds(0), data_record(connection, Side::client, i * bytes, piece)));
  }
  records.push_back(after(time, end_record(Kind::eof, connection, Side::client, pieces * bytes)));
  records.push_back(after(time, end_record(Kind::eof, connection, Side::upstream, 0)));
  records.push_back(closed(time, connection, std::string(pieces * bytes, 'x')));
  return records;
}

/// The bytes that each call has written to sockets, by its name, as strace -y prints them.
std::map<std::string, std::uint64_t> sent_by_call(const std::string& path) {
  const Regex call(R"(^(\w+)\(\d+<socket:.*\) += (\d+)$)");
  std::map<std::string, std::uint64_t> sent;
  std::ifstream lines(path);
  for (std::string line; std::getline(lines, line);) {
    const std::vector<std::string> found = call.first_in(line);
    if (!found.empty()) sent[found[1]] += std::stoull(found[2]);
  }
  return sent;
}

TEST(ReplayCalls, ClientsBytesAreSentBySendfileAlone) {
  SLUICE_NEEDS_STRACE();
  const TempDir folder;
  const TempDir traced;
  constexpr std::uint64_t kPieces = 40;
  constexpr std::size_t kPieceBytes = 50'000;
  SegmentPlan plan;
  plan.frame_bytes = 1 << 20;
  write_segment(folder.path(), plan, sender(1, kPieces, kPieceBytes, milliseconds(1)));
  Keeper target;
  ProcessOptions options;
  options.environment = {without_leak_check()};  // a traced process cannot look for leaks
  Process process({"strace", "-y", "-s", "0", "-o", traced.file("trace"), "-e",
                   "trace=sendfile,splice,write,writev,pwritev2,sendto,sendmsg,sendmmsg",
                   replay_tool(), folder.path(), "--to", target.address()},
                  options);
  EXPECT_EQ(process.wait(), 0) << process.standard_output() << process.standard_error();
  const std::map<std::string, std::uint64_t> all{{"sendfile", kPieces * kPieceBytes}};
  EXPECT_EQ(sent_by_call(traced.file("trace")), all);
}

// The second connection waits 600 ms for the first, and is that late until its client ends.
TEST(ReplayProgress, IsShownOnATerminalWithTheRateAndTheLagAndTakenAwayAtTheEnd) {
  const TempDir folder;
  SegmentPlan plan;
  plan.frame_bytes = 1 << 20;
  write_segment(
      folder.path(), plan,
      joined({sender(1, 80, 50'000, milliseconds(600)), sender(2, 1, 10, milliseconds(1800))}));
  Terminal terminal;
  ProcessOptions options;
  options.standard_error = terminal.program_end();
  Keeper target;
  Process process({replay_tool(), folder.path(), "--to", target.address(), "--connections", "1"},
                  options);
  terminal.close_program_end();
  const std::string shown = terminal.read_to_end();
  EXPECT_EQ(process.wait(), 0) << process.standard_output();
  const std::string line =
      "\r[0-9]+ of 2 connections, [0-9]+ open, [0-9]+\\.[0-9] MiB sent, [0-9]+\\.[0-9] MiB/s, "
      "[0-9]+\\.[0-9] ms behind\x1b\\[K";
  EXPECT_TRUE(Regex('(' + line + ")+\r\x1b\\[K").matches(shown)) << shown;
  EXPECT_TRUE(Regex("3\\.8 MiB sent, [1-9][0-9]*\\.[0-9] MiB/s").is_in(shown)) << shown;
  EXPECT_TRUE(Regex(" [0-9]{3,}\\.[0-9] ms behind").is_in(shown)) << shown;
}

// --- What is missing ---

TEST(ReplayGaps, AConnectionEndsByAResetAtAGap) {
  const TempDir folder;
  write_segment(
      folder.path(), {},
      joined({{opened(milliseconds(0), 1),
               after(milliseconds(1), data_record(1, Side::client, 0, "hello")),
               after(milliseconds(2), gap_record(1, Side::client, 5, 50, GapReason::buffers_full)),
               after(milliseconds(3), data_record(1, Side::client, 55, "world")),
               closed(milliseconds(4), 1, "helloworld")},
              simple(2, "whole", milliseconds(50))}));
  Keeper target;
  const Replayed replayed = replay({folder.path(), "--to", target.address()});
  EXPECT_EQ(replayed.status, 4) << replayed.output << replayed.error;
  EXPECT_TRUE(has(replayed.output, "1 connection ended by a reset where the recording has a gap"))
      << replayed.output;
  const std::vector<Keeper::Kept> kept = target.wait_for(2);
  EXPECT_EQ(kept.at(0), (Keeper::Kept{"hello", Ending::reset}));
  EXPECT_EQ(kept.at(1), (Keeper::Kept{"whole", Ending::eof}));
}

// The answer's gap is recorded before the client's. So the offset that it reached may belong to
// requests that the client's gap lost.
TEST(ReplayGaps, AGapOnBothSidesWaitsForNoAnswerAndIsNoDifference) {
  const TempDir folder;
  write_segment(
      folder.path(), {},
      {opened(milliseconds(0), 1), after(milliseconds(1), data_record(1, Side::client, 0, "ask;")),
       after(milliseconds(2), data_record(1, Side::upstream, 0, "<1>")),
       after(milliseconds(3), gap_record(1, Side::upstream, 3, 900, GapReason::buffers_full)),
       after(milliseconds(3), gap_record(1, Side::client, 4, 50, GapReason::buffers_full)),
       after(milliseconds(4), data_record(1, Side::client, 54, "more;")),
       after(milliseconds(5), end_record(Kind::eof, 1, Side::upstream, 903)),
       closed(milliseconds(6), 1, "ask;more;", "<1>")});
  Keeper target;
  const Replayed replayed = replay({folder.path(), "--to", target.address(), "--wait-responses",
                                    "--response-timeout", "1h", "--compare"});
  EXPECT_EQ(replayed.status, 4) << replayed.output << replayed.error;
  EXPECT_EQ(target.wait_for(1).at(0), (Keeper::Kept{"ask;", Ending::reset}));
  EXPECT_EQ(replayed.count("cut_at_gap"), 1U);
  EXPECT_EQ(replayed.count("short_answers"), 0U);
  EXPECT_EQ(replayed.report.at("compare").at("different").to_number<int>(), 0);
}

TEST(ReplayGaps, AConnectionWithoutItsBeginningIsLeftOut) {
  const TempDir folder;
  write_segment(folder.path(), {},
                joined({{after(milliseconds(0), data_record(7, Side::client, 9, "rest"))},
                        simple(2, "whole", milliseconds(50))}));
  Keeper target;
  const Replayed replayed = replay({folder.path(), "--to", target.address()});
  EXPECT_EQ(replayed.status, 4) << replayed.output << replayed.error;
  EXPECT_EQ(target.wait_for(1).size(), 1U);
  EXPECT_EQ(replayed.report.at("capture").at("without_beginning").to_number<int>(), 1);
}

TEST(ReplayGaps, AnswersThatWereNotRecordedAreNotWaitedForWhichIsTold) {
  const TempDir folder;
  write_segment(
      folder.path(), {},
      joined({client_only(milliseconds(3), 1), client_only(milliseconds(3), 2, milliseconds(20))}));
  for (const bool waits : {true, false}) {
    Keeper target;
    std::vector<std::string> arguments{folder.path(), "--to", target.address()};
    if (waits) arguments.emplace_back("--wait-responses");
    const Replayed replayed = replay(arguments);
    EXPECT_EQ(replayed.status, waits ? 4 : 0) << replayed.output << replayed.error;
    EXPECT_EQ(has(replayed.output,
                  "2 connections whose answers were not awaited, since they were not recorded "
                  "completely\n"),
              waits)
        << replayed.output;
  }
}

// Only the end of the recording tells that answers beyond a limit are missing.
TEST(ReplayGaps, AnswersThatWereNotAllRecordedAreToldToo) {
  const TempDir folder;
  write_segment(
      folder.path(), {},
      {opened(milliseconds(0), 1), after(milliseconds(1), data_record(1, Side::client, 0, "ask;")),
       after(milliseconds(2), data_record(1, Side::upstream, 0, "<1>")),
       after(milliseconds(3), data_record(1, Side::client, 4, "ask;")),
       after(milliseconds(4), gap_record(1, Side::upstream, 3, 3, GapReason::limit)),
       after(milliseconds(4), end_record(Kind::eof, 1, Side::client, 8)),
       after(milliseconds(4), end_record(Kind::eof, 1, Side::upstream, 6)),
       closed(milliseconds(5), 1, "ask;ask;", "<1>")});
  Keeper target([](const std::string&, bool ended) { return ended ? "" : "<1>"; });
  const Replayed replayed = replay({folder.path(), "--to", target.address(), "--wait-responses"});
  EXPECT_EQ(replayed.status, 4) << replayed.output << replayed.error;
  EXPECT_EQ(replayed.count("not_waited_for"), 1U);
}

TEST(ReplayGaps, ARecordingThatWasCutOffEndsByAReset) {
  const TempDir folder;
  SegmentPlan plan;
  plan.footer = false;
  write_segment(folder.path(), plan,
                {opened(milliseconds(0), 1),
                 after(milliseconds(1), data_record(1, Side::client, 0, "hello"))},
                capture::SegmentState::open);
  Keeper target;
  const Replayed replayed = replay({folder.path(), "--to", target.address()});
  EXPECT_EQ(replayed.status, 4) << replayed.output << replayed.error;
  EXPECT_EQ(target.wait_for(1).at(0), (Keeper::Kept{"hello", Ending::reset}));
  EXPECT_EQ(replayed.count("cut_at_end"), 1U);
}

// Whatever a file contains, the program ends in order and sends nothing that was not recorded.
TEST(ReplayHostile, FlippedBytesDoNoHarm) {
  const auto good = build_segment(
      {}, joined({simple(1, std::string(3000, 'a')), simple(2, std::string(3000, 'a'))}));
  std::mt19937_64 random(seed());
  Keeper target;
  for (int round = 0; round < by_scale(10, 60, 1000); ++round) {
    const TempDir folder;
    auto bytes = good;
    for (int flips = 0; flips < 3; ++flips) {
      bytes[random() % bytes.size()] ^= static_cast<std::byte>(1U << random() % 8);
    }
    write_segment_bytes(folder.path(), {}, bytes);
    const Replayed replayed = replay({folder.path(), "--to", target.address(), "--speed", "max",
                                      "--compare", "--response-timeout", "100ms"});
    ASSERT_TRUE(replayed.status == 0 || replayed.status == 1 || replayed.status == 4 ||
                replayed.status == 6)
        << replayed.status.value_or(-1) << replayed.output << replayed.error;
  }
  for (const Keeper::Kept& kept : target.wait_for(0)) {
    EXPECT_EQ(kept.bytes.find_first_not_of('a'), std::string::npos);
  }
}

TEST(ReplayHostile, ASegmentThatGetsShorterMeanwhileEndsItsConnections) {
  const TempDir folder;
  SegmentPlan plan;
  plan.frame_bytes = 1 << 20;
  const std::string path = write_segment(
      folder.path(), plan,
      joined({{opened(milliseconds(0), 1),
               after(milliseconds(0), data_record(1, Side::client, 0, "first")),
               after(milliseconds(1500), data_record(1, Side::client, 5, std::string(60'000, 'x'))),
               closed(milliseconds(1500), 1, "first" + std::string(60'000, 'x'))}}));
  Keeper target([&](const std::string&, bool) {
    std::filesystem::resize_file(path, 1000);
    return std::string();
  });
  const Replayed replayed = replay({folder.path(), "--to", target.address()});
  EXPECT_EQ(replayed.status, 1) << replayed.output << replayed.error;
  EXPECT_TRUE(has(replayed.output, "shorter")) << replayed.output;
  EXPECT_EQ(target.wait_for(1).at(0).ending, Ending::reset);
}

// What the replay knows of each record is in a file, not in memory.
TEST(ReplayHostile, MemoryDoesNotGrowWithTheCapture) {
  if (sanitized()) GTEST_SKIP() << "a sanitizer's memory is its own";
  constexpr std::uint64_t kConnections = 50'000;
  constexpr std::uint64_t kMostKiB = 8 << 10;  // half of what 4 actions and 1 connection take
  const TempDir folder;
  std::vector<CaptureRecord> records;
  for (std::uint64_t each = 1; each <= kConnections; ++each) {
    // One begins now, all others much later.
    const auto begin = each == 1 ? milliseconds(0) : milliseconds(3'600'000);
    const std::vector<CaptureRecord> one = simple(each, "hello", begin);
    records.insert(records.end(), one.begin(), one.end());
  }
  SegmentPlan plan;
  plan.frame_bytes = 1 << 20;
  write_segment(folder.path(), plan, records);
  Keeper target;
  Process process({replay_tool(), folder.path(), "--to", target.address(), "--compare"});
  // By now the plan is complete.
  ASSERT_EQ(target.wait_for(1).size(), 1U) << process.standard_error();
  const std::string status = read_text("/proc/" + std::to_string(process.pid()) + "/status");
  const auto found = Regex("RssAnon:\\s+([0-9]+) kB").first_in(status);
  ASSERT_FALSE(found.empty());
  EXPECT_LT(std::stoull(found[1]), kMostKiB);
  process.signal(SIGTERM);
  EXPECT_EQ(process.wait(), 130);
}

// --- Ends ---

TEST(ReplayEnds, AReportReplacesNothingBeforeItIsThere) {
  const TempDir folder;
  const TempDir capture;
  write_segment(capture.path(), {}, simple(1, "hello"));
  const std::string earlier = folder.write("report.json", "earlier");
  const std::string to = loopback_address(free_port());
  EXPECT_EQ(replay({folder.file("missing"), "--to", to, "--html", earlier}).status, 1);
  EXPECT_EQ(read_text(earlier), "earlier");
  for (const auto& entry : std::filesystem::directory_iterator(capture.path())) {
    const auto size = entry.file_size();
    const Replayed refused = replay({capture.path(), "--to", to, "--html", entry.path().string()});
    EXPECT_EQ(refused.status, 1);
    EXPECT_TRUE(has(refused.error, "segment")) << refused.error;
    EXPECT_EQ(entry.file_size(), size);
  }
}

TEST(ReplayEnds, AServerThatIsNotThereIsAFailure) {
  const TempDir folder;
  write_segment(folder.path(), {}, simple(1, "hello"));
  for (const std::vector<std::string>& more :
       {std::vector<std::string>{}, {"--compare"}, {"--compare", "--wait-responses"}}) {
    const std::string to = loopback_address(free_port());
    std::vector<std::string> arguments{folder.path(), "--to", to};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Replayed replayed = replay(arguments);
    EXPECT_EQ(replayed.status, 1);
    EXPECT_TRUE(has(replayed.output, "1 connection failed: connect " + to + ": Connection refused"))
        << replayed.output;
    EXPECT_TRUE(replayed.output.starts_with("0 of 1 connections completed, 1 failed: to "))
        << replayed.output;
    if (more.empty()) continue;
    EXPECT_TRUE(has(replayed.output, "\n0 answers compared, 0 differ\n")) << replayed.output;
  }
}

TEST(ReplayEnds, AServerThatDoesNotReadIsGivenUpInTime) {
  const TempDir folder;
  SegmentPlan plan;
  plan.frame_bytes = 1 << 20;
  std::vector<CaptureRecord> records{opened(milliseconds(0), 1)};
  const std::string piece(60'000, 'x');
  for (std::uint64_t at = 0; at < 400 * piece.size(); at += piece.size()) {
    records.push_back(after(milliseconds(0), data_record(1, Side::client, at, piece)));
  }
  records.push_back(closed(milliseconds(0), 1, std::string(400 * piece.size(), 'x')));
  write_segment(folder.path(), plan, records);
  const Listener deaf = listen_tcp(16, {.receive_buffer_bytes = 4096});
  const Replayed replayed =
      replay({folder.path(), "--to", loopback_address(deaf.port), "--response-timeout", "300ms"});
  EXPECT_EQ(replayed.status, 1) << replayed.output << replayed.error;
  EXPECT_TRUE(has(replayed.output, "the server stopped reading")) << replayed.output;
}

TEST(ReplayEnds, AnInterruptEndsTheConnectionsAndPrintsWhatWasMeasured) {
  const TempDir folder;
  write_segment(
      folder.path(), {},
      {opened(milliseconds(0), 1), after(milliseconds(0), data_record(1, Side::client, 0, "hello")),
       after(std::chrono::hours(1), data_record(1, Side::client, 5, "late")),
       closed(std::chrono::hours(1), 1, "hellolate")});
  std::atomic<bool> arrived = false;
  Keeper target([&](const std::string& so_far, bool) {
    arrived = so_far == "hello";
    return std::string();
  });
  const std::string report = folder.file("report.json");
  Process process({replay_tool(), folder.path(), "--to", target.address(), "--json", report});
  ASSERT_TRUE(wait_until([&] { return arrived.load(); })) << process.standard_error();
  process.signal(SIGINT);
  EXPECT_EQ(process.wait(), 130) << process.standard_error();
  EXPECT_EQ(target.wait_for(1).at(0), (Keeper::Kept{"hello", Ending::reset}));
  EXPECT_TRUE(has(process.standard_output(), "1 connection interrupted"))
      << process.standard_output();
  EXPECT_TRUE(json::parse(read_text(report)).at("interrupted").as_bool());
}

TEST(ReplayEnds, AServerThatEndsItsAnswerTooEarlyIsToldWhereItWasWaitedFor) {
  const TempDir folder;
  write_segment(
      folder.path(), {},
      {opened(milliseconds(0), 1), after(milliseconds(1), data_record(1, Side::client, 0, "ask")),
       after(milliseconds(2), data_record(1, Side::upstream, 0, "a long answer")),
       after(milliseconds(3), end_record(Kind::eof, 1, Side::upstream, 13)),
       after(milliseconds(4), end_record(Kind::eof, 1, Side::client, 3)),
       closed(milliseconds(5), 1, "ask", "a long answer")});
  for (const bool waits : {true, false}) {
    OneCall brief([](OwnedFd& fd) {
      EXPECT_EQ(receive_text(fd.get(), 3), "ask");
      EXPECT_TRUE(send_all(fd.get(), "no"));
      ::shutdown(fd.get(), SHUT_WR);
      EXPECT_EQ(drain(fd.get()), Ending::eof);
    });
    std::vector<std::string> arguments{folder.path(), "--to", brief.address()};
    if (waits) arguments.emplace_back("--wait-responses");
    const Replayed replayed = replay(arguments);
    EXPECT_EQ(replayed.status, waits ? 1 : 0) << replayed.output << replayed.error;
    EXPECT_EQ(replayed.count("short_answers") > 0, waits);
  }
}

// While the server still reads, however slowly, no byte sent before a reset is lost.
TEST(ReplayEnds, BeforeAResetASlowServerGetsAll) {
  constexpr std::size_t kPieces = 30;
  const std::string piece(60'000, 'x');
  const TempDir folder;
  SegmentPlan plan;
  plan.frame_bytes = 1 << 20;
  std::vector<CaptureRecord> records{opened(milliseconds(0), 1)};
  for (std::size_t i = 0; i < kPieces; ++i) {
    records.push_back(
        after(milliseconds(0), data_record(1, Side::client, i * piece.size(), piece)));
  }
  const std::size_t all = kPieces * piece.size();
  records.push_back(after(milliseconds(0), end_record(Kind::reset, 1, Side::client, all)));
  records.push_back(closed(milliseconds(0), 1, std::string(all, 'x')));
  write_segment(folder.path(), plan, records);
  std::size_t got = 0;
  OneCall slow(
      [&](OwnedFd& fd) {
        std::vector<std::byte> buffer(piece.size());
        Received part;
        while ((part = receive_some(fd.get(), buffer)).ending == Ending::open) {
          got += part.bytes;
          // In total longer than the time-out, each time much shorter.
          if (got < all) std::this_thread::sleep_for(milliseconds(5'000) * part.bytes / all);
        }
      },
      {.receive_buffer_bytes = 1 << 16});
  const Replayed replayed =
      replay({folder.path(), "--to", slow.address(), "--response-timeout", "4s"});
  EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
  EXPECT_EQ(replayed.count("completed"), 1U);
  slow.join();
  EXPECT_EQ(got, all);
}

// The server acknowledges nothing more, and the replay reads nothing that would show it.
TEST(ReplayEnds, AConnectionThatTheServerHasCutByThenHoldsUpNothing) {
  const TempDir folder;
  SegmentPlan plan;
  plan.frame_bytes = 1 << 20;
  write_segment(folder.path(), plan, reset_behind_the_answer(std::string(60'000, 'x'), "413"));
  OneCall rude(
      [](OwnedFd& fd) {
        EXPECT_EQ(receive_text(fd.get(), 1), "x");
        EXPECT_TRUE(send_all(fd.get(), "413"));
        ::shutdown(fd.get(), SHUT_WR);
        // Unread bytes cause a reset.
        std::this_thread::sleep_for(milliseconds(20));
        fd.reset();
      },
      {.receive_buffer_bytes = 4096});
  const Replayed replayed =
      replay({folder.path(), "--to", rude.address(), "--response-timeout", "1h"});
  EXPECT_TRUE(replayed.status.has_value()) << "it waits for what cannot come";
}

// --- The target ---

TEST(ReplayTarget, EveryAddressOfANameIsTried) {
  if (!TwoAddresses::possible()) GTEST_SKIP() << "no program can be given a name here";
  const TempDir folder;
  write_segment(folder.path(), {}, joined({simple(1, "one"), simple(2, "two", milliseconds(10))}));
  // Listens on 127.0.0.1 only.
  Keeper target;
  const TwoAddresses names;
  Process process(names.known_to({replay_tool(), folder.path(), "--to",
                                  TwoAddresses::kName + (':' + std::to_string(target.port()))}));
  EXPECT_EQ(process.wait(), 0) << process.standard_output() << process.standard_error();
  EXPECT_EQ(target.wait_for(2).size(), 2U);
}

// --- Options ---

TEST(ReplayOptions, TheFilterChoosesConnections) {
  const TempDir folder;
  write_segment(folder.path(), {},
                joined({simple(1, "one"), simple(2, "two", milliseconds(10)),
                        simple(3, "three", milliseconds(20))}));
  const auto brought = [&](std::vector<std::string> filter, std::size_t count) {
    Keeper target;
    filter.insert(filter.begin(), {folder.path(), "--to", target.address()});
    const Replayed replayed = replay(filter);
    EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
    std::set<std::string> all;
    for (const Keeper::Kept& kept : target.wait_for(count)) all.insert(kept.bytes);
    return all;
  };
  using Set = std::set<std::string>;
  EXPECT_EQ(brought({"--connection", "c2"}, 1), (Set{"two"}));
  EXPECT_EQ(brought({"--peer", "10.0.0.1", "--peer", "10.0.0.3/32"}, 2), (Set{"one", "three"}));
  EXPECT_EQ(brought({"--until", "@1790000000.010"}, 1), (Set{"one"}));
  EXPECT_EQ(brought({"--from", "@1790000000.010", "--port", "80"}, 2), (Set{"two", "three"}));
}

TEST(ReplayOptions, AFilterThatLetsNothingThroughIsAFailure) {
  const TempDir folder;
  write_segment(folder.path(), {}, simple(1, "one"));
  const Replayed replayed = replay({folder.path(), "--to", "127.0.0.1:1", "--route", "elsewhere"});
  EXPECT_EQ(replayed.status, 1);
  EXPECT_EQ(replayed.error, "sluice-replay: there is no connection to replay\n");
  const std::string page = folder.file("page.html");
  EXPECT_EQ(
      replay({folder.path(), "--to", "127.0.0.1:1", "--route", "elsewhere", "--html", page}).status,
      1);
  EXPECT_FALSE(std::filesystem::exists(page)) << "an empty report";
}

TEST(ReplayOptions, AReportForProgramsMayGoToStdout) {
  const TempDir folder;
  const TempDir elsewhere;
  write_segment(folder.path(), {}, simple(1, "one"));
  ProcessOptions options;
  options.working_directory = elsewhere.path();
  Keeper target;
  Process process({replay_tool(), folder.path(), "--to", target.address(), "--json", "-"}, options);
  ASSERT_EQ(process.wait(), 0) << process.standard_error();
  const json::value report = json::parse(process.standard_output());
  EXPECT_EQ(report.at("replay").at("completed").to_number<int>(), 1);
  EXPECT_TRUE(has(process.standard_error(), "1 of 1 connections completed"));
  EXPECT_FALSE(std::filesystem::exists(elsewhere.file("-")));
}

TEST(ReplayOptions, AReportMayGoThroughAFifo) {
  const TempDir folder;
  const TempDir elsewhere;
  write_segment(folder.path(), {}, simple(1, "one"));
  const std::string fifo = elsewhere.file("report");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  Process reader({"/bin/cat", fifo});
  Keeper target;
  Process process({replay_tool(), folder.path(), "--to", target.address(), "--json", fifo});
  EXPECT_EQ(process.wait(), 0) << process.standard_error();
  EXPECT_EQ(reader.wait(), 0);
  const json::value report = json::parse(reader.standard_output());
  EXPECT_EQ(report.at("replay").at("completed").to_number<int>(), 1);
}

// Differing answers decide the status, not a report that cannot be written.
TEST(ReplayOptions, AReportThatCannotBeWrittenIsNotAllThatTheStatusTells) {
  const TempDir folder;
  write_segment(folder.path(), {}, simple(1, "one"));
  for (const auto& [answer, status] : std::map<std::string, int>{{"", 1}, {"unexpected", 6}}) {
    Keeper target([&, text = answer](const std::string&, bool ended) { return ended ? text : ""; });
    Process process({replay_tool(), folder.path(), "--to", target.address(), "--compare", "--json",
                     "/dev/full"});
    EXPECT_EQ(process.wait(), status) << process.standard_error();
    EXPECT_TRUE(has(process.standard_error(), "/dev/full")) << process.standard_error();
  }
  Process help({"/bin/sh", "-c", "exec \"$0\" --help >/dev/full", replay_tool()});
  EXPECT_EQ(help.wait(), 1);
  EXPECT_EQ(help.standard_error(), "sluice-replay: stdout cannot be written\n");
  Process wrong({"/bin/sh", "-c", "exec \"$0\" --unknown 2>/dev/full", replay_tool()});
  EXPECT_EQ(wrong.wait(), 2);
}

TEST(ReplayOptions, AWrongTargetIsToldWithTheFormsThatThereAre) {
  for (const char* wrong : {"127.0.0.1", "file:/tmp/x", "file:x", "discard:", "echo:", "dns:a:80",
                            "dns:a", "srv:_a._tcp.b", "srv:a"}) {
    Process process({replay_tool(), "capture", "--to", wrong});
    EXPECT_EQ(process.wait(), 2) << wrong;
    EXPECT_TRUE(
        has(process.standard_error(), "expected HOST:PORT, [IPV6]:PORT, :PORT or unix:/path\n"))
        << process.standard_error();
  }
}

TEST(ReplayOptions, WrongOnesAreOneLineAndStatusTwo) {
  const TempDir folder;
  write_segment(folder.path(), {}, simple(1, "one"));
  const std::string path = folder.path();
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {},
           {path},
           {"--to", "127.0.0.1:1"},
           {path, "--to", "nonsense"},
           {path, "--to", "echo:"},
           {path, "--to", "127.0.0.1:1", "--speed", "fast"},
           {path, "--to", "127.0.0.1:1", "--connections", "0"},
           {path, "--to", "127.0.0.1:1", "--repeat", "0"},
           {path, "--to", "127.0.0.1:1", "--json", "-", "--html", "-"},
           {path, "--to", "127.0.0.1:1", "--json", "report", "--html", "report"},
           {path, "--to", "127.0.0.1:1", "--response-timeout", "5"},
           {path, "--to", "127.0.0.1:1", "--response-timeout", "2h"},
           {path, "--to", "127.0.0.1:1", "--ignore", "1+1"},
           {path, "--to", "127.0.0.1:1", "--max-gap", "0"},
           {path, "--to", "127.0.0.1:1", "--max-gap", "366d"},
           {path, "--to", "127.0.0.1:1", "--ignore-pattern", "x"},
           {path, "--to", "127.0.0.1:1", "--compare", "--ignore-pattern", "("},
           {path, "--to", "127.0.0.1:1", "--compare", "--ignore", "x"},
           {path, "--to", "127.0.0.1:1", "--peer", "nobody"},
           {path, "--to", "127.0.0.1:1", "--from", "yesterday"},
           {path, "--to", "127.0.0.1:1", "--unknown"}}) {
    std::vector<std::string> command{replay_tool()};
    command.insert(command.end(), arguments.begin(), arguments.end());
    Process process(command);
    EXPECT_EQ(process.wait(), 2) << arguments.size();
    EXPECT_TRUE(Regex("sluice-replay: [^\n]+\n").matches(process.standard_error()))
        << process.standard_error();
  }
}

TEST(ReplayOptions, WhatCannotBeReadOrWrittenIsOneLine) {
  const TempDir folder;
  write_segment(folder.path(), {}, simple(1, "one"));
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {folder.file("nowhere"), "--to", "127.0.0.1:1"},
           {folder.path(), "--to", "127.0.0.1:1", "--html", "/nowhere/page.html"}}) {
    std::vector<std::string> command{replay_tool()};
    command.insert(command.end(), arguments.begin(), arguments.end());
    Process process(command);
    EXPECT_EQ(process.wait(), 1);
    EXPECT_TRUE(Regex("sluice-replay: [^\n]+\n").matches(process.standard_error()))
        << process.standard_error();
  }
}

// The document that the page's script makes.
std::string drawn_by_chromium(const std::string& page) {
  const TempDir profile;
  ProcessOptions options;
  options.environment = {"HOME=" + profile.path()};
  Process chromium(
      {"chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
       "--disable-dev-shm-usage", "--disable-breakpad", "--no-first-run",
       "--disable-background-networking", "--disable-component-update", "--disable-sync",
       "--user-data-dir=" + profile.path(), "--dump-dom", "file://" + page},
      options);
  EXPECT_EQ(chromium.wait(4 * kPatience), 0) << chromium.standard_error();
  return chromium.standard_output();
}

TEST(ReplayReport, ThePageHoldsThePictureAndNothingFromElsewhere) {
  const TempDir folder;
  capture::OpenInfo info = open_info(1);
  info.id = "<script>alert(1)</script>";
  std::vector<CaptureRecord> records{open_record(1, info)};
  for (std::uint64_t i = 0; i < 20; ++i) {
    records.push_back(after(milliseconds(i), data_record(1, Side::client, i, "?")));
    records.push_back(after(milliseconds(i + 1), data_record(1, Side::upstream, i, "!")));
  }
  records.push_back(closed(milliseconds(20), 1, std::string(20, '?'), std::string(20, '!')));
  write_segment(folder.path(), {}, records);
  Keeper target([](const std::string&, bool ended) { return ended ? "" : "x"; });
  const std::string page = folder.file("page.html");
  const Replayed replayed = replay({folder.path(), "--to", target.address(), "--speed", "max",
                                    "--wait-responses", "--compare", "--html", page});
  EXPECT_EQ(replayed.status, 6) << replayed.output << replayed.error;
  const std::string text = read_text(page);
  EXPECT_TRUE(has(text, "\\u003cscript>alert(1)"));
  EXPECT_FALSE(has(text, "<script>alert"));
  EXPECT_FALSE(has(text, "src="));
  EXPECT_TRUE(has(text, "default-src 'none'"));
  SLUICE_NEEDS_PROGRAM("chromium");
  const std::string drawn = drawn_by_chromium(page);
  EXPECT_TRUE(has(drawn, "class=\"chart curves\"")) << drawn;
  EXPECT_TRUE(has(drawn, "data-name=\"then\""));
  EXPECT_TRUE(has(drawn, "data-name=\"now\""));
  EXPECT_TRUE(
      has(drawn, "<th scope=\"row\" class=\"text\">&lt;script&gt;alert(1)&lt;/script&gt;</th>"));
  EXPECT_TRUE(has(drawn, "<p>1 answer compared, of which 1 differ.</p>"));
  EXPECT_FALSE(has(drawn, "<script>alert"));
}

// The recorded answers take 400 ms, those of now at least 50 ms.
TEST(ReplayReport, EveryAnswerThatWasComparedIsListedWithItsTimesThenAndNow) {
  constexpr milliseconds kThen{400};
  constexpr milliseconds kNow{50};
  const TempDir folder;
  const auto asks = [&](std::uint64_t connection, const std::string& question) {
    return std::vector<CaptureRecord>{
        opened(milliseconds(0), connection),
        after(milliseconds(0), data_record(connection, Side::client, 0, question)),
        after(kThen, data_record(connection, Side::upstream, 0, "answer")),
        after(kThen, end_record(Kind::eof, connection, Side::client, question.size())),
        after(kThen, end_record(Kind::eof, connection, Side::upstream, 6)),
        closed(kThen, connection, question, "answer")};
  };
  const std::vector<CaptureRecord> same = asks(1, "same");
  const std::vector<CaptureRecord> other = asks(2, "other");
  std::vector<CaptureRecord> records;
  for (std::size_t i = 0; i < same.size(); ++i) records.insert(records.end(), {same[i], other[i]});
  write_segment(folder.path(), {}, records);
  Keeper target([&](const std::string& so_far, bool ended) {
    if (ended) return std::string();
    std::this_thread::sleep_for(kNow);
    return std::string(so_far == "same" ? "answer" : "anSwer");
  });
  const steady_clock::time_point began = steady_clock::now();
  const Replayed replayed = replay(
      {folder.path(), "--to", target.address(), "--speed", "max", "--wait-responses", "--compare"});
  const auto most = std::chrono::nanoseconds(steady_clock::now() - began).count();
  ASSERT_EQ(replayed.status, 6) << replayed.output << replayed.error;
  const json::object& compare = replayed.report.at("compare").as_object();
  EXPECT_EQ(compare.at("answers_not_listed").to_number<int>(), 0);
  const json::array& answers = compare.at("answers").as_array();
  ASSERT_EQ(answers.size(), 2U);
  std::vector<json::object> all{compare.at("differences").at(0).as_object()};
  std::set<std::string> names;
  for (const json::value& each : answers) {
    all.push_back(each.as_object());
    const std::string name(each.at("connection").as_string());
    names.insert(name);
    EXPECT_EQ(each.at("differs").as_bool(), name == "c2");
    EXPECT_EQ(each.as_object().contains("first"), name == "c2");
    if (name == "c2") {
      EXPECT_EQ(each.at("first").to_number<int>(), 2);
    }
  }
  EXPECT_EQ(names, (std::set<std::string>{"c1", "c2"}));
  for (const json::object& each : all) {
    EXPECT_EQ(each.at("then_bytes").to_number<int>(), 6);
    EXPECT_EQ(each.at("now_bytes").to_number<int>(), 6);
    EXPECT_EQ(each.at("then_ns").to_number<std::int64_t>(),
              std::chrono::nanoseconds(kThen).count());
    EXPECT_GE(each.at("now_ns").to_number<std::int64_t>(), std::chrono::nanoseconds(kNow).count());
    EXPECT_LT(each.at("now_ns").to_number<std::int64_t>(), most);
  }
}

std::set<std::string> long_options(const std::string& text) {
  const std::vector<std::string> all = Regex("--[a-z]+(-[a-z]+)*").all_in(text);
  return {all.begin(), all.end()};
}

TEST(ReplayDocumentation, ManPageAndCompletionsHaveEveryOptionAndNoOther) {
  Process help({replay_tool(), "--help", "all"});
  ASSERT_EQ(help.wait(), 0);
  const std::set<std::string> options = long_options(help.standard_output());
  EXPECT_GT(options.size(), 10U);
  const std::string folder = SLUICE_REPLAY_DIR;
  const std::string page = Regex("\\\\-").replaced(read_text(folder + "/sluice-replay.1"), "-");
  for (const std::string& option : options) {
    EXPECT_TRUE(option == "--help" || has(page, ".B " + option)) << option;
  }
  for (const char* status : {"0", "1", "2", "4", "6", "130"}) {
    EXPECT_TRUE(has(page, std::string("\n.B ") + status + "\n")) << status;
  }
  const std::string fish =
      Regex(" -l ").replaced(read_text(folder + "/completions/sluice-replay.fish"), " --");
  for (const std::string& text : {read_text(folder + "/completions/_sluice-replay"), fish,
                                  read_text(folder + "/completions/sluice-replay.bash")}) {
    EXPECT_EQ(long_options(text), options) << text;
  }
}

}  // namespace
}  // namespace sluice::test
