#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/mirror/mirror.h"
#include "iolib/reactor/reactor.h"
#include "iolib/relay/pump.h"
#include "proxy/log/log.h"
#include "proxy/log/repeated.h"
#include "proxy/upstream/route.h"

namespace sluice {

/// By a mirror's address: what its workers share.
using MirrorShedding = std::map<std::string, mirror::Shedding, std::less<>>;

/// How one worker mirrors.
struct MirrorOptions {
  std::size_t worker = 0;              ///< its index, for the log
  std::uint64_t buffers_bytes = 0;     ///< of this worker, for all mirrors together
  std::uint64_t descriptors = 0;       ///< that its mirrors may have open together
  MirrorShedding* shedding = nullptr;  ///< has each address
};

/// One worker's mirrors: each address once, whatever routes name it. Belongs to its reactor's
/// thread.
class WorkerMirrors {
 public:
  WorkerMirrors(Reactor& reactor, const std::vector<Route>& routes, const MirrorOptions& options);

  /// The addresses of a name that was looked up again.
  void update(const Route& route);
  /// Mirrors what passes `pump`, of the connection of this route with this number and sample hash,
  /// if it is among those to be mirrored.
  void attach(const Route& route, std::uint64_t connection, std::uint64_t hash, Pump& pump);
  /// Ends what is mirrored with resets.
  void stop();
  [[nodiscard]] bool empty() const { return mirrors_.empty(); }

  /// A connection's id, for the log.
  std::function<std::string(std::uint64_t connection)> id_of = [](std::uint64_t connection) {
    return std::to_string(connection);
  };
  /// A mirror's addresses all failed: they may be outdated.
  std::function<void(const std::string& address)> on_failed = [](const std::string&) {};
  /// A stream begins; and one has ended, from the reactor's turn.
  std::function<void()> on_began = [] {};
  std::function<void()> on_gone = [] {};

  /// Any thread.
  [[nodiscard]] std::uint64_t count(mirror::Count what) const;

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

/// The sums of all workers, as fields of the statistics.
[[nodiscard]] std::vector<log::Field> mirror_sums(const std::vector<const WorkerMirrors*>& workers);

}  // namespace sluice
