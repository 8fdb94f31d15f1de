#pragma once

#include <cstdint>

#include "tools/bench/engine.h"
#include "tools/bench/net.h"
#include "tools/bench/protocol.h"
#include "tools/common/histogram.h"

namespace sluice::bench {

/// Connects, exchanges a byte and closes, repeatedly, with blocking calls as an ordinary client
/// would. Runs on one thread.
class Caller {
 public:
  /// `number` identifies the caller within the run. `interval_ns` is the time between calls, as in
  /// Ping; 0: closed loop. `control` and `to` must outlive the caller.
  Caller(Control& control, const Endpoint& to, std::uint64_t run, std::uint32_t number,
         std::uint64_t interval_ns, std::uint64_t offset_ns);

  /// Runs until Phase::stop. Throws Failure and Interrupted.
  void run();

  /// The time from connect() to close(); in an open loop, from when the call was due. It covers the
  /// same calls as PingResults::latency does exchanges.
  [[nodiscard]] const Histogram& latency() const { return latency_; }
  [[nodiscard]] std::uint64_t completed() const { return completed_; }
  [[nodiscard]] std::uint64_t unsent() const { return unsent_; }

 private:
  void call();
  [[nodiscard]] bool wait_until(std::uint64_t time) const;

  Control& control_;
  const Endpoint& to_;
  Hello hello_;
  std::uint64_t interval_ns_;
  std::uint64_t offset_ns_;
  std::uint64_t calls_ = 0;
  std::uint64_t completed_ = 0;
  std::uint64_t unsent_ = 0;
  Histogram latency_;
};

}  // namespace sluice::bench
