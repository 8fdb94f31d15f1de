#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/mirror/mirror.h"
#include "iolib/mirror/shedding.h"
#include "iolib/reactor/deferral.h"
#include "iolib/reactor/reactor.h"
#include "iolib/relay/pump.h"
#include "proxy/log/log.h"
#include "proxy/log/repeated.h"
#include "proxy/upstream/route.h"

namespace sluice {

/// The state that all workers share about each mirror, by its address. Any thread.
class MirrorShedding {
 public:
  /// That of the mirror with this address, for as long as somebody holds it.
  [[nodiscard]] std::shared_ptr<mirror::Shedding> of(const std::string& address);

 private:
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<mirror::Shedding>> states_;  ///< under mutex_
};

/// The options of one worker's mirrors.
struct MirrorOptions {
  std::size_t worker = 0;              ///< the worker's index, for log lines
  std::uint64_t buffers_bytes = 0;     ///< memory for the backlogs of all mirrors of this worker
  std::uint64_t descriptors = 0;       ///< the most sockets that its mirrors may have open together
  MirrorShedding* shedding = nullptr;  ///< borrowed
};

/// The mirrors of one worker, one for each address, even if several routes name it. Belongs to the
/// thread of its reactor.
class WorkerMirrors : private Deferral {
 public:
  WorkerMirrors(Reactor& reactor, const std::vector<Route>& routes, const MirrorOptions& options);

  /// There are mirrors of these routes from now on. Any other goes once its last stream has ended.
  void set_routes(const std::vector<Route>& routes);
  /// Takes over the addresses of `route`'s mirrors after a name was resolved again.
  void update(const Route& route);
  /// Attaches a stream of each mirror of `route` that there is to `pump` if the connection is in
  /// the sample.
  /// `connection` is its number; `hash` decides about the sample.
  void attach(const Route& route, std::uint64_t connection, std::uint64_t hash, Pump& pump);
  /// Resets all streams.
  void stop();

  /// Gives a connection's id for log lines.
  std::function<std::string(std::uint64_t connection)> id_of = [](std::uint64_t connection) {
    return std::to_string(connection);
  };
  /// Called if all addresses of a mirror have failed: they may be outdated.
  std::function<void(const std::string& address)> on_failed = [](const std::string&) {};
  /// Called when a stream begins, and when one has ended (from the reactor's turn).
  std::function<void()> on_began = [] {};
  std::function<void()> on_gone = [] {};

  // Any thread.

  /// Whether anything is or was mirrored.
  [[nodiscard]] bool is_used() const;
  /// What all mirrors have counted, also those that are gone.
  [[nodiscard]] std::uint64_t count(mirror::Count what) const;
  /// Calls `visit` with the address and the Mirror of each, in the order in which routes name them,
  /// and then those that are about to go.
  template <class Visit>
  void for_each(const Visit& visit) const {
    const std::lock_guard lock(mutex_);
    for (const auto& entry : mirrors_) visit(entry->address, std::as_const(*entry->mirror));
  }

 private:
  struct Entry {
    std::string address;
    bool is_named = true;  ///< by a route
    std::shared_ptr<mirror::Shedding> shedding;
    std::unique_ptr<mirror::Mirror> mirror;
    Repeated lagged;
    Repeated ended;
  };
  // Deferral: drops those that can go, outside of what their streams call.
  void deferred() override { drop_unnamed(); }
  [[nodiscard]] Entry* find(std::string_view address);
  [[nodiscard]] std::unique_ptr<Entry> make(const MirrorTarget& target);
  void share_limits();
  void drop_unnamed();
  void log_event(Entry& entry, mirror::Event event, const mirror::Detail& detail);
  void log_stream(const Entry& entry, Repeated& trouble, std::string_view state,
                  std::uint64_t connection, std::string_view reason);

  Reactor& reactor_;
  const MirrorOptions options_;
  const std::uint32_t seed_;
  /// Guards the rest against other threads; only the worker's changes it, and reads it unguarded.
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Entry>> mirrors_;
  std::array<std::uint64_t, mirror::kCounts> gone_{};  ///< the sums of those that are gone
  bool is_used_ = false;
};

/// The sums over all workers, as fields of the statistics line. Any thread.
[[nodiscard]] std::vector<log::Field> mirror_sums(const std::vector<const WorkerMirrors*>& workers);

}  // namespace sluice
