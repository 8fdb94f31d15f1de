#pragma once

#include <boost/intrusive/list.hpp>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "iolib/base/address.h"
#include "iolib/base/owned_fd.h"
#include "iolib/capture/recorder.h"
#include "iolib/reactor/reactor.h"
#include "iolib/reactor/task.h"
#include "iolib/relay/relay.h"
#include "proxy/serve/entrance.h"
#include "proxy/serve/place_wait.h"
#include "proxy/serve/server_connect.h"
#include "proxy/serve/session_info.h"
#include "proxy/upstream/route.h"

namespace sluice {

class FileSource;
class Worker;

/// A coroutine that owns itself: it starts at once and frees its frame when it ends.
struct Detached {
  struct promise_type {
    Detached get_return_object() const noexcept { return {}; }
    [[nodiscard]] std::suspend_never initial_suspend() const noexcept { return {}; }
    [[nodiscard]] std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
  };
};

/// Closes a connection with a reset, so that it does not look like an orderly end.
void close_with_reset(OwnedFd& fd);

/// One client's connection, from accept to its log line. It lives in the frame of its coroutine and
/// is in its worker's list.
class Session : public boost::intrusive::list_base_hook<> {
 public:
  Session(Worker& worker, RouteSnapshot route, int client, Leg::Kind client_kind);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// See Route.
  [[nodiscard]] bool tapped() const { return route_->tapped(); }
  /// Whether it has not ended although its health checks have found its server down, and the route
  /// then ends its sessions.
  [[nodiscard]] bool has_lost_its_server() const;
  [[nodiscard]] std::uint64_t number() const { return number_; }
  [[nodiscard]] const std::string& route_name() const { return route_->config.name; }
  /// Whether its route records to `path`, but it has not yet begun what is recorded.
  [[nodiscard]] bool may_yet_record_to(std::string_view path) const;
  /// Its place in a list of this order.
  [[nodiscard]] SessionPlace place(SessionOrder order) const;
  [[nodiscard]] SessionInfo info() const;
  /// Ends the session soon, with a reset in both directions.
  void stop(EndReason why);

 private:
  friend Detached serve(Worker& worker, const RouteSnapshot& route, OwnedFd client,
                        Leg::Kind client_kind);

  class Places;
  enum class Queueing : std::uint8_t { first_time, again };
  /// The bytes that were forwarded, and how many of them were spliced.
  struct Totals {
    std::uint64_t to_upstream = 0;
    std::uint64_t to_client = 0;
    std::uint64_t spliced_to_upstream = 0;
    std::uint64_t spliced_to_client = 0;
  };

  [[nodiscard]] Task<bool> open_upstream(int client, OwnedFd& upstream);
  [[nodiscard]] Task<bool> await_place(int client, std::optional<ServerConnect>& connect,
                                       Queueing how);
  ServerConnect& make_if_missing(std::optional<ServerConnect>& connect);
  [[nodiscard]] Task<Result<OwnedFd>> open_target(ServerConnect& connect);
  [[nodiscard]] Task<bool> descriptor_came(int error, TimePoint deadline);
  void set_times(int fd, Leg::Kind kind) const;
  [[nodiscard]] bool sends_file() const {
    return std::holds_alternative<FileEndpoint>(route_->config.target());
  }
  [[nodiscard]] Result<OwnedFd> introduced(OwnedFd upstream, int client) const;
  /// That a TLS client asked for; empty if it was not looked at.
  [[nodiscard]] std::string_view server_name() const {
    return ticket_ ? std::string_view(ticket_->server_name) : std::string_view();
  }
  /// Whether the address of the client is known. Nobody asks for it where nobody needs it.
  [[nodiscard]] bool has_address() const { return client_.family() != AF_UNSPEC; }
  [[nodiscard]] std::uint64_t source_hash() const;
  [[nodiscard]] Leg::Kind upstream_kind() const;
  [[nodiscard]] std::string client_text() const;
  [[nodiscard]] std::string upstream_text() const;
  [[nodiscard]] Task<> send_file(OwnedFd& client);
  [[nodiscard]] capture::Recording* begin_taps(Relay& relay);
  [[nodiscard]] capture::Recording* begin_recording();
  [[nodiscard]] std::uint8_t recorded_sides() const;
  /// Whether the end of the session is known: it failed, was stopped, or is over.
  [[nodiscard]] bool has_ended() const { return end_ != EndReason::none; }
  /// The bytes so far.
  [[nodiscard]] Totals totals() const;
  [[nodiscard]] Totals totals_of(const Relay& relay) const;
  [[nodiscard]] TimePoint last_activity() const;
  void connect_failed(const Error& error, bool is_limited);
  void relayed(EndReason end, Relay& relay, capture::Recording* recording);
  [[nodiscard]] Worker& destination(const Relay& relay) const;
  void arrive(Relay& relay);
  void log_end(const Totals& totals);

  Worker* worker_;
  RouteSnapshot route_;
  /// For stop().
  std::variant<std::monostate, Entrance*, PlaceWait*, ServerConnect*, Relay*, FileSource*> running_;
  std::uint64_t number_;
  TimePoint began_;
  SocketAddress client_;
  std::unique_ptr<Ticket> ticket_;           ///< null unless the route asks for it
  [[no_unique_address]] Upstream upstream_;  ///< the next members stand in its padding
  Leg::Kind client_kind_;
  EndReason end_ = EndReason::none;
  std::uint8_t recorded_sides_ = 0;  ///< of its recording; 0: it is not recorded
};

/// The sessions of one worker; borrowed.
using SessionList = boost::intrusive::list<Session, boost::intrusive::constant_time_size<false>>;

/// Serves one client that was accepted for `route`, until its end. The worker must have admitted
/// it. `route` is copied before the call returns.
Detached serve(Worker& worker, const RouteSnapshot& route, OwnedFd client, Leg::Kind client_kind);

}  // namespace sluice
