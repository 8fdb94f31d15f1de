#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "iolib/reactor/asio_reactor.h"
#include "iolib/reactor/operation.h"
#include "iolib/reactor/reactor.h"
#include "iolib/reactor/uring_reactor.h"
#include "tests/support/settings.h"

namespace sluice {

/// Stops a reactor's loop as soon as a test's condition is true. It is checked after each
/// completion, so a missing wake-up is a failure, not a delay.
class Checkpoint {
 public:
  explicit Checkpoint(std::unique_ptr<Reactor>& reactor) : reactor_(reactor) {}
  void wait_for(std::function<bool()> condition) { condition_ = std::move(condition); }
  void check() {
    if (!condition_ || !condition_()) return;
    condition_ = nullptr;
    reactor_->stop();
  }
  [[nodiscard]] bool waiting() const { return static_cast<bool>(condition_); }

 private:
  std::unique_ptr<Reactor>& reactor_;
  std::function<bool()> condition_;
};

/// A request that remembers how it completed.
class Probe final : public Operation {
 public:
  struct Seen {
    int result = 0;
    bool more = false;
    std::string data;
  };
  explicit Probe(Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  [[nodiscard]] const std::vector<Seen>& seen() const { return seen_; }
  [[nodiscard]] std::size_t completions() const { return seen_.size(); }
  [[nodiscard]] const Seen& last() const { return seen_.back(); }
  /// All bytes received so far.
  [[nodiscard]] const std::string& text() const { return text_; }
  /// Called at each completion, when the request may be started again.
  std::function<void(const Seen&)> then;

 private:
  void complete(const Completion& completion) override {
    const auto* data = reinterpret_cast<const char*>(completion.data.data());
    seen_.push_back(
        {completion.result, completion.more, std::string(data, completion.data.size())});
    text_ += seen_.back().data;
    if (then) then(Seen(seen_.back()));
    checkpoint_.check();
  }

  Checkpoint& checkpoint_;
  std::vector<Seen> seen_;
  std::string text_;
};

/// Stops a reactor.
class Alarm final : public Timer {
 public:
  explicit Alarm(Reactor& stopped) : stopped_(stopped) {}

 private:
  void expired() override { stopped_.stop(); }
  Reactor& stopped_;
};

/// Runs the same tests for every Reactor: TYPED_TEST_SUITE(…, Reactors).
template <class Engine>
class ReactorTest : public testing::Test {
 protected:
  void SetUp() override {
    std::signal(SIGPIPE, SIG_IGN);
    auto created = Engine::create();
    if (created.has_error()) GTEST_SKIP() << "refused here: " << created.error().to_string();
    reactor_ = std::move(*created);
  }

  [[nodiscard]] Reactor& reactor() { return *reactor_; }
  [[nodiscard]] std::unique_ptr<Probe> probe() { return std::make_unique<Probe>(checkpoint_); }

  /// Runs the loop until `condition` holds; it is checked after each completion.
  [[nodiscard]] bool run_until(std::function<bool()> condition) {
    if (condition()) return true;
    checkpoint_.wait_for(std::move(condition));
    Alarm alarm(*reactor_);
    reactor_->set_timer(alarm, Clock::now() + test::kPatience);
    reactor_->run();
    reactor_->cancel_timer(alarm);
    const bool met = !checkpoint_.waiting();
    checkpoint_.wait_for(nullptr);
    return met;
  }
  [[nodiscard]] bool run_until_complete(const Probe& waited) {
    return run_until(
        [&waited, before = waited.completions()] { return waited.completions() > before; });
  }
  /// Runs the loop for `time`; true if it slept for most of that.
  [[nodiscard]] bool sleeps_for(Duration time) {
    // The few calls of a short time can be slow on a loaded machine; a loop that spins always is.
    constexpr int kTries = 3;
    for (int i = 0; i < kTries; ++i) {
      const auto cpu_before = cpu_time();
      run_for(time);
      if (cpu_time() - cpu_before < time / 5) return true;
    }
    return false;
  }
  void run_for(Duration time) {
    Alarm alarm(*reactor_);
    reactor_->set_timer(alarm, Clock::now() + time);
    reactor_->run();
    reactor_->cancel_timer(alarm);
  }
  /// Runs several turns, so that everything that can happen now happens.
  void settle() {
    constexpr int kTurns = 20;
    next_turn(kTurns);
    reactor_->run();
  }

  std::unique_ptr<Reactor> reactor_;
  Checkpoint checkpoint_{reactor_};

 private:
  static Duration cpu_time() {
    timespec used{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
  }
  void next_turn(int left) {
    if (left == 0) return reactor_->stop();
    reactor_->post([this, left] { next_turn(left - 1); });
  }
};

struct ReactorNames {
  template <class Engine>
  static std::string GetName(int /*index*/) {
    return std::is_same_v<Engine, UringReactor> ? "Uring" : "Asio";
  }
};
using Reactors = testing::Types<UringReactor, AsioReactor>;

/// Sends until the buffers are full, so that the socket is not writable.
inline void fill(int fd) {
  const std::string bytes(4096, 'x');
  while (::send(fd, bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) {
  }
}

}  // namespace sluice
