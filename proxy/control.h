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
    std::function<void()> reopen_log;
    std::function<void()> print_stats;
    std::function<void(const Route&)> update_route;
  };
  Control(const Config& config, Actions actions);

  /// The routes with their upstreams' addresses, or which name cannot be resolved. Before run().
  [[nodiscard]] Result<std::vector<Route>> resolve_routes();

  /// Serves signals until finish(). A second SIGTERM or SIGINT ends the process at once.
  void run();

  /// From any thread:
  /// an upstream's addresses failed; resolve its name again, soon.
  void upstream_failed(std::size_t route);
  /// run() may return.
  void finish();

  /// Why run() returned, for the log.
  [[nodiscard]] std::string_view ending() const { return ending_; }

 private:
  struct Resolution {
    Route route;
    TimePoint not_before;  ///< for the next look-up
    bool under_way = false;
  };

  void await_signal();
  void handle(int signal);
  void end_drain(Duration grace, std::string_view why);
  void resolve_again(std::size_t route);
  void resolved(std::size_t route, const boost::asio::ip::tcp::resolver::results_type& results);

  const Config& config_;
  Actions actions_;
  boost::asio::io_context context_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  boost::asio::signal_set signals_;
  boost::asio::steady_timer drain_deadline_;
  boost::asio::ip::tcp::resolver resolver_;
  std::vector<Resolution> routes_;
  bool draining_ = false;
  std::string_view ending_ = "drained";
};

}  // namespace sluice
