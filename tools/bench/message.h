#pragma once

#include <cstdint>
#include <vector>

#include "tools/bench/content.h"
#include "tools/bench/engine.h"
#include "tools/common/histogram.h"

namespace sluice::bench {

/// The serving end of a ping-pong: returns every message when it is complete, until its peer
/// closes.
class Echo final : public Connection {
 public:
  Echo(OwnedFd fd, std::size_t size_bytes);

 private:
  bool on_ready(std::uint32_t events) override;
  bool on_stop() override { return true; }  // the client ends it
  [[nodiscard]] bool receive();
  void send();

  std::size_t size_bytes_;
  /// Allocated when the first byte arrives, so that an idle connection costs nothing.
  std::vector<char> message_;
  std::size_t done_ = 0;
  bool sending_ = false;
};

/// The results of one loop's pings.
struct PingResults {
  /// Latencies, in ns, of the exchanges that completed in the measured time, and of those that were
  /// in flight at its end, once they completed. In an open loop also of those that were due but had
  /// not begun: the time that they had waited at the end, which is a lower bound.
  Histogram latency;
  std::uint64_t completed = 0;  ///< exchanges in the measured time
  std::uint64_t unsent = 0;     ///< due in the measured time, but not begun at its end
};

/// The load's end of a ping-pong. Sends a message, compares the answer, and sends the next message
/// at once (closed loop) or when it is due (open loop). In an open loop, an exchange that becomes
/// due during the previous one begins late, but its latency counts from when it was due. A path
/// that stalls therefore cannot hide the stall by slowing down the sender (no coordinated
/// omission).
class Ping final : public Connection {
 public:
  /// `interval_ns`: the time between two due times, the first of which is `offset_ns` after the
  /// start; 0: closed loop. `results` must outlive the connection.
  Ping(OwnedFd fd, PingResults& results, std::uint64_t number, std::size_t size_bytes,
       std::uint64_t interval_ns, std::uint64_t offset_ns);

 private:
  bool start() override;
  bool on_ready(std::uint32_t events) override;
  bool on_alarm(std::uint64_t now) override;
  bool on_stop() override;

  [[nodiscard]] bool open_loop() const { return interval_ns_ > 0; }
  void begin(std::uint64_t due);
  void next(std::uint64_t now);
  void send();
  [[nodiscard]] bool receive();

  PingResults& results_;
  const Content& content_ = Content::instance();
  std::uint64_t number_;
  std::size_t size_bytes_;
  std::uint64_t interval_ns_;
  std::uint64_t offset_ns_;
  std::uint64_t trips_ = 0;
  std::uint64_t position_ = 0;  ///< the message's position in the content
  std::uint64_t due_ = 0;       ///< when the current exchange was due, or the next one is
  std::size_t done_ = 0;
  bool sending_ = false;
  bool under_way_ = false;
  bool ending_ = false;
};

}  // namespace sluice::bench
