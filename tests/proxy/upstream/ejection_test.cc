#include "proxy/upstream/ejection.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "proxy/config/config.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;

class EjectionTest : public testing::Test {
 protected:
  void have_servers(int primaries, int backups = 0) {
    RouteConfig config;
    for (int i = 0; i < primaries + backups; ++i) {
      config.to.push_back({HostPort{"s" + std::to_string(i), 1}, 1, i >= primaries});
    }
    set_ = make_server_set(config);
  }
  [[nodiscard]] ServerLoad& load(std::size_t server) { return *set_->servers[server]->load; }
  std::optional<Duration> fail(std::size_t server, bool on_trial = false) {
    return note_failure(*set_, *set_->servers[server], policy_, on_trial, now_, random_);
  }
  [[nodiscard]] bool ejected(std::size_t server) { return is_ejected(load(server), now_); }
  void eject(std::size_t server) {
    for (int i = 0; i < 5; ++i) static_cast<void>(fail(server));
  }

  std::shared_ptr<const ServerSet> set_;
  EjectionPolicy policy_;
  TimePoint now_{1h};
  balance::Random random_{1};
};

TEST_F(EjectionTest, AfterFailuresInARow) {
  have_servers(2);
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(fail(0));
  EXPECT_FALSE(note_success(load(0)));
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(fail(0));
  EXPECT_FALSE(ejected(0));
  const auto time = fail(0);
  ASSERT_TRUE(time);
  EXPECT_GE(*time, 8s);
  EXPECT_LE(*time, 12s);
  EXPECT_TRUE(ejected(0));
  EXPECT_EQ(load(0).failures, 9U);
  now_ += *time;
  EXPECT_FALSE(ejected(0));
}

TEST_F(EjectionTest, ConnectsThatBeganBeforeItDoNotProlongIt) {
  have_servers(2);
  eject(0);
  const auto until = load(0).ejected_until.load();
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(fail(0));
  EXPECT_EQ(load(0).ejected_until, until);
}

TEST_F(EjectionTest, OneTrialDecides) {
  have_servers(2);
  eject(0);
  EXPECT_EQ(begin_trial(load(0), now_, 5s), std::nullopt);
  now_ += 12s;
  EXPECT_EQ(begin_trial(load(0), now_, 5s), true);
  EXPECT_EQ(begin_trial(load(0), now_, 5s), std::nullopt) << "there is one already";
  EXPECT_TRUE(fail(0, true)) << "ejected at once";
  now_ += 24s;
  EXPECT_EQ(begin_trial(load(0), now_, 5s), true);
  EXPECT_TRUE(note_success(load(0)));
  EXPECT_EQ(begin_trial(load(0), now_, 5s), false) << "a server like any other";
  EXPECT_FALSE(ejected(0));
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(fail(0));
}

TEST_F(EjectionTest, ATrialThatIsCancelledDecidesNothing) {
  have_servers(2);
  eject(0);
  now_ += 12s;
  ASSERT_EQ(begin_trial(load(0), now_, 1h), true);
  now_ += 1s;
  end_trial(load(0), now_ + 10s);
  EXPECT_EQ(begin_trial(load(0), now_, 1h), std::nullopt) << "still ejected";
  now_ += 10s;
  EXPECT_EQ(begin_trial(load(0), now_, 5s), true) << "for the time that it was given";
  now_ += 1s;
  end_trial(load(0), now_ + 10s);
  EXPECT_EQ(begin_trial(load(0), now_ + 4s, 5s), true) << "no longer than the trial could last";
  // It was decided meanwhile that the server is used again.
  EXPECT_TRUE(note_success(load(0)));
  end_trial(load(0), now_ + 10s);
  EXPECT_FALSE(ejected(0));
  EXPECT_EQ(begin_trial(load(0), now_, 5s), false);
}

TEST_F(EjectionTest, TimesDoubleUpToFiveMinutes) {
  have_servers(2);
  eject(0);
  Duration expected = 20s;
  for (int i = 0; i < 40; ++i) {
    const auto time = fail(0, true);
    ASSERT_TRUE(time);
    EXPECT_GE(*time, expected * 4 / 5);
    EXPECT_LE(*time, expected * 6 / 5);
    expected = std::min<Duration>(expected * 2, 5min);
  }
}

TEST_F(EjectionTest, NeverMoreThanHalf) {
  for (const int servers : {1, 2, 3, 4, 5}) {
    have_servers(servers, 1);
    for (int i = 0; i < servers; ++i) eject(static_cast<std::size_t>(i));
    int count = 0;
    for (int i = 0; i < servers; ++i) count += ejected(static_cast<std::size_t>(i)) ? 1 : 0;
    EXPECT_EQ(count, (servers + 1) / 2) << "with the backup";
    eject(static_cast<std::size_t>(servers));
    EXPECT_FALSE(ejected(static_cast<std::size_t>(servers))) << "the only backup";
  }
}

/// Each connection would otherwise try it first, and use up the budget of retries.
TEST_F(EjectionTest, AnOnlyPrimaryIfItsBackupIsUsable) {
  have_servers(1, 1);
  load(1).down = true;
  eject(0);
  EXPECT_FALSE(ejected(0));
  load(1).down = false;
  EXPECT_TRUE(fail(0));
  EXPECT_TRUE(ejected(0));
  eject(1);
  EXPECT_FALSE(ejected(1)) << "the last one";
}

TEST_F(EjectionTest, ZeroTurnsItOff) {
  have_servers(2);
  policy_.after = 0;
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(fail(0));
}

TEST_F(EjectionTest, NeverTakesTheLastThatIsUsable) {
  have_servers(4);
  load(1).down = true;
  load(2).down = true;
  load(3).down = true;
  eject(0);
  EXPECT_FALSE(ejected(0)) << "its health checks find all others down";
  load(3).down = false;
  eject(0);
  EXPECT_TRUE(ejected(0));
}

TEST_F(EjectionTest, ServersThatAnOperatorDrainsAreNone) {
  have_servers(4);
  load(1).order = Order::drain;
  load(2).order = Order::down;
  load(3).order = Order::drain;
  eject(0);
  EXPECT_FALSE(ejected(0)) << "no other gets connections";
  load(3).order = Order::up;
  eject(0);
  EXPECT_TRUE(ejected(0));
  eject(3);
  EXPECT_FALSE(ejected(3)) << "half of two are ejected";
}

TEST_F(EjectionTest, TheNameOfAStateIsTheStrongest) {
  have_servers(2);
  EXPECT_EQ(state_name(load(0), now_), "up");
  eject(0);
  EXPECT_EQ(state_name(load(0), now_), "ejected");
  load(0).order = Order::drain;
  EXPECT_EQ(state_name(load(0), now_), "drain");
  load(0).down = true;
  EXPECT_EQ(state_name(load(0), now_), "down");
  load(0).order = Order::down;
  load(0).down = false;
  EXPECT_EQ(state_name(load(0), now_), "down");
  EXPECT_EQ(state_name(load(1), now_), "up");
}

}  // namespace
}  // namespace sluice
