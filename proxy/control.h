#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "proxy/config.h"
#include "proxy/route.h"

namespace sluice {

/// The control thread: signals, names, and the timers of policy. It is the main thread.
class Control {
 public:
  /// What it decides, for the server to carry out. Called on the control thread.
  struct Actions {
    std::function<void()> begin_drain;
    std::function<void()> end_drain;  ///< the deadline has passed
    std::function<void()> exit_now;   ///< something does not end
    std::function<void()> reopen_log;
    std::function<void()> print_stats;
    std::function<void(const Route&)> update_route;  ///< its upstream's addresses, or a mirror's
  };
  Control(const Config& config, Actions actions);

  /// What a mirror's name could not be looked up for.
  struct Unresolved {
    std::string route;
    std::string mirror;
    std::string reason;
  };
  /// The routes with their upstreams' addresses, or which upstream's name cannot be resolved. A
  /// mirror whose name cannot be has no addresses for now, and is one of unresolved(). Before
  /// run().
  [[nodiscard]] Result<std::vector<Route>> resolve_routes();
  [[nodiscard]] const std::vector<Unresolved>& unresolved() const { return unresolved_; }

  /// From now on SIGTERM, SIGINT, SIGHUP and SIGUSR1 are for run() to serve.
  void catch_signals();
  /// Serves signals until finish(). A second SIGTERM or SIGINT ends the process at once.
  void run();

  /// From any thread:
  /// an upstream's addresses failed; resolve its name again, soon.
  void upstream_failed(std::size_t route);
  /// the same of a mirror.
  void mirror_failed(const std::string& address);
  /// run() may return.
  void finish();

  /// A name is being looked up: the destructor would wait for it, as long as name servers are
  /// silent. After run().
  [[nodiscard]] bool looking_up() const;
  /// Why run() returned, for the log.
  [[nodiscard]] std::string_view ending() const { return ending_; }

 private:
  // An address of a route that may be a name, and where its endpoints are kept.
  struct LookUp {
    TargetAddress address;
    std::size_t route = 0;
    std::size_t mirror = kNoMirror;  ///< its number; kNoMirror: the upstream
    TimePoint not_before = {};       ///< for the next one
    bool under_way = false;
  };
  static constexpr std::size_t kNoMirror = ~std::size_t{0};

  void await_signal();
  void handle(int signal);
  void end_drain(Duration grace, std::string_view why);
  [[nodiscard]] Result<> look_up_first(LookUp look_up);
  void look_up_mirrors(std::size_t route);
  void resolve_again(LookUp& look_up);
  void resolved(const LookUp& look_up, const boost::asio::ip::tcp::resolver::results_type& results);
  [[nodiscard]] std::vector<Endpoint>& endpoints(const LookUp& look_up);

  const Config& config_;
  Actions actions_;
  boost::asio::io_context context_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  boost::asio::signal_set signals_;
  boost::asio::steady_timer drain_deadline_;
  boost::asio::ip::tcp::resolver resolver_;
  std::vector<Route> routes_;
  std::vector<LookUp> look_ups_;  ///< all before run()
  std::vector<Unresolved> unresolved_;
  bool draining_ = false;
  std::string_view ending_ = "drained";
};

}  // namespace sluice
