#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "iolib/pipe/pipe.h"

namespace sluice {

/// The byte counts of one direction at its end.
struct StreamTotals {
  std::uint64_t received = 0;      ///< taken from the source
  std::uint64_t forwarded = 0;     ///< handed to the target's socket
  std::uint64_t acknowledged = 0;  ///< of those, acknowledged by the target's TCP (not TCP: all)
};

/// Sees every byte of a direction exactly once, in order, whether the direction copies or splices.
///
/// Called on the pump's thread, within the pump's turns. Can be attached and detached at any turn,
/// also from within its own calls. While a tap is attached, its relay stays on its thread. A tap
/// sees the bytes received after it was attached. Bytes that the program itself adds to a stream
/// pass no tap.
class Tap {
 public:
  static constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

  virtual ~Tap() = default;

  /// Asked before a turn: how many bytes the tap can take. On 0, the direction waits until
  /// Pump::wake(). A tap that prefers losing bytes to slowing the stream returns more, and drops
  /// the bytes that it cannot take.
  [[nodiscard]] virtual std::size_t allowance() = 0;

  /// Whether the last allowance() holds until bytes come, however long that takes. If not, the
  /// direction waits until there is something to receive, and then asks again. This costs slightly
  /// more, but reserves nothing for silent connections.
  [[nodiscard]] virtual bool allowance_stands() { return true; }

  /// Delivers the next bytes of the stream; the first is number `offset`. `bytes` is valid during
  /// the call only.
  virtual void append(std::uint64_t offset, std::span<const std::byte> bytes) = 0;

  /// Delivers the next bytes by reference: all bytes that `pipe` holds. The tap must have emptied
  /// the pipe when it returns.
  virtual void append(std::uint64_t offset, Pipe& pipe) = 0;

  /// Reports that `bytes` bytes from `offset` on were lost for this tap: they could not be
  /// duplicated.
  virtual void overrun(std::uint64_t offset, std::uint64_t bytes) = 0;

  /// Bytes from this offset on must not be forwarded yet. When it rises, the tap calls
  /// Pump::wake().
  [[nodiscard]] virtual std::uint64_t watermark() const { return kNoLimit; }

  /// True for a tap that must see exactly the bytes that are forwarded. A tee shares pages, and a
  /// sender on this host can alter pages that it has given away. The direction therefore copies: it
  /// shows one private copy to the taps and forwards the same copy.
  [[nodiscard]] virtual bool exact() const { return false; }

  /// True for a tap that sees copied bytes only after the target's socket was offered them, so that
  /// the tap does not delay forwarding. Such a tap has no watermark.
  [[nodiscard]] virtual bool after_forwarding() const { return false; }

  /// Whether the direction may pass on the end of the stream, after `offset` bytes, now. If not, it
  /// asks again at Pump::wake().
  [[nodiscard]] virtual bool may_end(std::uint64_t /*offset*/) { return true; }

  /// The stream ended in order after `offset` bytes.
  virtual void eof(std::uint64_t /*offset*/) {}
  /// The stream was cut after `offset` bytes.
  virtual void reset(std::uint64_t /*offset*/) {}
  /// Reports that no more bytes will come.
  virtual void closed(const StreamTotals& /*totals*/) {}
};

}  // namespace sluice
