#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "proxy/config/config.h"
#include "proxy/run/look_ups.h"
#include "proxy/upstream/route.h"

namespace sluice {

/// The work of the control thread, which is the main thread: signals, names, and the deadlines of a
/// drain.
class Control {
 public:
  /// What Control asks of the server. All are called on the control thread.
  struct Actions {
    std::function<void()> begin_lame_duck;  ///< clients are accepted for --lame-duck more
    std::function<void()> begin_drain;
    std::function<void()> end_drain;  ///< the drain deadline has passed
    std::function<void()> exit_now;   ///< a worker does not finish
    std::function<void()> reload;     ///< and open the log anew
    std::function<void()> print_stats;
    std::function<void(const Route&)> update_route;  ///< its upstream or a mirror has new addresses
    std::function<void()> end_lost_sessions;         ///< a server went down
    std::function<void(bool)> set_lame_duck;         ///< an operator wants it, or no longer
  };
  /// For this many workers.
  Control(std::shared_ptr<const Config> config, std::size_t workers, Actions actions);

  /// Resolves all names and returns the routes with their addresses. A name of a single server that
  /// does not resolve is an error. Names of mirrors and of many servers resolve in the background,
  /// and get up to a second more; the rest have no addresses yet and are in unresolved(). Blocks.
  /// Call it before run().
  [[nodiscard]] Result<std::vector<Route>> resolve_routes() { return look_ups_->resolve_routes(); }
  /// See LookUps.
  void start_file_threads() { look_ups_->start_file_threads(); }
  /// The mirrors and names of many servers that have no addresses yet.
  [[nodiscard]] std::vector<LookUps::Unresolved> unresolved() const {
    return look_ups_->unresolved();
  }

  /// Catches SIGTERM, SIGINT, SIGHUP and SIGUSR1 from now on, for run().
  void catch_signals();
  /// Handles signals until finish(). SIGTERM and SIGINT end the process in steps, and each further
  /// one begins the next step at once.
  void run();

  /// What holds now.
  [[nodiscard]] const std::shared_ptr<const Config>& config() const { return config_; }
  [[nodiscard]] const LookUps& look_ups() const { return *look_ups_; }
  /// This configuration holds from now on. `look_ups` continue those that there are. On the control
  /// thread.
  void use(std::shared_ptr<const Config> config, std::unique_ptr<LookUps> look_ups);
  /// Calls `work` on a thread of its own, and then `then` on the control thread.
  [[nodiscard]] Result<> run_apart(std::function<void()> work, std::function<void()> then);
  /// The routes with their current addresses.
  [[nodiscard]] const std::vector<Route>& routes() const { return look_ups_->routes(); }

  /// All addresses of a server failed, which comes from this element of `to` of the route with this
  /// number: look its name up again soon. Any thread.
  void upstream_failed(std::size_t route, std::size_t server);
  /// The same for a mirror. Any thread.
  void mirror_failed(const std::string& address);
  /// A server went down, and its sessions end. Any thread.
  void server_fell();
  /// Calls `task` on the control thread, while run() runs. Any thread.
  void post(std::function<void()> task);
  /// Calls `task` on the control thread about once in `interval`, while run() runs. Call it once,
  /// before run().
  void repeat(Duration interval, std::function<void()> task);
  /// Asks clients to go elsewhere, or no longer, until the process ends. False if a signal has
  /// begun that. On the control thread.
  [[nodiscard]] bool set_lame_duck(bool lame_duck);
  /// Another process accepts from now on: drains, with the deadline of --takeover-drain only. A
  /// signal then begins the drain with its usual deadline. On the control thread.
  void hand_over();
  [[nodiscard]] bool is_handed_over() const { return phase_ == Phase::handed_over; }
  /// A reload or a takeover begins, if neither of them is under way: what one hands over must not
  /// change meanwhile. Otherwise `when_free`, if any, is called once the other has ended; only the
  /// last one is kept. On the control thread.
  [[nodiscard]] bool begin_change(std::function<void()> when_free = {});
  void end_change();
  /// Whether the process is about to end. On the control thread.
  [[nodiscard]] bool is_ending() const { return phase_ >= Phase::lame_duck; }
  /// Lets run() return. Any thread.
  void finish();

  /// Why run() returned, for the log.
  [[nodiscard]] std::string_view ending() const { return ending_; }

 private:
  void await_signal();
  void handle(int signal);
  void begin_drain();
  void end_drain(Duration grace, std::string_view why);
  void set_deadline(Duration time, const std::function<void()>& then);

  enum class Phase : std::uint8_t {
    running,
    set_aside,    ///< an operator asks clients to go elsewhere
    lame_duck,    ///< a signal does, and begins the drain after a time
    handed_over,  ///< another process accepts; connections end when they end
    draining,
  };

  std::shared_ptr<const Config> config_;
  Actions actions_;
  /// Shared with the threads that look names up.
  const std::shared_ptr<boost::asio::io_context> context_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  boost::asio::signal_set signals_;
  boost::asio::steady_timer deadline_;  ///< of the phase
  boost::asio::steady_timer repeated_;
  std::unique_ptr<LookUps> look_ups_;
  Phase phase_ = Phase::running;
  bool is_changing_ = false;
  std::function<void()> when_free_;
  std::string_view ending_ = "drained";
};

}  // namespace sluice
