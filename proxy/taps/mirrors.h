#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/mirror/mirror.h"
#include "iolib/reactor/reactor.h"
#include "iolib/relay/pump.h"
#include "proxy/log/log.h"
#include "proxy/log/repeated.h"
#include "proxy/upstream/route.h"

namespace sluice {

/// The state that all workers share about each mirror, by its address.
using MirrorShedding = std::map<std::string, mirror::Shedding, std::less<>>;

/// The options of one worker's mirrors.
struct MirrorOptions {
  std::size_t worker = 0;              ///< the worker's index, for log lines
  std::uint64_t buffers_bytes = 0;     ///< memory for the backlogs of all mirrors of this worker
  std::uint64_t descriptors = 0;       ///< the most sockets that its mirrors may have open together
  MirrorShedding* shedding = nullptr;  ///< borrowed; has an entry for each address
};

/// The mirrors of one worker, one for each address, even if several routes name it. Belongs to the
/// thread of its reactor.
class WorkerMirrors {
 public:
  WorkerMirrors(Reactor& reactor, const std::vector<Route>& routes, const MirrorOptions& options);

  /// Takes over the addresses of `route`'s mirrors after a name was resolved again.
  void update(const Route& route);
  /// Attaches a stream of each mirror of `route` to `pump` if the connection is in the sample.
  /// `connection` is its number; `hash` decides about the sample.
  void attach(const Route& route, std::uint64_t connection, std::uint64_t hash, Pump& pump);
  /// Resets all streams.
  void stop();
  [[nodiscard]] bool empty() const { return mirrors_.empty(); }

  /// Gives a connection's id for log lines.
  std::function<std::string(std::uint64_t connection)> id_of = [](std::uint64_t connection) {
    return std::to_string(connection);
  };
  /// Called if all addresses of a mirror have failed: they may be outdated.
  std::function<void(const std::string& address)> on_failed = [](const std::string&) {};
  /// Called when a stream begins, and when one has ended (from the reactor's turn).
  std::function<void()> on_began = [] {};
  std::function<void()> on_gone = [] {};

  /// Any thread.
  [[nodiscard]] std::uint64_t count(mirror::Count what) const;
  /// Calls `visit` with the address and the Mirror of each, in the order in which routes name them.
  /// Any thread.
  template <class Visit>
  void for_each(const Visit& visit) const {
    for (const auto& entry : mirrors_) visit(entry->address, std::as_const(*entry->mirror));
  }

 private:
  struct Entry {
    std::string address;
    std::unique_ptr<mirror::Mirror> mirror;
    Repeated lagged;
    Repeated ended;
  };
  [[nodiscard]] Entry* find(std::string_view address);
  void add(const MirrorTarget& target, const mirror::Mirror::Options& options);
  void log_event(Entry& entry, mirror::Event event, const mirror::Detail& detail);
  void log_stream(const Entry& entry, Repeated& trouble, std::string_view state,
                  std::uint64_t connection, std::string_view reason);

  Reactor& reactor_;
  std::size_t worker_;
  std::vector<std::unique_ptr<Entry>> mirrors_;
};

/// The sums over all workers, as fields of the statistics line. Any thread.
[[nodiscard]] std::vector<log::Field> mirror_sums(const std::vector<const WorkerMirrors*>& workers);

}  // namespace sluice
