#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/base/error.h"

namespace sluice::bench {

/// What the connections of one part do.
enum class Kind : std::uint8_t {
  bulk,  ///< stream bytes in one direction or both
  ping,  ///< exchange messages, one at a time on each connection
  call,  ///< connect, exchange a byte and close, repeatedly
  idle,  ///< exchange a byte, then rest
};
enum class Direction : std::uint8_t { up, down, both };
/// How the ends move a stream's bytes: zero_copy by sendfile and MSG_TRUNC, plain by send and recv.
enum class Ends : std::uint8_t { zero_copy, plain };
/// The threads that exchange messages or calls at each end: one event loop for many connections, or
/// for each connection a thread of its own with blocking calls.
enum class Threading : std::uint8_t { loop, per_connection };

/// Connections that all do the same thing.
struct Part {
  Kind kind = Kind::bulk;
  std::string name = {};  ///< prefix of its figures if the workload has several parts
  std::size_t connections = 1;
  Direction direction = Direction::up;
  Ends ends = Ends::zero_copy;
  Threading threading = Threading::loop;
  std::size_t size_bytes = 1;  ///< of a message
  double rate = 0;  ///< exchanges or calls per second over all connections (open loop); 0: closed
  std::uint64_t read_rate_bytes = 0;  ///< per second, of each reader; 0: unlimited
  friend bool operator==(const Part&, const Part&) = default;
};

/// Parts that run at the same time.
struct Workload {
  std::string name;
  std::vector<Part> parts;
  /// A sentence that describes the workload.
  [[nodiscard]] std::string description() const;
  /// "closed loop" or "open loop"; empty if nothing is exchanged.
  [[nodiscard]] std::string loop() const;
  /// "loop" or "threads", as Threading; empty if nothing is exchanged.
  [[nodiscard]] std::string ends() const;
  friend bool operator==(const Workload&, const Workload&) = default;
};

/// Values for what a workload's name leaves open.
struct WorkloadDefaults {
  std::size_t connections = 1;
  std::size_t size_bytes = 1;
  Threading threading = Threading::loop;
};

/// Parses a workload's name, of one of these forms:
///
///     bulk[N][up|down|both][-plain]   N streams: bulk8, bulk1both-plain
///     rr[N][xSIZE][@RATE]             N connections ping-pong: rr32, rr8x16KiB, rr32@20000
///     crr[N][@RATE]                   N threads connect and close: crr4
///     idle[N]                         N idle connections: idle3000
///     elephantsNmiceM                 N streams beside M ping-pongs: elephants4mice32
///     slow[N]                         N slow readers beside a fast one: slow8
///     mix                             streams, ping-pongs, calls and idle connections
///
/// Where messages or calls are exchanged, "-threads" can follow: Threading::per_connection. The
/// returned workload's name contains what `name` leaves open.
[[nodiscard]] Result<Workload> parse_workload(std::string_view name,
                                              const WorkloadDefaults& defaults = {});

/// Bounds for the numbers in a name.
inline constexpr std::size_t kMaxConnections = 20'000;
inline constexpr std::size_t kMaxRunConnections = 4 * kMaxConnections;  ///< over all parts
inline constexpr std::size_t kMaxThreads = 64;  ///< each caller has its own thread
/// With Threading::per_connection.
inline constexpr std::size_t kMaxThreadedConnections = 1024;
inline constexpr std::size_t kMaxMessageBytes = 16 << 20;
/// Over all messages that can be in flight at once: the serving end holds each until it is
/// complete.
inline constexpr std::uint64_t kMaxRunMessageBytes = std::uint64_t{1} << 30;

/// The read rate, per second, of each reader of `slowN`.
inline constexpr std::uint64_t kSlowReadRateBytes = 1 << 20;

}  // namespace sluice::bench
