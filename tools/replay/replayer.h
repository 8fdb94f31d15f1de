#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "iolib/reactor/calling.h"
#include "iolib/reactor/reactor.h"
#include "tools/replay/connection.h"
#include "tools/replay/progress.h"

namespace sluice::replay {

/// The repetitions, the speed and the concurrency of a replay.
struct Pace {
  double speed = 1;                                 ///< a factor; 0: as fast as possible
  std::optional<std::chrono::nanoseconds> max_gap;  ///< the longest wait while nothing is due
  std::size_t most_connections = 0;
  std::uint64_t repeat = 1;
};

/// Replays a plan on one thread. Begins each connection when it is due, and limits the number of
/// open ones.
class Replayer final : public Connection::Owner {
 public:
  /// The arguments must outlive the replayer.
  Replayer(Reactor& reactor, Plan& plan, const Settings& settings, const Pace& pace, Tally& tally)
      : files_(plan.segments), pace_(pace), stage_{reactor,  plan,  files_,
                                                   settings, tally, address_} {}

  /// Runs the reactor until all connections have ended. A signal ends them early.
  void run();

 private:
  void begin_pass();
  void open_due();
  [[nodiscard]] bool comes_later(const PlannedConnection& planned) const;
  void sweep();
  void tick();
  void stop();
  void client_ended(Connection& connection) override;
  void ended(Connection& connection) override;
  void release_client(const Connection& connection);

  SegmentFiles files_;
  const Pace pace_;
  std::size_t address_ = 0;
  const Stage stage_;
  std::optional<Schedule> schedule_;
  std::uint64_t next_ = 0;  // index of the plan's next connection
  std::uint64_t pass_ = 0;
  bool waits_ = false;  // the next one is due, but the maximum is open
  std::unordered_map<Connection*, std::unique_ptr<Connection>> live_;
  std::vector<std::unique_ptr<Connection>> over_;
  // The recorded end times of the open connections; and of their clients' sides, until these have
  // ended again.
  std::multiset<std::uint64_t> ends_;
  std::multiset<std::uint64_t> client_ends_;
  std::unordered_set<const Connection*> client_open_;
  Progress progress_;
  CallingTimer<&Replayer::open_due> opener_{*this};
  CallingDeferral<&Replayer::sweep> sweeper_{*this};
  CallingTimer<&Replayer::tick> ticker_{*this};
};

}  // namespace sluice::replay
