// Traffic recorded through the real daemon, replayed to servers that keep what they get.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pattern.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/keeper.h"
#include "tests/system/recorded.h"
#include "tests/system/replayed.h"

namespace sluice::test {
namespace {

using std::chrono::milliseconds;

std::string pattern_text(std::uint64_t seed, std::size_t size) {
  std::string text(size, '\0');
  Pattern(seed).fill(0, std::as_writable_bytes(std::span(text)));
  return text;
}

/// "1,2,3;" is answered by "<3>".
std::string count_requests(const std::string& so_far, bool ended) {
  return !ended && so_far.ends_with(';')
             ? '<' + std::to_string(std::ranges::count(so_far, ';')) + '>'
             : "";
}

class ReplayTest : public testing::Test {
 protected:
  /// Records traffic to `origin_` through the daemon until end_recording().
  void start_recording(Keeper::Answer answer = {}) {
    origin_ = std::make_unique<Keeper>(std::move(answer));
    daemon_ = std::make_unique<Daemon>(route_arguments(
        {"epoll", "auto"}, origin_->address(), {"--capture", directory_, "--workers", "2"}));
  }
  [[nodiscard]] OwnedFd connect() const { return connect_tcp(daemon_->port()); }
  /// Returns what the origin has received.
  std::vector<Keeper::Kept> end_recording(std::size_t connections) {
    std::vector<Keeper::Kept> kept = origin_->wait_for(connections);
    EXPECT_EQ(daemon_->wait_for_ends(connections).size(), connections);
    EXPECT_EQ(daemon_->terminate(), 0) << daemon_->log();
    EXPECT_EQ(verify_status(directory_), 0);
    return kept;
  }
  /// A client that sends requests one by one, each after the answer to the previous one.
  void converse(std::size_t requests) const {
    const OwnedFd client = connect();
    for (std::size_t i = 1; i <= requests; ++i) {
      ASSERT_TRUE(send_all(client.get(), std::to_string(i) + ';'));
      const std::string answer = '<' + std::to_string(i) + '>';
      ASSERT_EQ(receive_text(client.get(), answer.size()), answer);
    }
    finish_sending(client.get());
  }
  [[nodiscard]] Replayed replay_to(const std::string& to,
                                   std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {directory_, "--to", to});
    return replay(more);
  }

  TempDir folder_;
  std::string directory_ = folder_.file("capture");
  std::unique_ptr<Keeper> origin_;
  std::unique_ptr<Daemon> daemon_;
};

bool less(const Keeper::Kept& a, const Keeper::Kept& b) { return a.bytes < b.bytes; }

TEST_F(ReplayTest, EveryConnectionBringsTheSameBytesAndEndsTheSame) {
  start_recording();
  std::vector<std::thread> clients;
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    clients.emplace_back([this, seed] {
      const OwnedFd client = connect();
      const std::string text = pattern_text(seed, seed * seed * 20'000);
      for (std::size_t at = 0; at < text.size(); at += 50'000) {
        ASSERT_TRUE(send_all(client.get(), std::string_view(text).substr(at, 50'000)));
      }
      finish_sending(client.get());
      EXPECT_EQ(receive_text(client.get(), 1), "");
    });
  }
  for (std::thread& client : clients) client.join();
  std::vector<Keeper::Kept> then = end_recording(clients.size());
  std::ranges::sort(then, less);
  ProcessOptions without_uring;
  without_uring.forbid_io_uring = true;
  for (const ProcessOptions& options : {ProcessOptions(), without_uring}) {
    for (const std::string speed : {"1x", "max"}) {
      Keeper target;
      const Replayed replayed =
          replay({directory_, "--to", target.address(), "--speed", speed}, options);
      EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
      std::vector<Keeper::Kept> now = target.wait_for(clients.size());
      std::ranges::sort(now, less);
      EXPECT_TRUE(now == then) << speed;
      EXPECT_EQ(replayed.count("completed"), clients.size());
    }
  }
}

TEST_F(ReplayTest, AHalfCloseIsReproduced) {
  // It answers only at the end of the stream.
  const auto late = [](const std::string& so_far, bool ended) { return ended ? so_far + "!" : ""; };
  start_recording(late);
  const OwnedFd client = connect();
  ASSERT_TRUE(send_all(client.get(), "question"));
  finish_sending(client.get());
  ASSERT_EQ(receive_text(client.get(), 100), "question!");
  static_cast<void>(end_recording(1));
  Keeper target(late);
  const Replayed replayed = replay_to(target.address(), {"--compare"});
  EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
  EXPECT_EQ(target.wait_for(1).at(0), (Keeper::Kept{"question", Ending::eof}));
  EXPECT_EQ(replayed.count("received_bytes"), 9U);
}

TEST_F(ReplayTest, AResetIsReproducedBehindAllThatCameBeforeIt) {
  start_recording();
  const std::string text = pattern_text(1, 500'000);
  OwnedFd client = connect();
  ASSERT_TRUE(send_all(client.get(), text));
  ASSERT_TRUE(wait_until([&] { return unacknowledged_bytes(client.get()) == 0; }));
  reset(std::move(client));
  const std::vector<Keeper::Kept> then = end_recording(1);
  ASSERT_EQ(then.at(0).ending, Ending::reset);
  for (const char* speed : {"1x", "max"}) {
    Keeper target;
    const Replayed replayed = replay_to(target.address(), {"--speed", speed});
    EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
    EXPECT_TRUE(target.wait_for(1).at(0) == then.at(0)) << speed;
  }
}

TEST_F(ReplayTest, OverlapIsPreserved) {
  start_recording(count_requests);
  // The outer connection spans the inner one; the last one begins after both.
  const OwnedFd outer = connect();
  ASSERT_TRUE(send_all(outer.get(), "outer;"));
  ASSERT_EQ(receive_text(outer.get(), 3), "<1>");
  OwnedFd inner = connect();
  ASSERT_TRUE(send_all(inner.get(), "inner;"));
  ASSERT_EQ(receive_text(inner.get(), 3), "<1>");
  finish_sending(inner.get());
  ASSERT_EQ(origin_->wait_for(1).size(), 2U);
  // Longer than a scheduler's delays.
  std::this_thread::sleep_for(milliseconds(100));
  ASSERT_TRUE(send_all(outer.get(), "again;"));
  ASSERT_EQ(receive_text(outer.get(), 3), "<2>");
  finish_sending(outer.get());
  ASSERT_EQ(receive_text(outer.get(), 1), "");
  std::this_thread::sleep_for(milliseconds(100));
  const OwnedFd last = connect();
  ASSERT_TRUE(send_all(last.get(), "last;"));
  ASSERT_EQ(receive_text(last.get(), 3), "<1>");
  finish_sending(last.get());
  static_cast<void>(end_recording(3));
  for (const std::string speed : {"1x", "max"}) {
    Keeper target(count_requests);
    const Replayed replayed =
        replay_to(target.address(), {"--speed", speed, "--wait-responses", "--compare"});
    EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
    const std::vector<Keeper::Kept> now = target.wait_for(3);
    ASSERT_EQ(now.size(), 3U);
    EXPECT_EQ(now[0].bytes, "outer;again;");
    EXPECT_EQ(now[1].bytes, "inner;");
    EXPECT_EQ(now[2].bytes, "last;");
    // Without pauses, the target can accept the inner one after the outer one has ended.
    if (speed == "1x") {
      EXPECT_LT(now[1].began, now[0].ended);
    }
    EXPECT_LT(now[0].ended, now[2].began) << speed;
    EXPECT_LT(now[1].ended, now[2].began) << speed;
  }
}

TEST_F(ReplayTest, WaitsForTheAnswersOfASlowerServer) {
  start_recording(count_requests);
  converse(4);
  static_cast<void>(end_recording(1));
  // At most one request is outstanding, however late the answers are.
  std::atomic<bool> hurried = false;
  std::size_t answered = 0;
  Keeper slower([&](const std::string& so_far, bool ended) {
    if (ended) return std::string();
    std::this_thread::sleep_for(milliseconds(50));
    const auto requests = static_cast<std::size_t>(std::ranges::count(so_far, ';'));
    hurried = hurried || requests > answered + 1;
    answered = requests;
    return count_requests(so_far, ended);
  });
  const Replayed replayed =
      replay_to(slower.address(), {"--speed", "max", "--wait-responses", "--compare"});
  EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
  EXPECT_EQ(slower.wait_for(1).at(0).bytes, "1;2;3;4;");
  EXPECT_FALSE(hurried);
  // Each request was timed in both runs, and took longer now.
  EXPECT_EQ(replayed.report.at("latency_us").at("requests").to_number<int>(), 4);
  EXPECT_GE(replayed.report.at("latency_us").at("now").at("p50").to_number<double>(),
            50'000 * 0.99);
}

TEST_F(ReplayTest, WithoutWaitingTheNextRequestComesBeforeTheAnswer) {
  start_recording(count_requests);
  converse(3);
  static_cast<void>(end_recording(1));
  Keeper at_the_end([](const std::string& so_far, bool ended) {
    return ended ? "<" + std::to_string(so_far.size()) + ">" : std::string();
  });
  const Replayed replayed = replay_to(at_the_end.address());
  EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
  EXPECT_EQ(at_the_end.wait_for(1).at(0).bytes, "1;2;3;");
}

TEST_F(ReplayTest, AShortAnswerDoesNotHoldTheReplayForEver) {
  start_recording(count_requests);
  converse(3);
  static_cast<void>(end_recording(1));
  Keeper silent;
  const Replayed replayed =
      replay_to(silent.address(), {"--wait-responses", "--response-timeout", "100ms"});
  EXPECT_EQ(replayed.status, 1) << replayed.output << replayed.error;
  EXPECT_EQ(silent.wait_for(1).at(0).bytes, "1;2;3;");
  EXPECT_EQ(replayed.count("short_answers"), 3U);
  const std::string told = "3 times an answer did not come in time, or not completely\n";
  EXPECT_NE(replayed.output.find(told), std::string::npos) << replayed.output;
}

// Each answer is shorter than it was. Waiting for the rest would take an hour each time.
TEST_F(ReplayTest, AnAnswerOfAnotherLengthIsCompleteOnceTheServerIsSilent) {
  constexpr std::size_t kRequests = 20;
  const auto with = [](const std::string& what) {
    return [what](const std::string& so_far, bool ended) {
      const std::string answer = count_requests(so_far, ended);
      return answer.empty() ? answer : answer + what;
    };
  };
  start_recording(with("seven b"));
  const OwnedFd client = connect();
  for (std::size_t i = 1; i <= kRequests; ++i) {
    ASSERT_TRUE(send_all(client.get(), std::to_string(i) + ';'));
    const std::string answer = '<' + std::to_string(i) + ">seven b";
    ASSERT_EQ(receive_text(client.get(), answer.size()), answer);
  }
  finish_sending(client.get());
  static_cast<void>(end_recording(1));
  for (const char* speed : {"1x", "max"}) {
    Keeper shorter(with(""));
    const Replayed replayed = replay_to(
        shorter.address(), {"--speed", speed, "--wait-responses", "--response-timeout", "1h"});
    EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
    EXPECT_EQ(shorter.wait_for(1).at(0).bytes,
              "1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16;17;18;19;20;");
    EXPECT_EQ(replayed.count("answers_by_silence"), kRequests);
    EXPECT_EQ(replayed.count("short_answers"), 0U);
    const std::string told =
        "20 times an answer counted as complete before its recorded size, since the server "
        "was silent\n";
    EXPECT_NE(replayed.output.find(told), std::string::npos) << replayed.output;
  }
}

// It has not begun to answer, so that silence says nothing.
TEST_F(ReplayTest, AServerThatTakesLongToBeginIsNotSilent) {
  start_recording(count_requests);
  converse(2);
  static_cast<void>(end_recording(1));
  Keeper slow([](const std::string& so_far, bool ended) {
    if (!ended) std::this_thread::sleep_for(milliseconds(400));
    return count_requests(so_far, ended);
  });
  const Replayed replayed =
      replay_to(slow.address(), {"--speed", "max", "--wait-responses", "--compare"});
  EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
  EXPECT_EQ(replayed.count("answers_by_silence"), 0U);
}

TEST_F(ReplayTest, ComparingFindsTheFirstByteThatDiffers) {
  start_recording(count_requests);
  converse(3);
  static_cast<void>(end_recording(1));
  // "<1><X><3>"
  const auto lies = [](const std::string& so_far, bool ended) {
    std::string answer = count_requests(so_far, ended);
    if (answer == "<2>") answer = "<X>";
    return answer;
  };
  Keeper liar(lies);
  const Replayed replayed = replay_to(liar.address(), {"--wait-responses", "--compare"});
  EXPECT_EQ(replayed.status, 6) << replayed.output << replayed.error;
  const json::object& compare = replayed.report.at("compare").as_object();
  EXPECT_EQ(compare.at("different").to_number<int>(), 1);
  const json::value& difference = compare.at("differences").at(0);
  EXPECT_EQ(difference.at("first").to_number<int>(), 4);
  EXPECT_EQ(difference.at("bytes_that_differ").to_number<int>(), 1);
  EXPECT_EQ(difference.at("then").as_string(), "323e3c333e");
  EXPECT_EQ(difference.at("now").as_string(), "583e3c333e");
  EXPECT_EQ(difference.at("now_bytes").to_number<int>(), 9);
  // Differences that are known may be ignored.
  Keeper again(lies);
  EXPECT_EQ(replay_to(again.address(), {"--wait-responses", "--compare", "--ignore", "4+1"}).status,
            0);
}

TEST_F(ReplayTest, ComparingFindsAnAnswerOfAnotherLength) {
  start_recording(count_requests);
  converse(2);
  static_cast<void>(end_recording(1));
  for (const std::string more : {"", "more"}) {
    Keeper other([&](const std::string& so_far, bool ended) {
      const std::string answer = count_requests(so_far, false);
      if (ended) return more;
      return answer == "<2>" && more.empty() ? std::string("<2") : answer;
    });
    const Replayed replayed =
        replay_to(other.address(), {"--wait-responses", "--response-timeout", "2s", "--compare"});
    EXPECT_EQ(replayed.status, 6) << replayed.output << replayed.error;
    const json::value& difference = replayed.report.at("compare").at("differences").at(0);
    EXPECT_EQ(difference.at("then_bytes").to_number<int>(), 6);
    EXPECT_EQ(difference.at("now_bytes").to_number<int>(), more.empty() ? 5 : 10);
    EXPECT_EQ(difference.as_object().if_contains("first"), nullptr);
  }
}

TEST_F(ReplayTest, RepeatsAllOfItToAUnixSocketWithinTheBoundOfConnections) {
  start_recording(count_requests);
  std::vector<OwnedFd> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(connect());
    ASSERT_TRUE(send_all(clients.back().get(), "x;"));
    ASSERT_EQ(receive_text(clients.back().get(), 3), "<1>");
  }
  for (const OwnedFd& client : clients) finish_sending(client.get());
  static_cast<void>(end_recording(4));
  const std::string path = folder_.file("socket");
  Keeper target(count_requests, path);
  const Replayed replayed =
      replay_to("unix:" + path, {"--repeat", "3", "--connections", "2", "--compare"});
  EXPECT_EQ(replayed.status, 0) << replayed.output << replayed.error;
  EXPECT_EQ(target.wait_for(12).size(), 12U);
  EXPECT_LE(replayed.count("most_at_once"), 2U);
  EXPECT_GT(replayed.count("waited"), 0U);
  Keeper abstract(count_requests, "@" + path);
  const Replayed again = replay_to("unix:@" + path, {"--speed", "max"});
  EXPECT_EQ(again.status, 0) << again.output << again.error;
  EXPECT_EQ(abstract.wait_for(4).size(), 4U);
}

}  // namespace
}  // namespace sluice::test
