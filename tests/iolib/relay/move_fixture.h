#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <coroutine>
#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "tests/iolib/relay/relay_fixture.h"
#include "tests/support/in_background.h"

namespace sluice {

/// One of two threads, and what its relays use.
class Thread {
 public:
  Thread(Engine engine, PipePool& pool, std::size_t number) : loop(engine) {
    if (!loop.refusal().empty()) return;
    loop.call([&] {
      context = std::make_unique<RelayContext>(loop.reactor(), pool);
      context->thread = number;
    });
  }
  ~Thread() {
    if (context) loop.call([this] { context.reset(); });
  }
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;
  [[nodiscard]] std::uint32_t streams() { return context->streams; }

  LoopThread loop;
  std::unique_ptr<RelayContext> context;
};

/// `co_await Arrival(reactor)` continues on that reactor's thread.
class Arrival {
 public:
  explicit Arrival(Reactor& reactor) : reactor_(reactor) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> traveller) {
    reactor_.post([traveller] { traveller.resume(); });
  }
  void await_resume() const noexcept {}

 private:
  Reactor& reactor_;
};

/// Relays that begin on one thread and move to the other as soon as they are heavy.
class MoveTest : public testing::TestWithParam<RelayMode> {
 protected:
  inline static const test::Pattern kUp{1};    ///< what the client sends
  inline static const test::Pattern kDown{2};  ///< what the upstream sends

  void SetUp() override {
    std::signal(SIGPIPE, SIG_IGN);
    first_ = std::make_unique<Thread>(GetParam().engine, pool_, 0);
    second_ = std::make_unique<Thread>(GetParam().engine, pool_, 1);
    if (!first_->loop.refusal().empty()) GTEST_SKIP() << first_->loop.refusal();
    first_->context->choose_thread = [this] { return chosen_; };
    first_->context->of_thread = [this](int) -> auto& { return *second_->context; };
  }
  void TearDown() override {
    if (!relay_started_) return;
    if (!ended_) {
      here_.load()->loop.call([this] {
        if (relay_) relay_->stop(EndReason::drain_timeout);
      });
      static_cast<void>(end());
    }
    // The thread on which the frame ended no longer runs it.
    here_.load()->loop.call([this] { task_ = {}; });
    for (Thread* thread : {first_.get(), second_.get()}) {
      thread->loop.call([thread] { thread->context->tap_pipe.release(); });
    }
    EXPECT_EQ(first_->streams() + second_->streams(), 0U);
    const std::size_t slots = pool_.slots_in_use();
    const std::size_t idle = first_->loop.call([this] { return pool_.cached_pipes(); }) +
                             second_->loop.call([this] { return pool_.cached_pipes(); }) +
                             pool_.shared_pipes();
    EXPECT_EQ(slots, idle * kPipeBytes / Pipe::kSlotBytes) << "a pipe went astray";
  }

  /// Calls `before` on the first thread, before the relay runs.
  void start(const std::function<void(Relay&)>& before = [](Relay&) {}) {
    // The previous relay has ended.
    if (relay_started_) here_.load()->loop.call([this] { task_ = {}; });
    ended_ = false;
    moves_ = 0;
    at_upstream_ = test::PatternChecker(kUp);
    options_.splice = GetParam().splice;
    upstream_.reset();
    client_.reset();
    test::SocketPair client_pair = test::tcp_pair(buffers_);
    test::SocketPair upstream_pair = test::tcp_pair(buffers_);
    // The relay's end has the same number every time.
    if (number_ >= 0 && client_pair.near.get() != number_) {
      EXPECT_LT(::fcntl(number_, F_GETFD), 0) << "somebody else has it";
      EXPECT_EQ(::dup3(client_pair.near.get(), number_, O_CLOEXEC), number_);
      client_pair.near.reset(number_);
    }
    number_ = client_pair.near.get();
    client_ = std::move(client_pair.far);
    upstream_ = std::move(upstream_pair.far);
    here_ = first_.get();
    relay_started_ = true;
    traffic_.emplace();
    options_.traffic = traffic_->data();
    first_->loop.call([&] {
      relay_ =
          std::make_unique<Relay>(*first_->context, options_, std::move(client_pair.near),
                                  Leg::Kind::tcp, std::move(upstream_pair.near), Leg::Kind::tcp);
      before(*relay_);
      task_ = serve();
      task_.start();
    });
  }
  [[nodiscard]] EndReason end() {
    EXPECT_TRUE(test::wait_until([this] { return ended_.load(); }));
    return how_;
  }
  void exchange_both_ways(std::uint64_t size) {
    auto client_sends =
        test::in_background([&] { return send_in_pieces(client_.get(), kUp, size, test::seed()); });
    auto upstream_sends = test::in_background(
        [&] { return send_in_pieces(upstream_.get(), kDown, size, test::seed() + 1); });
    auto at_client = test::in_background([&] { return read_whole(client_.get(), kDown, size); });
    EXPECT_EQ(read_whole(upstream_.get(), kUp, size), "");
    EXPECT_EQ(at_client.get(), "");
    EXPECT_TRUE(client_sends.get() && upstream_sends.get());
    EXPECT_EQ(end(), EndReason::closed);
  }
  static constexpr std::size_t kBurst = Promotion::kLargeTurnBytes + Reactor::kReceiveBytes;
  static constexpr int kBursts = 3 * Promotion::kHeavyAfter;
  /// Makes the direction from the client heavy; the relay then moves. `before` and `after` run with
  /// each burst, so that the loop finds what they do in the same turn.
  void stream_heavily(
      const std::function<void()>& before = [] {}, const std::function<void()>& after = [] {}) {
    std::string burst(kBurst, '\0');
    for (int i = 0; i < kBursts; ++i) {
      kUp.fill(at_upstream_.received_bytes(), std::as_writable_bytes(std::span(burst)));
      // On the loop's thread, which then finds the whole burst at once.
      here_.load()->loop.call([&] {
        before();
        EXPECT_TRUE(test::send_all(client_.get(), burst));
        after();
      });
      test::read_pattern(upstream_.get(), at_upstream_,
                         {.stop_after_bytes = at_upstream_.received_bytes() + kBurst});
    }
    EXPECT_EQ(at_upstream_.mismatch(), std::nullopt);
  }

  /// Sends an answer to the client, and ends both directions in order.
  void answer_and_end() {
    ASSERT_TRUE(test::send_all(upstream_.get(), "answer"));
    EXPECT_EQ(test::receive_text(client_.get(), 6), "answer");
    test::finish_sending(client_.get());
    EXPECT_EQ(test::read_pattern(upstream_.get(), at_upstream_), test::Ending::eof);
    test::finish_sending(upstream_.get());
    EXPECT_EQ(read_whole(client_.get(), kDown, 0), "");
    EXPECT_EQ(end(), EndReason::closed);
  }

  [[nodiscard]] Thread& first() { return *first_; }
  [[nodiscard]] Thread& second() { return *second_; }

  OwnedFd client_;
  OwnedFd upstream_;
  test::PairOptions buffers_{.near_receive_bytes = 1 << 20};
  std::atomic<int> moves_{0};
  int chosen_ = 1;
  test::PatternChecker at_upstream_{kUp};

 private:
  [[nodiscard]] Task<> serve() {
    EndReason how = co_await relay_->run();
    while (how == EndReason::none) {
      EXPECT_EQ(relay_->destination(), 1);
      EXPECT_FALSE(relay_->to_upstream().holds_pipe() || relay_->to_client().holds_pipe())
          << "a pipe belongs to the thread that took it";
      co_await Arrival(second_->loop.reactor());
      relay_->move_to(*second_->context);
      ++moves_;
      here_ = second_.get();
      how = co_await relay_->run();
    }
    expect_counted();
    relay_.reset();
    how_ = how;
    ended_ = true;
  }

  /// Each thread has counted what the relay moved there.
  void expect_counted() {
    const auto& [here, there] = *traffic_;
    const Pump& up = relay_->to_upstream();
    const Pump& down = relay_->to_client();
    EXPECT_EQ(here.to_upstream.forwarded_bytes + there.to_upstream.forwarded_bytes,
              up.forwarded_bytes());
    EXPECT_EQ(here.to_client.forwarded_bytes + there.to_client.forwarded_bytes,
              down.forwarded_bytes());
    EXPECT_EQ(here.to_upstream.spliced_bytes + there.to_upstream.spliced_bytes, up.spliced_bytes());
    EXPECT_TRUE(moves_ > 0 || there.to_upstream.forwarded_bytes == 0);
  }

  static constexpr std::size_t kPipeBytes = 256 << 10;
  std::optional<std::array<Traffic, 2>> traffic_;  ///< by thread
  PipePool pool_{{.pipe_bytes = kPipeBytes, .budget_slots = 16 * kPipeBytes / 4096}};
  std::unique_ptr<Thread> first_;
  std::unique_ptr<Thread> second_;
  RelayOptions options_;
  std::unique_ptr<Relay> relay_;
  Task<> task_;
  std::atomic<Thread*> here_{nullptr};
  std::atomic<bool> ended_{false};
  EndReason how_ = EndReason::none;
  bool relay_started_ = false;
  int number_ = -1;
};

}  // namespace sluice
