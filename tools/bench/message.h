#pragma once

#include <cstdint>
#include <vector>

#include "tools/bench/content.h"
#include "tools/bench/engine.h"
#include "tools/common/histogram.h"

namespace sluice::bench {

/// Answers every message, once it is complete, with itself, until its peer has closed.
class Echo final : public Connection {
 public:
  Echo(OwnedFd fd, std::size_t size_bytes);

 private:
  bool on_ready(std::uint32_t events) override;
  bool on_stop() override { return true; }  // the client ends it
  [[nodiscard]] bool receive();
  void send();

  std::size_t size_bytes_;
  std::vector<char> message_;  ///< from the first byte on: a Hello alone costs nothing
  std::size_t done_ = 0;
  bool sending_ = false;
};

/// What the pings of one loop have seen.
struct PingResults {
  /// Of the exchanges completed in the measured time, and of those that were under way at its end,
  /// once they completed. Open loop: of those that were due and had not even begun, too, what they
  /// had waited by then, which is the least that they would have taken.
  Histogram latency;
  std::uint64_t completed = 0;  ///< in the measured time
  std::uint64_t unsent = 0;     ///< due in it, and not begun at its end
};

/// Sends a message, compares the answer, and sends the next: at once (closed loop), or when it is
/// due (open loop). There, an exchange that is due while the last one is still under way begins
/// late, and its latency counts from when it was due: a path that stalls cannot hide that by
/// slowing the sender (no coordinated omission).
class Ping final : public Connection {
 public:
  /// `interval_ns` between the times at which exchanges are due, the first `offset_ns` after the
  /// start; 0: closed loop.
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
  std::uint64_t position_ = 0;  ///< of the message in the content
  std::uint64_t due_ = 0;       ///< when the exchange under way was, or the next one is, to begin
  std::size_t done_ = 0;
  bool sending_ = false;
  bool under_way_ = false;
  bool ending_ = false;
};

}  // namespace sluice::bench
