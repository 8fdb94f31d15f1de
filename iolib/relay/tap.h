#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "iolib/pipe/pipe.h"

namespace sluice {

/// What became of one direction's bytes.
struct StreamTotals {
  std::uint64_t received = 0;   ///< taken from the source
  std::uint64_t forwarded = 0;  ///< handed to the target's socket
  std::uint64_t acknowledged =
      0;  ///< of those, acknowledged by the target's TCP (or handed over, elsewhere)
};

/// One who sees every byte of a direction exactly once, in order, whether it is copied or spliced.
///
/// Called on the pump's thread, within the pump's turns; attached and detached at any turn, also
/// from within its own calls. While it is attached, its relay stays on its thread. A tap sees the
/// bytes received after it was attached. Bytes that the
/// program itself adds to a stream pass no tap.
class Tap {
 public:
  static constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

  virtual ~Tap() = default;

  /// Before a turn: how many bytes the tap can take. 0 makes the direction wait until Pump::wake();
  /// a tap that would rather lose bytes than slow the stream says more, and drops what it must.
  [[nodiscard]] virtual std::size_t allowance() = 0;

  /// Whether what allowance() just said holds until the bytes come, however long that is. If not,
  /// the direction waits until there is something to receive, and then asks again: which costs a
  /// little more, and promises nothing to silent connections.
  [[nodiscard]] virtual bool allowance_stands() { return true; }

  /// The next bytes of the stream, the first of which is number `offset`. `bytes` is valid during
  /// the call only.
  virtual void append(std::uint64_t offset, std::span<const std::byte> bytes) = 0;

  /// The same bytes by reference: all that `pipe` holds. They must be gone from it on return.
  virtual void append(std::uint64_t offset, Pipe& pipe) = 0;

  /// `bytes` from `offset` on went by, but could not be duplicated for this tap.
  virtual void overrun(std::uint64_t offset, std::uint64_t bytes) = 0;

  /// Bytes from this offset on must not be forwarded yet; after it rises, call Pump::wake().
  [[nodiscard]] virtual std::uint64_t watermark() const { return kNoLimit; }

  /// True for a tap that must see the very bytes that are forwarded, even if a sender on this host
  /// alters pages that it has given away (a tee shares them). The direction then copies: one
  /// private copy is both shown to the taps and forwarded.
  [[nodiscard]] virtual bool exact() const { return false; }

  /// True for a tap that is shown what is received by copy after it was forwarded, as far as the
  /// target took it, so that nothing it does is in the way. Such a tap has no watermark.
  [[nodiscard]] virtual bool after_forwarding() const { return false; }

  /// Whether the end of the stream, after `offset` bytes, may be passed on now. If not, the
  /// direction asks again at Pump::wake().
  [[nodiscard]] virtual bool may_end(std::uint64_t /*offset*/) { return true; }

  /// The stream ended in order after `offset` bytes.
  virtual void eof(std::uint64_t /*offset*/) {}
  /// The stream was cut after `offset` bytes.
  virtual void reset(std::uint64_t /*offset*/) {}
  /// Nothing more will come.
  virtual void closed(const StreamTotals& /*totals*/) {}
};

}  // namespace sluice
