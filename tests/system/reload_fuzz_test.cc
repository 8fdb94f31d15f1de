// Random configurations, reloaded in random order under load, while one process takes over from the
// other and some of those die in it. A model says what each connection must see. SLUICE_SEED
// repeats a run, SLUICE_LONG=1 makes it long.

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <future>
#include <iterator>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/wait.h"
#include "tests/system/ctl_program.h"
#include "tests/system/live_daemon.h"
#include "tests/system/load.h"
#include "tests/system/recorded.h"
#include "tests/system/reload_model.h"

namespace sluice::test {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMostHeld = 150;
constexpr std::size_t kMostTroubles = 5;
/// Who holds connections: the process in charge, and those that it has replaced.
constexpr std::size_t kMostGenerations = 3;
/// A successor is in charge after 3 s. It is killed before.
constexpr std::uint64_t kLatestKillMs = 2'000;
constexpr milliseconds kLatestKill{kLatestKillMs};

/// How a process takes over: started by hand, by sluice-ctl, killed before it is in charge, or with
/// a file that it must refuse.
enum class Takeover : std::uint8_t { started, asked_for, killed, bad };
constexpr std::size_t kTakeovers = 4;

class ReloadFuzz : public testing::Test {
 protected:
  ReloadFuzz() { next_generation(); }

  void step(int n);
  void reload_bad();
  void reload_next(int n);
  void take_over(Takeover how);
  void take_over_bad();
  [[nodiscard]] bool replace(Takeover how, bool reloads);
  [[nodiscard]] bool start_one(bool kills, bool reloads);
  [[nodiscard]] bool ask_for_one(bool reloads);
  void holds_from_now_on(DrawnConfig next);
  void next_generation();
  void end_oldest_generation();
  void check_all_addresses();
  void await_closed_addresses(const Meaning& meaning);
  void expect_whole_captures();
  [[nodiscard]] std::string defaults() const {
    return "takeover-socket = \"" + captures_.file("takeover.sock") +
           "\"\nworkers = " + std::to_string(workers_) + "\n";
  }
  /// Keeps a connection open over what comes.
  void keep(OwnedFd fd) {
    const std::lock_guard lock(mutex_);
    ++held_;
    generations_.back()->hold(std::move(fd));
  }
  [[nodiscard]] bool has_room() const {
    const std::lock_guard lock(mutex_);
    return generations_.back()->counts().connections < kMostHeld;
  }
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
  std::uint64_t workers_ = 1 + random_() % 3;
  std::set<std::string> recorded_ = current_.captures;
  std::set<std::string> unsealed_;  ///< captures that only a killed process had
  bool torn_ = false;               ///< a process was killed that may have recorded
  std::uint64_t first_takeover_ = random_();
  std::array<std::size_t, kTakeovers> takeovers_{};
  LiveDaemon live_{current_.routes, current_.meaning.size(), defaults()};
  ReloadModel model_{current_.meaning};
  mutable std::mutex mutex_;  ///< guards the rest
  std::deque<std::unique_ptr<HeldConnections>> generations_;
  std::size_t held_ = 0;
  std::vector<std::string> troubles_;
};

void ReloadFuzz::step(int n) {
  const int reloads_a_takeover = by_scale(20, 30, 20);
  if (n % reloads_a_takeover == reloads_a_takeover - 1) {
    const auto count = static_cast<std::uint64_t>(n / reloads_a_takeover);
    return take_over(static_cast<Takeover>((first_takeover_ + count) % kTakeovers));
  }
  random_() % 5 == 0 ? reload_bad() : reload_next(n);
}

void ReloadFuzz::reload_bad() {
  live_.write(draw_.bad(current_, random_));
  const Answered answer = live_.reload();
  EXPECT_EQ(answer.result(), "refused") << json::serialize(answer.body) << read_text(live_.file());
  EXPECT_FALSE(answer.body.as_object().contains("errors") &&
               answer.body.at("errors").as_array().empty());
}

void ReloadFuzz::reload_next(int n) {
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
  holds_from_now_on(std::move(next));
  check_all_addresses();
}

void ReloadFuzz::holds_from_now_on(DrawnConfig next) {
  recorded_.insert(next.captures.begin(), next.captures.end());
  for (const std::string& each : next.captures) unsealed_.erase(each);
  current_ = std::move(next);
}

// --- Takeovers ---

void ReloadFuzz::take_over(Takeover how) {
  ++takeovers_.at(static_cast<std::size_t>(how));
  if (how == Takeover::bad) return take_over_bad();
  end_oldest_generation();
  const std::uint64_t workers_before = workers_;
  workers_ = 1 + random_() % 3;
  DrawnConfig next = draw_.valid(random_);
  live_.set_defaults(defaults());
  live_.write(next.routes);
  recorded_.insert(next.captures.begin(), next.captures.end());
  const bool kills = how == Takeover::killed;
  model_.begin(next.meaning, kills);
  // A reload comes at the same time: whoever is in charge afterwards has answered it.
  std::future<std::string> reload;
  if (random_() % 2 == 0) {
    reload = std::async(std::launch::async, [this, delay = milliseconds(random_() % 3'000)] {
      std::this_thread::sleep_for(delay);
      return live_.reload().result();
    });
  }
  const bool taken = replace(how, reload.valid());
  const std::string reloaded = reload.valid() ? reload.get() : "";
  const bool next_holds = taken || reloaded == "applied" || reloaded == "unchanged";
  EXPECT_FALSE(reloaded == "no object" && !kills) << "a reload was not answered\n" << live_.log();
  if (!taken) {
    workers_ = workers_before;
    live_.set_defaults(defaults());
  }
  if (!next_holds) model_.begin(current_.meaning);
  await_closed_addresses(next_holds ? next.meaning : current_.meaning);
  model_.end(true);
  if (kills && !taken) {
    std::ranges::set_difference(next.captures, current_.captures,
                                std::inserter(unsealed_, unsealed_.end()));
  }
  if (next_holds) holds_from_now_on(std::move(next));
  if (taken) next_generation();
  check_all_addresses();
}

void ReloadFuzz::take_over_bad() {
  live_.write(draw_.bad(current_, random_));
  const std::unique_ptr<Process> successor = live_.start_successor();
  EXPECT_EQ(successor->wait(), 1) << read_text(live_.file());
  EXPECT_NE(successor->standard_error(), "");
  check_all_addresses();
}

/// Whether another process is in charge now. `reloads`: a reload that began first can prevent it.
bool ReloadFuzz::replace(Takeover how, bool reloads) {
  return how == Takeover::asked_for ? ask_for_one(reloads)
                                    : start_one(how == Takeover::killed, reloads);
}

bool ReloadFuzz::start_one(bool kills, bool reloads) {
  const std::size_t from = live_.log_bytes();
  const auto began = std::chrono::steady_clock::now();
  std::unique_ptr<Process> successor = live_.start_successor();
  const std::string pid = "pid=" + std::to_string(successor->pid());
  if (kills) {
    std::this_thread::sleep_for(milliseconds(random_() % kLatestKillMs));
    // Where the machine stands still, it may be in charge.
    if (std::chrono::steady_clock::now() - began < kLatestKill) successor->signal(SIGKILL);
  }
  const auto logged = [&](const char* event) {
    return count_lines(live_.log(from), Regex(event + (" " + pid)));
  };
  EXPECT_TRUE(wait_until([&] { return logged("handed_over") > 0 || !successor->running(); }, kLate))
      << live_.log(from);
  if (logged("handed_over") > 0) {
    live_.adopt(std::move(successor));
    return true;
  }
  const std::optional<int> status = successor->wait();
  const std::string error = successor->standard_error();
  const bool refused = status == 1 && contains(error, "reloads its configuration");
  EXPECT_TRUE((kills && status == -SIGKILL) || (reloads && refused))
      << status.value_or(-99) << error << live_.log(from);
  EXPECT_TRUE(wait_until([&] { return logged("takeover_began") == logged("takeover_failed"); }))
      << live_.log(from);
  torn_ = torn_ || kills;
  return false;
}

bool ReloadFuzz::ask_for_one(bool reloads) {
  const std::size_t from = live_.log_bytes();
  const Outcome outcome = run_ctl_at(live_.admin_path(), {"takeover"});
  if (outcome.status != 0) {
    EXPECT_TRUE(reloads && contains(outcome.error, "reloads its configuration"))
        << outcome.error << live_.log(from);
    return false;
  }
  const pid_t pid = live_.pid();
  live_.adopt(pid);
  EXPECT_TRUE(wait_until([&] {
    return count_lines(live_.log(from), Regex("handed_over pid=" + std::to_string(pid))) > 0;
  })) << live_.log(from);
  return true;
}

void ReloadFuzz::next_generation() {
  const std::lock_guard lock(mutex_);
  generations_.push_back(std::make_unique<HeldConnections>(0));
}

// At most four processes may be left with connections.
void ReloadFuzz::end_oldest_generation() {
  if (generations_.size() < kMostGenerations) return;
  generations_.front()->end();
  remember(generations_.front()->trouble());
  const std::lock_guard lock(mutex_);
  generations_.pop_front();
}

// --- What must be ---

// Between two changes there is no doubt.
void ReloadFuzz::check_all_addresses() {
  for (const std::uint16_t port : draw_.ports()) remember(model_.check(port, random_));
}

// A process that has let go, or has died, closes its sockets a little later.
void ReloadFuzz::await_closed_addresses(const Meaning& meaning) {
  for (const std::uint16_t port : draw_.ports()) {
    if (meaning.contains(port)) continue;
    EXPECT_TRUE(wait_until([&] { return attempt(port, random_).fate == Attempt::Fate::refused; }))
        << port;
  }
}

void ReloadFuzz::expect_whole_captures() {
  for (const std::string& each : recorded_) {
    // Its process can have been killed before it made the folder.
    if (unsealed_.contains(each) && !std::filesystem::exists(each)) continue;
    const int status = verify_status(each);
    EXPECT_TRUE(status == 0 || (torn_ && status == 3)) << each << ' ' << status;
    if (unsealed_.contains(each)) continue;
    for (const auto& file : std::filesystem::directory_iterator(each)) {
      EXPECT_NE(file.path().extension(), ".open") << file.path();
    }
  }
}

TEST_F(ReloadFuzz, EachConnectionSeesWhatItsConfigurationSays) {
  const int steps = by_scale(40, 120, 10'000);
  Repeated connecting(2, by_scale(50, 200, 200), [&](std::mt19937_64& random) {
    const bool keeps = random() % 8 == 0 && has_room();
    const auto kept = [this](OwnedFd fd) { keep(std::move(fd)); };
    remember(model_.check(any_port(random), random, keeps ? kept : ReloadModel::Keep()));
  });
  int done = 0;
  while (done < steps && !HasFailure() && troubles().empty()) step(done++);
  connecting.end();
  for (const auto& each : generations_) {
    each->end();
    remember(each->trouble());
  }
  EXPECT_EQ(troubles(), std::vector<std::string>{});
  EXPECT_EQ(live_.terminate(), 0) << live_.log();
  expect_whole_captures();
  std::printf(
      "%d steps, %zu takeovers, %zu cut by a kill, %zu with a bad file, %zu connections served, "
      "%zu refused, %zu held\n",
      done, takeovers_[0] + takeovers_[1], takeovers_[2], takeovers_[3],
      static_cast<std::size_t>(model_.counts().of(Attempt::Fate::served)),
      static_cast<std::size_t>(model_.counts().of(Attempt::Fate::refused)), held_);
}

}  // namespace
}  // namespace sluice::test
