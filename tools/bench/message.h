#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tools/bench/content.h"
#include "tools/bench/engine.h"
#include "tools/bench/exchanger.h"

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

/// The position in the content at which a connection's message number `trip` begins.
[[nodiscard]] std::uint64_t message_position(std::uint64_t connection, std::uint64_t trip);
/// Compares `bytes`, which came back at offset `done` of that message. Throws Failure if one is
/// wrong.
void check_message(std::uint64_t connection, std::uint64_t trip, std::size_t done,
                   std::span<const char> bytes);

/// The load's end of a ping-pong. Sends a message, compares the answer, and sends the next message
/// at once (closed loop) or when it is due (open loop). In an open loop, an exchange that becomes
/// due during the previous one begins late, but its latency counts from when it was due. A path
/// that stalls therefore cannot hide the stall by slowing down the sender (no coordinated
/// omission).
class Ping final : public Connection {
 public:
  /// `results` must outlive the connection.
  Ping(OwnedFd fd, ExchangeResults& results, const Pace& pace, std::uint64_t number,
       std::size_t size_bytes);

 private:
  bool start() override;
  bool on_ready(std::uint32_t events) override;
  bool on_alarm(std::uint64_t now) override;
  bool on_stop() override;

  void begin(std::uint64_t due);
  void next(std::uint64_t now);
  void send();
  [[nodiscard]] bool receive();

  ExchangeResults& results_;
  Pace pace_;
  const Content& content_ = Content::instance();
  std::uint64_t number_;
  std::size_t size_bytes_;
  std::uint64_t trips_ = 0;
  std::uint64_t due_ = 0;  ///< when the current exchange was due, or the next one is
  std::size_t done_ = 0;
  bool sending_ = false;
  bool under_way_ = false;
  bool ending_ = false;
};

}  // namespace sluice::bench
