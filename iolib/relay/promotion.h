#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "iolib/base/clock.h"
#include "iolib/reactor/reactor.h"

namespace sluice {

/// Recommends how a direction moves its bytes, from what its turns have moved: it copies messages,
/// splices a stream, and lets a heavy stream wait for more bytes at a time.
///
/// The direction decides whether to follow. `thread_turns` is the count of all spliced turns on its
/// thread, the current one included. Used by one thread.
class Promotion {
 public:
  /// A direction is spliced after this many receives that filled a whole shared buffer and left
  /// more behind: it carries a stream or large messages. Between two of them, one receive may be
  /// short: the rest of a long message. Copying is cheaper for messages that fit in one receive.
  static constexpr int kPromoteAfter = 3;
  /// A spliced turn is small if one receive could have moved its bytes.
  static constexpr std::size_t kSmallTurnBytes = Reactor::kReceiveBytes;
  /// After this many small turns in a row, the direction copies again.
  static constexpr int kDemoteAfter = 8;
  /// A spliced turn that moved at least kLargeTurnBytes is large. After kHeavyAfter large turns, a
  /// stream is heavy. It then waits for more bytes at a time: its socket becomes readable at
  /// kLowWaterBytes. Fewer, larger turns move one stream at three times the rate
  /// (tests/perf/HISTORY.md).
  static constexpr std::size_t kLargeTurnBytes = 128 << 10;
  static constexpr int kHeavyAfter = 16;
  static constexpr int kLowWaterBytes = 256 << 10;
  /// Fewer bytes than kLowWaterBytes wait at most this long. At rates where waiting pays, the
  /// socket reaches kLowWaterBytes in a third of this time.
  static constexpr Duration kPatience = std::chrono::microseconds(300);
  /// Streams wait for more bytes only on a thread with at most this many streams. A thread with
  /// more finds enough bytes at every turn, and a stream that waits would get more than its share.
  static constexpr std::uint32_t kFewStreams = 2;

  /// What a spliced turn showed.
  enum class Finding : std::uint8_t { nothing, small, heavy };

  [[nodiscard]] bool streaming() const { return mode_ != Mode::copied; }
  /// Whether the stream has proved heavy, and has not been demoted since.
  [[nodiscard]] bool heavy() const { return mode_ == Mode::heavy || patient(); }
  /// Whether the stream waits for kLowWaterBytes.
  [[nodiscard]] bool patient() const { return mode_ == Mode::patient; }

  /// Records a receive: whether it filled its buffer, and whether it left more behind. True if it
  /// is time to promote().
  [[nodiscard]] bool received(bool full, bool left_more);
  void promote(std::uint32_t thread_turns);
  /// Records a turn that spliced `bytes`.
  [[nodiscard]] Finding spliced(std::size_t bytes, std::uint32_t thread_turns);
  void demote();
  /// Records that the stream was silent for kPatience.
  void lose_patience(std::uint32_t thread_turns);
  /// Restarts the comparison of its turns with those of its thread.
  void begin_window(std::uint32_t thread_turns);
  /// Whether the stream has proved heavy since the last call, for the first time or again.
  [[nodiscard]] bool take_proof() { return std::exchange(proven_, false); }

 private:
  enum class Mode : std::uint8_t { copied, spliced, heavy, patient };
  [[nodiscard]] bool crowded(std::uint32_t thread_turns) const;

  std::uint32_t window_began_ = 0;  ///< the thread's count of turns then
  std::uint32_t own_turns_ = 0;     ///< since then
  std::uint8_t large_turns_ = 0;    ///< since then
  Mode mode_ = Mode::copied;
  std::uint8_t against_ = 0;  ///< receives or turns in favour of changing the mode
  bool rest_is_due_ = false;  ///< the last receive left bytes behind
  bool proven_ = false;
};

}  // namespace sluice
