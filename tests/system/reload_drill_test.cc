// Reloads while thousands of connections are open, streams move, and clients come all the time:
// nobody is refused or reset, and no byte is wrong. SLUICE_LONG=1 is the whole drill.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <random>
#include <string>

#include "tests/support/settings.h"
#include "tests/support/wait.h"
#include "tests/system/ctl_program.h"
#include "tests/system/live_daemon.h"
#include "tests/system/load.h"

namespace sluice::test {
namespace {

using Fate = Attempt::Fate;

constexpr std::size_t kStreams = 8;
constexpr double kMiB = 1 << 20;
/// The allocator's reserves. A leak of 16 KiB for each reload of the long form passes it.
constexpr std::uint64_t kMemoryBoundBytes = 6 << 20;

/// The daemon under test, its servers and its load.
class ReloadDrill : public testing::Test {
 protected:
  static constexpr std::size_t kExtraServer = 2;

  /// The routes of the n-th reload: one that is there in all of them, with another name, other
  /// servers and other keys from time to time, and one that comes and goes.
  [[nodiscard]] std::string routes(int n) const {
    static constexpr std::array kBalance{"two-choices", "least-connections", "round-robin",
                                         "source-hash"};
    std::string text =
        "[[route]]\nname = \"" + std::string(n % 4 < 2 ? "main" : "renamed") + "\"\n";
    text += "listen = \"" + loopback_address(port_) + "\"\n";
    text += "to = [\"" + servers_.address(0) + "\"";
    if (n % 2 == 1) text += ", \"" + servers_.address(1) + "\"";
    text += "]\nbalance = \"" + std::string(kBalance.at(static_cast<std::size_t>(n / 2) % 4)) +
            "\"\nidle-timeout = \"" + std::to_string(1 + n % 3) + "h\"\n";
    if (!has_extra(n)) return text;
    return text + "[[route]]\nname = \"extra\"\nlisten = \"" + loopback_address(extra_port_) +
           "\"\nto = \"" + servers_.address(kExtraServer) + "\"\n";
  }
  [[nodiscard]] static bool has_extra(int n) { return n % 3 == 1; }

  void hold_connections();
  void reload(int n);
  void check_extra(int n);
  void let_load_go_on();
  void refuse_bad_files() const;

  std::mt19937_64 random_{seed()};
  const std::size_t descriptors_ = allow_descriptors(70'000);
  EchoServers servers_{3};
  const std::uint16_t port_ = free_port();
  const std::uint16_t extra_port_ = free_port();
  LiveDaemon live_{routes(0), 1};
  const pid_t pid_ = live_.pid();
  HeldConnections held_{by_scale(2, 8, 64) * kMiB};
  ConnectCounts connects_;
};

void ReloadDrill::hold_connections() {
  // Each has two descriptors here.
  const auto wanted = static_cast<std::size_t>(by_scale(100, 300, 10'000));
  const std::size_t count = std::min(wanted, (descriptors_ - 1'000) / 2);
  if (count < wanted) std::printf("only %zu connections: descriptors\n", count);
  for (std::size_t i = 0; i < count + kStreams; ++i) {
    Attempt held = attempt(port_, random_, true);
    ASSERT_EQ(held.fate, Fate::served) << name_of(held.fate);
    i < kStreams ? held_.stream(std::move(held.fd)) : held_.hold(std::move(held.fd));
  }
}

// Over HTTP, by a signal, or with the tool.
void ReloadDrill::reload(int n) {
  live_.write(routes(n));
  if (n % 7 == 3) {
    ASSERT_EQ(live_.reload_by_signal(), "applied") << n;
  } else if (n % 7 == 5) {
    const Outcome ctl = run_ctl_at(live_.admin_path(), {"reload"});
    ASSERT_EQ(ctl.status, 0) << ctl.error;
  } else {
    const Answered answer = live_.reload();
    ASSERT_EQ(answer.result(), "applied") << n << json::serialize(answer.body);
  }
}

// From the answer on, what the file says holds.
void ReloadDrill::check_extra(int n) {
  const Attempt extra = attempt(extra_port_, random_);
  if (has_extra(n)) {
    EXPECT_EQ(name_of(extra.fate), std::string("served")) << n;
    EXPECT_EQ(extra.server, kExtraServer);
  } else {
    EXPECT_EQ(name_of(extra.fate), std::string("refused")) << n;
  }
}

// Reloads are faster than clients.
void ReloadDrill::let_load_go_on() {
  const std::uint64_t connects = connects_.of(Fate::served);
  const std::uint64_t bytes = held_.counts().streamed_bytes;
  ASSERT_TRUE(wait_until([&] {
    return connects_.of(Fate::served) >= connects + 2 &&
           held_.counts().streamed_bytes >=
               bytes + (std::uint64_t{by_scale(64U, 256U, 8'192U)} << 10);
  })) << held_.trouble()
      << connects_.trouble();
}

// What is bad, or cannot be done, changes nothing.
void ReloadDrill::refuse_bad_files() const {
  live_.write("[[route]]\nname = \"bad\"\nlistne = \":1\"\n");
  Answered answer = live_.reload();
  EXPECT_EQ(answer.status, 422);
  EXPECT_EQ(answer.result(), "refused");
  EXPECT_FALSE(answer.body.at("errors").as_array().empty());
  const Listener taken = listen_tcp();
  live_.write("[[route]]\nname = \"taken\"\nlisten = \"" + loopback_address(taken.port) +
              "\"\nto = \"echo:\"\n");
  answer = live_.reload();
  EXPECT_EQ(answer.result(), "refused") << json::serialize(answer.body);
}

TEST_F(ReloadDrill, NobodyNoticesReloads) {
  const int reloads = by_scale(15, 30, 500);
  ASSERT_NO_FATAL_FAILURE(hold_connections());
  const std::size_t descriptors_before = descriptors_of(pid_);
  Repeated connecting(by_scale(1U, 2U, 4U), by_scale(20, 50, 100),
                      [&](std::mt19937_64& random) { connects_.add(attempt(port_, random).fate); });
  std::uint64_t memory_before = 0;
  for (int n = 1; n <= reloads && !HasFailure(); ++n) {
    ASSERT_NO_FATAL_FAILURE(reload(n));
    check_extra(n);
    if (n % 10 == 0) refuse_bad_files();
    ASSERT_NO_FATAL_FAILURE(let_load_go_on());
    if (n == reloads / 5) memory_before = memory_of(pid_);
    ASSERT_EQ(live_.pid(), pid_);
    EXPECT_EQ(connects_.of(Fate::refused) + connects_.of(Fate::reset), 0U) << n;
    EXPECT_EQ(held_.trouble(), "") << n;
  }
  const std::uint64_t memory_after = memory_of(pid_);
  ASSERT_NO_FATAL_FAILURE(reload(reloads % 12 == 0 ? 1 : 0));
  ASSERT_NO_FATAL_FAILURE(reload(12));  // like 0
  connecting.end();
  EXPECT_EQ(connects_.trouble(), "");
  EXPECT_TRUE(wait_until([&] { return descriptors_of(pid_) <= descriptors_before; }))
      << descriptors_of(pid_) << " instead of " << descriptors_before;
  if (!sanitized()) {  // it keeps what is freed
    EXPECT_LT(memory_after, memory_before + kMemoryBoundBytes);
  }
  const HeldConnections::Counts held = held_.end();
  EXPECT_EQ(held_.trouble(), "");
  std::printf(
      "%d reloads: %zu connections held, %zu exchanges, %zu MiB streamed, %zu connects, "
      "memory %zu KiB after a fifth of them, %zu KiB in the end\n",
      reloads, static_cast<std::size_t>(held.connections), static_cast<std::size_t>(held.exchanges),
      static_cast<std::size_t>(held.streamed_bytes >> 20),
      static_cast<std::size_t>(connects_.of(Fate::served)),
      static_cast<std::size_t>(memory_before >> 10), static_cast<std::size_t>(memory_after >> 10));
}

}  // namespace
}  // namespace sluice::test
