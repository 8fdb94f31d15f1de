#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/capture/format.h"
#include "iolib/mirror/mirror.h"
#include "proxy/admin/commands.h"
#include "proxy/config/config.h"
#include "proxy/serve/session_info.h"
#include "proxy/upstream/route.h"

namespace sluice::admin {

/// How far the daemon is.
enum class RunState : std::uint8_t {
  starting,   ///< not every listener accepts yet
  ready,      ///< every listener accepts
  lame_duck,  ///< likewise, but clients are asked to go elsewhere
  draining,   ///< no listener accepts; connections end
};
[[nodiscard]] constexpr std::string_view name_of(RunState state) {
  constexpr std::string_view kNames[] = {"starting", "ready", "lame_duck", "draining"};
  return kNames[static_cast<std::size_t>(state)];
}

/// What is known of the whole process once it has started.
struct Figures {
  std::string_view engine;  ///< "uring" or "epoll"
  std::uint64_t workers = 0;
  std::uint64_t connections = 0;  ///< now
  std::uint64_t connections_limit = 0;
  std::uint64_t pipe_slots = 0;
  std::uint64_t pipe_slots_limit = 0;
  std::uint64_t pipe_shortages = 0;
  std::uint64_t accept_pauses = 0;
  std::uint64_t log_lines_dropped = 0;
};

/// The routes in the order of the configuration, each with its current servers.
using Routes = std::vector<std::shared_ptr<const Route>>;

/// The last check of a server that has been checked.
struct Check {
  std::string text;  ///< "passed", or why it did not pass
  Duration age{};    ///< since it ended
};
/// By the loads of their servers.
using Checks = std::unordered_map<const ServerLoad*, Check>;

/// What all workers have counted for a capture directory.
struct CaptureFigures {
  std::string directory;
  std::uint64_t recorded_bytes = 0;
  std::uint64_t lag_bytes = 0;
  std::array<std::uint64_t, 6> dropped_bytes{};  ///< by GapReason
  std::uint64_t lost_connections = 0;
  std::uint64_t disk_failures = 0;
  std::uint64_t segments = 0;
  [[nodiscard]] std::uint64_t dropped(capture::GapReason reason) const {
    return dropped_bytes.at(static_cast<std::size_t>(reason));
  }
};

/// What all workers have counted for a mirror.
struct MirrorFigures {
  std::string address;
  std::array<std::uint64_t, mirror::kCounts> counts{};  ///< by mirror::Count
  bool breaker_open = false;                            ///< of any worker
  [[nodiscard]] std::uint64_t count(mirror::Count what) const {
    return counts.at(static_cast<std::size_t>(what));
  }
};

/// How reloads of the configuration went. Dry runs do not count.
struct Reloads {
  using Time = std::chrono::system_clock::time_point;
  struct Last {
    Time time;
    ReloadResult::Outcome outcome{};
    std::string error = {};  ///< the first; empty: none
  };
  std::optional<Last> last;  ///< nullopt: there was none
  Time succeeded{};          ///< when the file was last read and held; at first, the start

  /// Whether the running configuration is that of the file as it was last read.
  [[nodiscard]] bool last_successful() const {
    return !last || last->outcome == ReloadResult::Outcome::applied ||
           last->outcome == ReloadResult::Outcome::unchanged;
  }
};

/// A process that this one has taken over from, and that still has connections.
struct Predecessor {
  std::int64_t pid = 0;
  std::uint64_t connections = 0;  ///< as it last reported
};

/// Where the admin thread gets its data. It calls these at any time; they never wait.
class AdminSource {
 public:
  AdminSource() = default;
  virtual ~AdminSource() = default;
  AdminSource(const AdminSource&) = delete;
  AdminSource& operator=(const AdminSource&) = delete;

  [[nodiscard]] virtual RunState state() const = 0;
  /// What holds now. Never null.
  [[nodiscard]] virtual std::shared_ptr<const Config> config() const = 0;
  [[nodiscard]] virtual Reloads reloads() const = 0;
  /// From the newest on.
  [[nodiscard]] virtual std::vector<Predecessor> predecessors() const = 0;
  /// nullopt while the daemon starts.
  [[nodiscard]] virtual std::optional<Figures> figures() const = 0;
  /// Empty while the daemon starts.
  [[nodiscard]] virtual Routes routes() const = 0;
  /// In the order in which routes name them; empty while the daemon starts.
  [[nodiscard]] virtual std::vector<CaptureFigures> captures() const = 0;
  [[nodiscard]] virtual std::vector<MirrorFigures> mirrors() const = 0;
  /// Passes the last checks of all servers to `take`, at once or soon, on any thread.
  virtual void get_checks(std::function<void(Checks)> take) const = 0;

  // These ask the workers. `done` is called once, soon, on any thread.

  virtual void list_connections(SessionQuery query,
                                std::function<void(const SessionPage&)> done) const = 0;
  /// Ends the connection with this id with a reset. `done`: whether there was one.
  virtual void kill_connection(std::string id, std::function<void(bool)> done) const = 0;
};

}  // namespace sluice::admin
