#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "iolib/base/owned_fd.h"
#include "iolib/pipe/pipe_pool.h"
#include "iolib/reactor/reactor.h"
#include "iolib/reactor/task.h"
#include "iolib/relay/relay.h"
#include "tests/support/pattern.h"
#include "tests/support/settings.h"
#include "tests/support/socket_pair.h"
#include "tests/support/sockets.h"
#include "tests/support/wait.h"

namespace sluice {

enum class Engine : std::uint8_t { uring, asio };

struct RelayMode {
  Engine engine = Engine::asio;
  SpliceMode splice = SpliceMode::automatic;
};
[[nodiscard]] std::vector<RelayMode> every_relay_mode();
[[nodiscard]] std::string name_of_relay_mode(const testing::TestParamInfo<RelayMode>& info);

/// A reactor on its own thread.
class LoopThread {
 public:
  explicit LoopThread(Engine engine);
  /// Stops the loop.
  ~LoopThread();
  LoopThread(const LoopThread&) = delete;
  LoopThread& operator=(const LoopThread&) = delete;

  /// Empty, or why there is no such reactor here.
  [[nodiscard]] const std::string& refusal() const { return refusal_; }
  [[nodiscard]] Reactor& reactor() { return *reactor_; }

  /// Runs `work` on the loop's thread and returns its result. Ends the program if the loop does not
  /// answer for long.
  template <class Work>
  auto call(Work work) {
    auto task = std::make_shared<std::packaged_task<std::invoke_result_t<Work>()>>(std::move(work));
    auto answer = task->get_future();
    reactor_->post([task] { (*task)(); });
    if (answer.wait_for(test::kPatience) != std::future_status::ready) give_up();
    return answer.get();
  }
  /// The CPU time that the loop's thread has used so far.
  [[nodiscard]] Duration cpu_time();
  /// True if the loop uses little CPU for a while.
  [[nodiscard]] bool sleeps();

 private:
  [[noreturn]] static void give_up();
  std::unique_ptr<Reactor> reactor_;
  std::string refusal_;
  std::thread thread_;
};

/// The result of a relay.
struct RelayReport {
  EndReason end = EndReason::none;
  Pump::End to_upstream_end = Pump::End::none;
  Pump::End to_client_end = Pump::End::none;
  std::uint64_t to_upstream_bytes = 0;
  std::uint64_t to_client_bytes = 0;
  std::uint64_t spliced_bytes = 0;  ///< both directions
  std::uint64_t unacknowledged_bytes = 0;
};

/// The options of a relayed connection.
class RelaySession;

struct SessionOptions {
  Duration idle_timeout = std::chrono::hours(1);
  Duration half_close_timeout = std::chrono::hours(1);
  test::PairOptions client = {};    ///< `near` is the relay's end
  test::PairOptions upstream = {};  ///< the same
  std::string held = {};            ///< already received from the client
  bool urgent_inline = false;       ///< SO_OOBINLINE on both of the relay's ends
  bool unix_sockets = false;
  bool echo = false;
  bool to_device = false;
  /// Called on the loop's thread before the relay starts, for example to attach taps.
  std::function<void(Relay&)> before = nullptr;
  /// Called when both connections are established, before the relay exists.
  std::function<void(RelaySession& session, int upstream_near)> connected = nullptr;
};

/// 4 KiB for each buffer of all four sockets.
[[nodiscard]] SessionOptions small_buffers();

/// The bytes that each side of a test's connection sends.
inline const test::Pattern kToUpstream(1);
inline const test::Pattern kToClient(2);

/// One relayed connection with the test's ends. The relay is destroyed as soon as it ends, so a
/// later access is noticed.
class RelaySession {
 public:
  RelaySession(LoopThread& loop, RelayContext& context, SpliceMode splice, SessionOptions options);
  /// Stops the relay if it still runs.
  ~RelaySession();
  RelaySession(const RelaySession&) = delete;
  RelaySession& operator=(const RelaySession&) = delete;

  OwnedFd client;
  OwnedFd upstream;

  /// Runs `look` on the loop's thread with the relay. Returns its result, or nothing if the relay
  /// has ended.
  template <class Look>
  auto look(Look look_at) -> std::optional<std::invoke_result_t<Look, Relay&>> {
    return loop_.call([this, &look_at]() -> std::optional<std::invoke_result_t<Look, Relay&>> {
      if (!relay_) return std::nullopt;
      return look_at(*relay_);
    });
  }
  /// The same for a function without a result; false if the relay has ended.
  bool with(const std::function<void(Relay&)>& work) {
    return loop_.call([&] {
      if (relay_) work(*relay_);
      return static_cast<bool>(relay_);
    });
  }
  [[nodiscard]] bool ended() const { return ended_; }
  /// Waits for the end.
  [[nodiscard]] EndReason end();
  /// Valid after the end.
  [[nodiscard]] const RelayReport& report() const { return report_; }
  [[nodiscard]] std::uint64_t forwarded_to_upstream();

 private:
  [[nodiscard]] Task<> serve();

  LoopThread& loop_;
  Traffic traffic_;
  RelayOptions relay_options_;
  std::string held_;
  std::unique_ptr<Relay> relay_;  ///< used on the loop's thread only
  Task<> task_;
  RelayReport report_;
  std::atomic<bool> ended_{false};
};

/// A loop, a pool and relays. After each test, no pipe may still be lent and no descriptor open.
class RelayTestBase : public testing::Test {
 protected:
  void start_loop(Engine engine, SpliceMode splice);
  void TearDown() override;

  /// Before the first session: replaces the usual pool of 64 pipes of 256 KiB.
  void use_pool(const PipePool::Options& options);
  RelaySession& start(SessionOptions options = {});
  [[nodiscard]] SpliceMode splice() const { return splice_; }
  /// Shortages of pipes so far.
  [[nodiscard]] std::vector<PipeShortage> shortages();
  /// The number of pipes that are lent now.
  [[nodiscard]] std::size_t lent_pipes();

  static constexpr std::size_t kPipeBytes = 256 << 10;

  std::unique_ptr<LoopThread> loop_;
  std::unique_ptr<PipePool> pool_;
  std::unique_ptr<RelayContext> context_;  ///< used on the loop's thread only
  std::vector<std::unique_ptr<RelaySession>> sessions_;
  std::vector<PipeShortage> shortages_;  ///< used on the loop's thread only
  PipePool::Options pool_options_{
      .pipe_bytes = kPipeBytes, .budget_slots = 64 * kPipeBytes / 4096, .thread_pipes = 16};
  SpliceMode splice_ = SpliceMode::automatic;
  std::size_t descriptors_before_ = 0;
};

/// Both reactors and all splice modes.
class RelayTest : public RelayTestBase, public testing::WithParamInterface<RelayMode> {
 protected:
  void SetUp() override { start_loop(GetParam().engine, GetParam().splice); }
};

/// Both reactors; the splice mode is `automatic`, or what the test asks for.
class EngineTest : public RelayTestBase, public testing::WithParamInterface<Engine> {
 protected:
  void SetUp() override { start_loop(GetParam(), SpliceMode::automatic); }
  void use_splice(SpliceMode mode) { splice_ = mode; }
};
[[nodiscard]] std::string name_of_engine(const testing::TestParamInfo<Engine>& info);

// --- The test's ends

/// Sends the pattern's first `size` bytes in pieces of random sizes, then FIN.
bool send_in_pieces(int fd, test::Pattern pattern, std::uint64_t size, std::uint64_t seed);
/// The client sends kToUpstream, at most `limit_bytes`, until nobody takes more and the relay holds
/// some of it. On a busy machine the sender may pause before that. Returns the bytes sent.
[[nodiscard]] std::uint64_t send_until_held(RelaySession& session, std::uint64_t limit_bytes);
/// Reads to the end. Returns the problem with what came, or nothing.
[[nodiscard]] std::string read_whole(int fd, test::Pattern pattern, std::uint64_t size,
                                     test::Ending ending = test::Ending::eof);
/// The number of the pattern's bytes until the stream ends as `ending`; otherwise fails the test.
[[nodiscard]] std::uint64_t read_until(int fd, test::Pattern pattern, test::Ending ending);
/// True once the socket's connection is broken, even if nothing was read.
[[nodiscard]] bool broken(int fd);

}  // namespace sluice
