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
  bulk,  ///< stream bytes, one way or both
  ping,  ///< exchange messages, one at a time on each connection
  call,  ///< connect, one byte there and back, close, again and again
  idle,  ///< have exchanged a byte and rest
};
enum class Direction : std::uint8_t { up, down, both };
/// How the ends move a stream's bytes: by sendfile and MSG_TRUNC, which copy nothing, or by plain
/// send and recv.
enum class Ends : std::uint8_t { zero_copy, plain };

/// Connections that all do the same.
struct Part {
  Kind kind = Kind::bulk;
  std::string name = {};  ///< prefix of its figures where a workload has several parts
  std::size_t connections = 1;
  Direction direction = Direction::up;
  Ends ends = Ends::zero_copy;
  std::size_t size_bytes = 1;  ///< of a message
  double rate = 0;  ///< open loop: exchanges or calls a second, all connections together; 0: closed
  std::uint64_t read_rate_bytes =
      0;  ///< each reader reads no faster than this a second; 0: it does
  friend bool operator==(const Part&, const Part&) = default;
};

/// What is run at the same time.
struct Workload {
  std::string name;
  std::vector<Part> parts;
  /// One sentence for a reader.
  [[nodiscard]] std::string description() const;
  /// "closed loop", "open loop", or "" where nothing is exchanged.
  [[nodiscard]] std::string loop() const;
};

/// What a workload's name may leave open.
struct WorkloadDefaults {
  std::size_t connections = 1;
  std::size_t size_bytes = 1;
};

/// One of the names below, with numbers of one's own:
///
///     bulk[N][up|down|both][-plain]   N streams: bulk8, bulk1both-plain
///     rr[N][xSIZE][@RATE]             N connections ping-pong: rr32, rr8x16KiB, rr32@20000
///     crr[N][@RATE]                   N at a time connect and close: crr4
///     idle[N]                         N idle connections: idle3000
///     elephantsNmiceM                 N streams beside M ping-pongs: elephants4mice32
///     slow[N]                         N slow readers beside a fast one: slow8
///     mix                             all at once
///
/// The workload's own name has the numbers in it that were left open.
[[nodiscard]] Result<Workload> parse_workload(std::string_view name,
                                              const WorkloadDefaults& defaults = {});

/// Bounds of what a name may ask for.
inline constexpr std::size_t kMaxConnections = 20'000;
inline constexpr std::size_t kMaxRunConnections = 4 * kMaxConnections;  ///< of all its parts
inline constexpr std::size_t kMaxThreads = 64;  ///< a call's connection has a thread of its own
inline constexpr std::size_t kMaxMessageBytes = 16 << 20;
/// Of all messages that may be under way at once: the serving end holds each until it is whole.
inline constexpr std::uint64_t kMaxRunMessageBytes = std::uint64_t{1} << 30;

/// Of each reader of `slowN`.
inline constexpr std::uint64_t kSlowReadRateBytes = 1 << 20;

}  // namespace sluice::bench
