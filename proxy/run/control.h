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

/// The work of the control thread, which is the main thread: signals, name resolution, and the
/// deadlines of a drain.
class Control {
 public:
  /// What Control asks of the server. All are called on the control thread.
  struct Actions {
    std::function<void()> begin_drain;
    std::function<void()> end_drain;  ///< the drain deadline has passed
    std::function<void()> exit_now;   ///< a worker does not finish
    std::function<void()> reopen_log;
    std::function<void()> print_stats;
    std::function<void(const Route&)> update_route;  ///< its upstream or a mirror has new addresses
    std::function<void()> end_lost_sessions;         ///< a server went down
  };
  Control(const Config& config, Actions actions);

  /// A mirror without addresses so far, and why.
  struct Unresolved {
    std::string route;  ///< the first route with this mirror
    std::string mirror;
    std::string reason;
  };
  /// Resolves all names and returns the routes with their addresses. A name of an upstream that
  /// does not resolve is an error. Names of mirrors resolve in the background, and get up to a
  /// second more; the rest have no addresses yet and are in unresolved(). Blocks. Call it before
  /// run().
  [[nodiscard]] Result<std::vector<Route>> resolve_routes();
  /// The mirrors that have no addresses yet.
  [[nodiscard]] std::vector<Unresolved> unresolved() const;

  /// Catches SIGTERM, SIGINT, SIGHUP and SIGUSR1 from now on, for run().
  void catch_signals();
  /// Handles signals until finish(). A second SIGTERM or SIGINT ends the process at once.
  void run();

  /// The routes with their current addresses.
  [[nodiscard]] const std::vector<Route>& routes() const { return routes_; }

  /// All addresses of this server failed: resolve its name again soon. Any thread.
  void upstream_failed(std::size_t route, std::size_t server);
  /// The same for a mirror. Any thread.
  void mirror_failed(const std::string& address);
  /// Whether an address of the server is one of the listeners. Any thread.
  [[nodiscard]] bool listens_here(const Server& server) const;
  /// A server went down, and its sessions end. Any thread.
  void server_fell();
  /// Lets run() return. Any thread.
  void finish();

  /// Why run() returned, for the log.
  [[nodiscard]] std::string_view ending() const { return ending_; }

 private:
  // A name to resolve, and whose name it is.
  struct LookUp {
    HostPort name;
    std::size_t route = 0;      ///< for a mirror: the first route that has it
    std::size_t server = 0;     ///< index of the server, if it is not a mirror's
    std::string mirror = {};    ///< the mirror's address as configured; empty for a server
    std::string unusable = {};  ///< why the last look-up gave no address
    TimePoint not_before = {};  ///< earliest time of the next look-up
    bool under_way = false;
    [[nodiscard]] bool is_mirrors() const { return !mirror.empty(); }
  };
  using Found = Result<std::vector<SocketAddress>>;

  void await_signal();
  void handle(int signal);
  void end_drain(Duration grace, std::string_view why);
  void set_drain_deadline(Duration time, const std::function<void()>& then);
  void add_route(const RouteConfig& config);
  void note_name(const TargetAddress& address, std::size_t route, std::size_t server,
                 const std::string& mirror);
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
  /// Shared with the threads that look names up.
  const std::shared_ptr<boost::asio::io_context> context_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  boost::asio::signal_set signals_;
  boost::asio::steady_timer drain_deadline_;
  std::vector<Route> routes_;
  std::vector<LookUp> look_ups_;  ///< fixed once the first look-up has begun: the threads refer to
                                  ///< its elements
  bool running_ = false;
  bool draining_ = false;
  std::string_view ending_ = "drained";
};

}  // namespace sluice
