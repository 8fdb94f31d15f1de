// Random configurations, reloaded in random order under load. A model says what each connection
// must see. SLUICE_SEED repeats a run, SLUICE_LONG=1 makes it long.

#include <gtest/gtest.h>

#include <cstdio>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/support/wait.h"
#include "tests/system/live_daemon.h"
#include "tests/system/load.h"
#include "tests/system/recorded.h"
#include "tests/system/reload_model.h"

namespace sluice::test {
namespace {

constexpr std::size_t kMostHeld = 400;
constexpr std::size_t kMostTroubles = 5;

class ReloadFuzz : public testing::Test {
 protected:
  void step(int n);
  void reload_bad();
  void check_all_addresses();
  void remember(const std::string& trouble) {
    if (trouble.empty()) return;
    const std::lock_guard lock(mutex_);
    if (troubles_.size() < kMostTroubles) troubles_.push_back(trouble);
  }
  [[nodiscard]] std::vector<std::string> troubles() const {
    const std::lock_guard lock(mutex_);
    return troubles_;
  }
  [[nodiscard]] std::uint16_t any_port(std::mt19937_64& random) const {
    return draw_.ports()[random() % draw_.ports().size()];
  }

  const std::size_t descriptors_ = allow_descriptors(10'000);
  TempDir captures_;
  EchoServers servers_{ConfigDraw::kServers};
  std::mt19937_64 random_{seed()};
  ConfigDraw draw_{servers_, captures_.path()};
  DrawnConfig current_ = draw_.valid(random_);
  std::set<std::string> recorded_ = current_.captures;
  LiveDaemon live_{current_.routes, current_.meaning.size()};
  ReloadModel model_{current_.meaning};
  HeldConnections held_{1 << 20};
  mutable std::mutex mutex_;  ///< guards the next one
  std::vector<std::string> troubles_;
};

void ReloadFuzz::reload_bad() {
  live_.write(draw_.bad(current_, random_));
  const Answered answer = live_.reload();
  EXPECT_EQ(answer.result(), "refused") << json::serialize(answer.body) << read_text(live_.file());
  EXPECT_FALSE(answer.body.as_object().contains("errors") &&
               answer.body.at("errors").as_array().empty());
}

void ReloadFuzz::step(int n) {
  if (random_() % 5 == 0) return reload_bad();
  DrawnConfig next = draw_.valid(random_);
  live_.write(next.routes);
  if (random_() % 4 == 0) {
    EXPECT_EQ(live_.reload(true).result(), "applied") << n;
    check_all_addresses();
  }
  model_.begin(next.meaning);
  const bool by_signal = random_() % 4 == 0;
  const std::string result = by_signal ? live_.reload_by_signal() : live_.reload().result();
  model_.end(result == "applied" || result == "unchanged");
  ASSERT_TRUE(result == "applied" || result == "unchanged") << n << result << next.routes;
  recorded_.insert(next.captures.begin(), next.captures.end());
  current_ = std::move(next);
  check_all_addresses();
}

// Between two reloads there is no doubt.
void ReloadFuzz::check_all_addresses() {
  for (const std::uint16_t port : draw_.ports()) remember(model_.check(port, random_));
}

TEST_F(ReloadFuzz, EachConnectionSeesWhatItsConfigurationSays) {
  const int steps = by_scale(40, 500, 10'000);
  Repeated connecting(2, by_scale(50, 200, 200), [&](std::mt19937_64& random) {
    const bool keeps = random() % 8 == 0 && held_.counts().connections < kMostHeld;
    remember(model_.check(any_port(random), random, keeps ? &held_ : nullptr));
  });
  int done = 0;
  while (done < steps && !HasFailure() && troubles().empty()) step(done++);
  connecting.end();
  EXPECT_EQ(troubles(), std::vector<std::string>{});
  const HeldConnections::Counts held = held_.end();
  EXPECT_EQ(held_.trouble(), "");
  EXPECT_EQ(live_.daemon().terminate(), 0) << live_.log();
  for (const std::string& each : recorded_) EXPECT_EQ(verify_status(each), 0) << each;
  std::printf("%d steps, %zu connections served, %zu refused, %zu held over them\n", done,
              static_cast<std::size_t>(model_.counts().of(Attempt::Fate::served)),
              static_cast<std::size_t>(model_.counts().of(Attempt::Fate::refused)),
              static_cast<std::size_t>(held.connections));
}

}  // namespace
}  // namespace sluice::test
