#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "proxy/config/config.h"
#include "proxy/config/listen_set.h"
#include "proxy/upstream/route.h"

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

  /// A mirror that has no addresses for now, and why.
  struct Unresolved {
    std::string route;  ///< the first that has it
    std::string mirror;
    std::string reason;
  };
  /// The routes with their upstreams' addresses, or which upstream's name cannot be resolved.
  /// Mirrors' names are looked up meanwhile, and a moment longer: those that are not found by then
  /// have no addresses for now, and are unresolved(). Before run().
  [[nodiscard]] Result<std::vector<Route>> resolve_routes();
  [[nodiscard]] std::vector<Unresolved> unresolved() const;

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

  /// Why run() returned, for the log.
  [[nodiscard]] std::string_view ending() const { return ending_; }

 private:
  // A name, and what it is of.
  struct LookUp {
    HostPort name;
    std::size_t route = 0;      ///< of a mirror: the first that has it
    std::string mirror = {};    ///< its address, as it was given; empty: the route's upstream
    std::string unusable = {};  ///< why the last look-up brought nothing
    TimePoint not_before = {};  ///< for the next one
    bool under_way = false;
    [[nodiscard]] bool is_mirrors() const { return !mirror.empty(); }
  };
  using Found = Result<std::vector<SocketAddress>>;

  void await_signal();
  void handle(int signal);
  void end_drain(Duration grace, std::string_view why);
  void set_drain_deadline(Duration time, const std::function<void()>& then);
  void add_route(const RouteConfig& config);
  void note_name(const TargetAddress& address, std::size_t route, const std::string& mirror);
  void await_mirrors();
  void look_up_again(LookUp& look_up);
  void look_up_apart(LookUp& look_up);
  void resolved(LookUp& look_up, const Found& found);
  [[nodiscard]] Result<std::vector<Endpoint>> usable(const LookUp& look_up,
                                                     const Found& found) const;
  [[nodiscard]] bool leads_back(const LookUp& look_up, const std::string& address) const;
  [[nodiscard]] std::vector<std::size_t> routes_at(const std::string& address) const;
  void replace(const LookUp& look_up, const std::vector<Endpoint>& endpoints);

  const Config& config_;
  Actions actions_;
  const ListenSet listens_;
  /// Of threads that look names up as well.
  const std::shared_ptr<boost::asio::io_context> context_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  boost::asio::signal_set signals_;
  boost::asio::steady_timer drain_deadline_;
  std::vector<Route> routes_;
  std::vector<LookUp> look_ups_;  ///< never moved once the first has begun
  bool running_ = false;
  bool draining_ = false;
  std::string_view ending_ = "drained";
};

}  // namespace sluice
