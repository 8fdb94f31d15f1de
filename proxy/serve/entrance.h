#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "iolib/balance/source_table.h"
#include "iolib/base/address.h"
#include "iolib/base/clock.h"
#include "iolib/reactor/task.h"
#include "iolib/relay/end_reason.h"
#include "iolib/relay/leg.h"
#include "proxy/upstream/route.h"

namespace sluice {

class Entry;
class Worker;

/// What a session got on its way in, and keeps until its end. Most sessions have none.
struct Ticket {
  SocketAddress target;     ///< what the client connected to, if a header says so
  std::string server_name;  ///< that a TLS client asked for; empty if it was not looked at
  std::shared_ptr<balance::SourceTable> sources;  ///< that counts the client; null if none does
  std::shared_ptr<RoutePlaces> places;            ///< of which it has one; null if it has none
  Duration queued{0};                             ///< for how long it has waited for a place

  /// The one that is there, or a new one.
  static Ticket& in(std::unique_ptr<Ticket>& ticket);
  /// Takes a place of the route, if it needs one. Returns false if the route has none left.
  [[nodiscard]] static bool take_place(std::unique_ptr<Ticket>& ticket, const Route& route);
  /// Gives back what is counted. `client`: whom `sources` has counted.
  void give_back(const SocketAddress& client, TimePoint now);
  void give_back_place();
};

/// The way in of one client, if its route asks for it: its lists and the limits of sources, a PROXY
/// header, and the route that the client chooses by what it says first. Lives as long as that
/// takes.
class Entrance {
 public:
  /// What is known of the client. All are the session's, and can change on the way in.
  struct Client {
    SocketAddress& address;  ///< AF_UNSPEC if it is not known
    RouteSnapshot& route;
    std::unique_ptr<Ticket>& ticket;
    Leg::Kind kind;
    int fd;
  };

  /// Borrows the worker and all of `client`.
  Entrance(Worker& worker, const Client& client) : worker_(worker), client_(client) {}

  /// Whether connections of the route go through it.
  [[nodiscard]] static bool is_needed(const Route& route);
  /// Returns why the connection ends, or none.
  [[nodiscard]] Task<EndReason> pass();
  /// Makes pass() end soon.
  void cancel();

 private:
  [[nodiscard]] EndReason admit();
  [[nodiscard]] EndReason count_source();
  [[nodiscard]] Task<EndReason> enter();
  [[nodiscard]] Ticket& ticket();

  Worker& worker_;
  const Client client_;
  Entry* running_ = nullptr;
};

}  // namespace sluice
