#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "iolib/reactor/task.h"
#include "proxy/upstream/hedge.h"
#include "proxy/upstream/route.h"

namespace sluice {

class Worker;

/// The server that a session uses.
struct Upstream {
  static constexpr std::uint16_t kNoEndpoint = 0xffff;

  /// The last that was tried, if any. The other members stand in its padding: each connection keeps
  /// an Upstream.
  [[no_unique_address]] ServerUse server;
  std::uint16_t endpoint = kNoEndpoint;  ///< index of its address, once connected
  std::uint16_t attempts = 0;            ///< connects to servers

  [[nodiscard]] bool is_connected() const { return endpoint != kNoEndpoint; }
  /// The address that is connected.
  [[nodiscard]] const Endpoint& address() const { return server->endpoints[endpoint]; }
};

/// Connects a session to a server of its route: picks one, hedges, and tries others if it fails.
/// Lives as long as the session connects.
class ServerConnect {
 public:
  /// Borrows everything. `source` is a hash of the client's address.
  ServerConnect(Worker& worker, const Route& route, std::uint64_t source, Upstream& upstream);
  ServerConnect(const ServerConnect&) = delete;
  ServerConnect& operator=(const ServerConnect&) = delete;

  /// Picks the first server beforehand: the session has a place there from now on, and the time for
  /// connecting begins. Returns false if it finds none since those that it could use are full.
  [[nodiscard]] bool reserve();
  /// When the time for connecting is over.
  [[nodiscard]] TimePoint deadline() const { return deadline_; }
  /// Connects, and says so in `upstream`. May be called again after an error.
  [[nodiscard]] Task<Result<OwnedFd>> run();
  /// Whether run() failed since all servers that it could use have as many connections as they
  /// may.
  [[nodiscard]] bool is_limited() const { return limited_; }
  /// Makes run() end soon, with an error.
  void cancel();

 private:
  class Attempt;
  using Contender = HedgedConnector::Contender;

  [[nodiscard]] std::optional<Contender> next();
  [[nodiscard]] std::optional<Contender> pick() const;
  [[nodiscard]] std::optional<Contender> pick_hedge(const ServerRef& first) const;
  [[nodiscard]] std::optional<Contender> contender(const Balancer::Pick& pick) const;
  void note_connected(const Connected& connected);
  void note_lost(Contender contender, const Error& error);
  void note_failed(const Server& server, int error, bool on_trial) const;
  [[nodiscard]] bool pay_retry() const;
  [[nodiscard]] bool pay() const;
  [[nodiscard]] Task<> rest();
  [[nodiscard]] TimePoint now() const;
  [[nodiscard]] std::uint64_t retries() const;
  [[nodiscard]] Duration hedge_after() const;
  [[nodiscard]] Balancer& balancer() const;
  [[nodiscard]] balance::TokenBucket& budget() const;

  Worker& worker_;
  const Route& route_;
  const std::uint64_t source_;
  Upstream& upstream_;
  TimePoint deadline_;
  std::optional<Contender> reserved_;
  std::vector<ServerRef> tried_;        ///< in this round
  Duration longest_rest_;               ///< before the next round
  HedgedConnector* running_ = nullptr;  ///< the attempt, while there is one
  bool cancelled_ = false;
  bool limited_ = false;
};

}  // namespace sluice
