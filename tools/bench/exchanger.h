#pragma once

#include <cstdint>

#include "tools/bench/engine.h"
#include "tools/common/histogram.h"

namespace sluice::bench {

/// When exchanges begin.
struct Pace {
  std::uint64_t interval_ns = 0;  ///< between two due times; 0: closed loop
  std::uint64_t offset_ns = 0;    ///< of the first due time, after the start
  [[nodiscard]] bool open_loop() const { return interval_ns > 0; }
};

/// The results of some exchanges or calls.
struct ExchangeResults {
  /// Latencies, in ns, of the exchanges that completed in the measured time, and of those that were
  /// in flight at its end, once they completed. In an open loop also of those that were due but had
  /// not begun: the time that they had waited at the end, which is a lower bound.
  Histogram latency;
  std::uint64_t completed = 0;  ///< exchanges in the measured time
  std::uint64_t unsent = 0;     ///< due in the measured time, but not begun at its end

  void merge(const ExchangeResults& other);
  /// Counts exchanges that were due at `due` and then each `interval_ns`, and had not begun at
  /// `stop`.
  void add_unsent(std::uint64_t due, std::uint64_t stop, std::uint64_t interval_ns);
};

/// Performs one exchange after the other with blocking calls, on one thread.
class Exchanger {
 public:
  /// `control` must outlive it.
  Exchanger(Control& control, const Pace& pace) : control_(control), pace_(pace) {}
  virtual ~Exchanger() = default;
  Exchanger(const Exchanger&) = delete;
  Exchanger& operator=(const Exchanger&) = delete;

  /// Runs until Phase::stop. Throws Failure and Interrupted.
  void run();
  [[nodiscard]] const ExchangeResults& results() const { return results_; }

 protected:
  /// The time from its beginning to its return is the latency.
  virtual void exchange() = 0;
  /// Ends the last connection in order.
  virtual void finish() {}
  [[nodiscard]] const Control& control() const { return control_; }

 private:
  [[nodiscard]] bool wait_until(std::uint64_t time) const;

  Control& control_;
  Pace pace_;
  ExchangeResults results_;
};

}  // namespace sluice::bench
