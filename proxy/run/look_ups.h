#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "proxy/config/config.h"
#include "proxy/config/listen_set.h"
#include "proxy/names/name_set.h"
#include "proxy/upstream/route.h"

namespace sluice {

/// How long a start or a reload waits for the names of mirrors and of many servers, so that the
/// first connections are mirrored, too, and find servers.
inline constexpr Duration kLookUpPatience = std::chrono::seconds(1);

/// Looks up the names of the configuration, and keeps the addresses and the servers of all routes.
/// Names of single servers and mirrors are looked up when a connect fails, names of many servers
/// also at their interval. Belongs to the control thread, on whose context the answers arrive.
class LookUps {
 public:
  /// `update_route`: a route has new addresses or servers. Called only after start().
  LookUps(std::shared_ptr<const Config> config, std::size_t workers,
          std::shared_ptr<boost::asio::io_context> context,
          std::function<void(const Route&)> update_route);
  /// For a configuration that follows that of `old`: its routes continue those of these indices.
  /// They keep what `old` knows about their servers and names.
  LookUps(std::shared_ptr<const Config> config, const LookUps& old,
          std::span<const std::optional<std::size_t>> continues);
  LookUps(const LookUps&) = delete;
  LookUps& operator=(const LookUps&) = delete;

  /// A mirror or a name of many servers without addresses so far, or without some, and why.
  struct Unresolved {
    std::string route;      ///< the first route with this mirror or name
    std::string_view kind;  ///< "mirror" or "name"
    std::string address;
    std::string reason;
    bool is_known = false;  ///< the configuration before had it, and it was reported then
  };
  /// See Control::resolve_routes().
  [[nodiscard]] Result<std::vector<Route>> resolve_routes();
  /// Resolves the names that are new, and calls `done` later: with an error if the name of a single
  /// server does not resolve. Names of mirrors and of many servers get up to a second.
  void resolve(std::function<void(Result<>)> done);
  /// Takes over what another one for the same configuration has found out about names that this one
  /// does not know.
  void adopt_resolved(const LookUps& other);
  /// Starts a thread for each route that sends a file. Throws std::system_error.
  void start_file_threads();
  [[nodiscard]] std::vector<Unresolved> unresolved() const;
  /// Changes are logged and passed on from now on.
  void start();

  /// The routes with their current addresses.
  [[nodiscard]] const std::vector<Route>& routes() const { return routes_; }

  /// All addresses of a server failed, which comes from this element of `to` of the route with this
  /// number: its name is looked up again soon.
  void upstream_failed(std::size_t route, std::size_t server);
  /// The same for a mirror.
  void mirror_failed(const std::string& address);

 private:
  // A name to look up, and whose name it is.
  struct LookUp {
    TargetAddress name;
    std::size_t route = 0;      // index; for a mirror: of the first route that has it
    std::size_t server = 0;     // index in `to`, if it is not a mirror's
    std::string mirror = {};    // the mirror's address as configured; empty for a server
    std::string unusable = {};  // why the last look-up missed an address
    TimePoint not_before = {};  // earliest time of the next look-up
    enum class State : std::uint8_t { idle, waiting, under_way } state = State::idle;
    std::uint64_t turn = 0;   // number of the last look-up
    std::size_t threads = 0;  // of the last look-up, and of earlier ones that hang
    std::optional<boost::asio::steady_timer> timer = {};  // until the next one, or until it hangs
    bool known = false;                                   // from the configuration before
    // Of a name of many servers.
    NameSet set = {};
    std::vector<NamedServer> servers = {};

    [[nodiscard]] bool is_mirrors() const { return !mirror.empty(); }
    [[nodiscard]] bool is_of_many() const { return names_servers(name); }
    [[nodiscard]] std::string text() const { return is_mirrors() ? mirror : to_string(name); }
  };
  using Found = Result<std::vector<NameRecord>>;

  // Answers and timers can outlive it.
  template <class Handler>
  [[nodiscard]] auto if_alive(Handler handler) const {
    return
        [handler = std::move(handler), alive = std::weak_ptr(alive_)](const auto& result) mutable {
          if (!alive.expired()) handler(result);
        };
  }
  void add_route(std::size_t number);
  void continue_route(std::size_t index, const LookUps& old, std::size_t old_index);
  void adopt_names(const LookUps& old, std::span<const std::optional<std::size_t>> continues);
  void note_name(const TargetAddress& address, std::size_t route, std::size_t server,
                 const std::string& mirror);
  void await_answers();
  void give_up_waiting();
  void check_resolved();
  [[nodiscard]] Error unresolved_error(const LookUp& name) const;
  void look_up_again(LookUp& name);
  void look_up(LookUp& name);
  void begin_waiting();
  void ended(LookUp& name, const Found& found);
  void repeat_if_it_hangs(LookUp& name);
  void answered(LookUp& name, const Found& found);
  void look_up_at_interval(LookUp& name);
  [[nodiscard]] Found usable(const LookUp& name, Found found) const;
  [[nodiscard]] bool leads_back(const LookUp& name, const SocketAddress& address) const;
  [[nodiscard]] std::vector<std::size_t> routes_at(const std::string& address) const;
  void replace(const LookUp& name, const std::vector<SocketAddress>& addresses);
  void replace_servers(LookUp& name);
  [[nodiscard]] bool has_names_of_many(const Route& route) const;
  void rebuild(std::size_t index);
  void report_left_out(std::size_t index) const;

  const std::shared_ptr<const Config> config_;
  const std::size_t workers_;
  const ListenSet listens_;
  const std::shared_ptr<boost::asio::io_context> context_;  // shared with the threads
  std::function<void(const Route&)> update_route_;
  std::size_t next_number_ = 0;
  std::vector<Route> routes_;          // in the order of the configuration
  std::vector<std::size_t> left_out_;  // servers beyond the bound, by route
  std::deque<LookUp> names_;
  std::deque<LookUp*> waiting_;
  std::size_t under_way_ = 0;
  bool running_ = false;
  // Of resolve().
  std::function<void(Result<>)> resolved_;
  std::optional<boost::asio::steady_timer> patience_;
  bool is_patient_ = true;
  const std::shared_ptr<const bool> alive_ = std::make_shared<bool>(true);  // see if_alive()
};

/// Logs the names that have no addresses yet, if the configuration before had not reported them.
void report_unresolved(const LookUps& look_ups);
/// Whether an address of the server is one of the listeners.
[[nodiscard]] bool leads_to(const ListenSet& listeners, const Server& server);

}  // namespace sluice
