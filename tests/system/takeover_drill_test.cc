// One daemon after the other takes over, with other numbers of workers, while connections are open,
// streams move, and clients come all the time: nobody is refused or reset, no byte is wrong, and
// what was recorded before it was forwarded is whole. SLUICE_LONG=1 is the whole drill.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/support/wait.h"
#include "tests/system/live_daemon.h"
#include "tests/system/load.h"
#include "tests/system/recorded.h"

namespace sluice::test {
namespace {

using Fate = Attempt::Fate;

constexpr std::size_t kStreams = 8;
constexpr double kMiB = 1 << 20;
/// Connections that begin after a takeover, and end two takeovers later.
constexpr std::size_t kPassing = 20;
constexpr std::array kWorkers{1, 4, 2};

class TakeoverDrill : public testing::Test {
 protected:
  [[nodiscard]] std::string routes() const {
    return "[[route]]\nname = \"main\"\nlisten = \"" + loopback_address(port_) + "\"\nto = [\"" +
           servers_.address(0) + "\", \"" + servers_.address(1) +
           "\"]\n[[route]]\nname = \"recorded\"\nlisten = \"" + loopback_address(recorded_port_) +
           "\"\nto = \"" + servers_.address(2) + "\"\n" + "capture = \"" +
           captures_.file("capture") + "\"\ndurability = \"before-forward\"\n";
  }
  [[nodiscard]] static std::string defaults(const TempDir& folder, int generation) {
    return "takeover-socket = \"" + folder.file("takeover.sock") + "\"\nworkers = " +
           std::to_string(kWorkers.at(static_cast<std::size_t>(generation) % kWorkers.size())) +
           "\ndrain-timeout = \"1h\"\n";
  }
  void hold(HeldConnections& where, std::uint16_t port, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      Attempt held = attempt(port, random_, true);
      ASSERT_EQ(held.fate, Fate::served) << name_of(held.fate);
      where.hold(std::move(held.fd));
      ++(port == port_ ? main_ : recorded_);
    }
  }
  void hold_from_the_beginning();
  void take_over(int generation);
  void expect_order(int generation);
  void rotate_log() const;

  std::mt19937_64 random_{seed()};
  const std::size_t descriptors_ = allow_descriptors(70'000);
  TempDir captures_;
  EchoServers servers_{3};
  const std::uint16_t port_ = free_port();
  const std::uint16_t recorded_port_ = free_port();
  LiveDaemon live_{routes(), 2, defaults(captures_, 0)};
  HeldConnections held_{by_scale(2, 8, 64) * kMiB};  ///< from the beginning to the end
  std::deque<std::unique_ptr<HeldConnections>> passing_;
  std::atomic<std::size_t> main_{0}, recorded_{0};  ///< connections
  ConnectCounts connects_;
  double accepted_ = 0;
};

void TakeoverDrill::hold_from_the_beginning() {
  const auto wanted = static_cast<std::size_t>(by_scale(50, 200, 10'000));
  const std::size_t count = std::min(wanted, (descriptors_ - 1'000) / 2);
  if (count < wanted) std::printf("only %zu connections: descriptors\n", count);
  ASSERT_NO_FATAL_FAILURE(hold(held_, port_, count));
  ASSERT_NO_FATAL_FAILURE(hold(held_, recorded_port_, kPassing));
  for (std::size_t i = 0; i < kStreams; ++i) {
    Attempt stream = attempt(port_, random_, true);
    ASSERT_EQ(stream.fate, Fate::served) << name_of(stream.fate);
    held_.stream(std::move(stream.fd));
    ++main_;
  }
}

void TakeoverDrill::take_over(int generation) {
  const pid_t before = live_.pid();
  live_.set_defaults(defaults(captures_, generation));
  live_.write(routes());
  // A reload cannot change the number of workers, and says so.
  const Answered reload = live_.reload();
  ASSERT_EQ(reload.result(), "needs-takeover") << json::serialize(reload.body);
  const Answered taken = live_.take_over();
  ASSERT_EQ(taken.result(), "taken") << live_.log();
  const pid_t now = live_.pid();
  ASSERT_NE(now, before);
  ASSERT_EQ(taken.body.at("pid").to_number<pid_t>(), now);
  const json::value status = live_.get("/v1/status");
  EXPECT_EQ(status.at("workers").to_number<int>(),
            kWorkers.at(static_cast<std::size_t>(generation) % kWorkers.size()));
  EXPECT_EQ(status.at("state"), "ready");
  passing_.push_back(std::make_unique<HeldConnections>(0));
  ASSERT_NO_FATAL_FAILURE(hold(*passing_.back(), port_, kPassing));
  ASSERT_NO_FATAL_FAILURE(hold(*passing_.back(), recorded_port_, kPassing));
  if (passing_.size() <= 2) return;
  passing_.front()->end();
  EXPECT_EQ(passing_.front()->trouble(), "");
  passing_.pop_front();
}

// Totals go on, and old processes end with their connections: the first one and the last two stay.
void TakeoverDrill::expect_order(int generation) {
  const double accepted = live_.metric("sluice_connections_accepted_total{route=\"main\"}");
  EXPECT_GE(accepted, accepted_) << generation;
  accepted_ = accepted;
  EXPECT_TRUE(wait_until([&] {
    return live_.get("/v1/status").at("predecessors").as_array().size() <= 3;
  })) << json::serialize(live_.get("/v1/status"));
  EXPECT_EQ(connects_.of(Fate::refused) + connects_.of(Fate::reset), 0U) << generation;
  EXPECT_EQ(held_.trouble(), "") << generation;
}

// All that still run go on in the new file, though the reload is asked of one of them.
void TakeoverDrill::rotate_log() const {
  std::vector<pid_t> pids;
  EXPECT_TRUE(wait_until([&] {
    pids = {live_.pid()};
    const json::value status = live_.get("/v1/status");
    for (const json::value& each : status.at("predecessors").as_array()) {
      pids.push_back(each.at("pid").to_number<pid_t>());
    }
    return pids.size() >= 3;
  }));
  std::filesystem::rename(live_.log_file(), live_.log_file() + ".1");
  EXPECT_EQ(live_.reload().result(), "unchanged");
  EXPECT_TRUE(wait_until([&] { return has_open(live_.pid(), live_.log_file()); }));
  // Some of the others may be about to end.
  for (const pid_t pid : pids) {
    EXPECT_TRUE(wait_until([&] { return !has_open(pid, live_.log_file() + ".1"); })) << pid;
  }
}

TEST_F(TakeoverDrill, NobodyNoticesThatOneProcessFollowsTheOther) {
  const int takeovers = by_scale(3, 5, 20);
  ASSERT_NO_FATAL_FAILURE(hold_from_the_beginning());
  Repeated connecting(2, by_scale(20, 50, 100), [&](std::mt19937_64& random) {
    const bool recorded = random() % 8 == 0;
    connects_.add(attempt(recorded ? recorded_port_ : port_, random).fate);
    ++(recorded ? recorded_ : main_);
  });
  for (int generation = 1; generation <= takeovers && !HasFailure(); ++generation) {
    ASSERT_NO_FATAL_FAILURE(take_over(generation));
    expect_order(generation);
  }
  rotate_log();
  connecting.end();
  EXPECT_EQ(connects_.trouble(), "");
  for (const auto& each : passing_) {
    each->end();
    EXPECT_EQ(each->trouble(), "");
  }
  const HeldConnections::Counts held = held_.end();
  EXPECT_EQ(held_.trouble(), "");
  EXPECT_TRUE(
      wait_until([&] { return live_.get("/v1/status").at("predecessors").as_array().empty(); }));
  EXPECT_TRUE(wait_until([&] {
    return live_.metric("sluice_connections_accepted_total{route=\"main\"}") ==
           static_cast<double>(main_);
  })) << live_.metric("sluice_connections_accepted_total{route=\"main\"}")
      << " instead of " << main_;
  const pid_t last = live_.pid();
  ::kill(last, SIGTERM);
  EXPECT_TRUE(wait_until([&] { return ::waitpid(last, nullptr, WNOHANG) == last; }));
  std::printf(
      "%d takeovers: %zu connections held, %zu exchanges, %zu MiB streamed, %zu connects, "
      "%zu connections recorded\n",
      takeovers, static_cast<std::size_t>(held.connections),
      static_cast<std::size_t>(held.exchanges), static_cast<std::size_t>(held.streamed_bytes >> 20),
      static_cast<std::size_t>(connects_.of(Fate::served)), recorded_.load());
  EXPECT_EQ(verify_status(captures_.file("capture")), 0);
  const Recorded recorded = read_capture(captures_.file("capture"));
  EXPECT_EQ(recorded.connections.size(), recorded_) << recorded.findings;
  for (const auto& [id, each] : recorded.connections) EXPECT_TRUE(each.close) << id;
}

}  // namespace
}  // namespace sluice::test
