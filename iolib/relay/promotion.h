#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "iolib/base/clock.h"
#include "iolib/reactor/reactor.h"

namespace sluice {

/// How a direction had better move its bytes, from what its turns have moved: messages are copied,
/// a stream is spliced, and a heavy stream waits for more at a time.
///
/// Only an opinion: the direction says what it does with it. `thread_turns` is the count of all
/// spliced turns on its thread, this one included.
class Promotion {
 public:
  /// Receives that filled a whole shared buffer and left more behind before a direction is taken
  /// for a stream, or for large messages, and spliced. Between two of them there may be one that
  /// did not fill it: the rest of what did. Messages that one receive takes whole are cheaper
  /// copied.
  static constexpr int kPromoteAfter = 3;
  /// A spliced turn that one receive could have moved is small ...
  static constexpr std::size_t kSmallTurnBytes = Reactor::kReceiveBytes;
  /// ... and after so many of them in a row the direction goes back to copying.
  static constexpr int kDemoteAfter = 8;
  /// A spliced turn that moved this much is large, and after so many of them a stream is heavy. It
  /// then waits for more at a time: the socket is readable from kLowWaterBytes on. Fewer, larger
  /// turns move one stream at three times the rate (tests/perf/HISTORY.md).
  static constexpr std::size_t kLargeTurnBytes = 128 << 10;
  static constexpr int kHeavyAfter = 16;
  static constexpr int kLowWaterBytes = 256 << 10;
  /// Less than that waits no longer than this: at the rates at which it pays, the low-water mark is
  /// reached in a third of it.
  static constexpr Duration kPatience = std::chrono::microseconds(300);
  /// A thread with more streams finds much at every turn anyway, and who waits for more than the
  /// others would get more.
  static constexpr std::uint32_t kFewStreams = 2;

  /// What a spliced turn has shown.
  enum class Finding : std::uint8_t { nothing, small, heavy };

  [[nodiscard]] bool streaming() const { return mode_ != Mode::copied; }
  /// It has been moving much at a time, and has not been demoted since.
  [[nodiscard]] bool heavy() const { return mode_ == Mode::heavy || patient(); }
  /// It waits for kLowWaterBytes.
  [[nodiscard]] bool patient() const { return mode_ == Mode::patient; }

  /// A receive has filled its buffer, and has left more behind, or not. True if it is time to
  /// promote().
  [[nodiscard]] bool received(bool full, bool left_more);
  void promote(std::uint32_t thread_turns);
  /// A turn has spliced so much.
  [[nodiscard]] Finding spliced(std::size_t bytes, std::uint32_t thread_turns);
  void demote();
  /// It has been silent for kPatience.
  void lose_patience(std::uint32_t thread_turns);
  /// Compares its turns with those of this thread from now on.
  void begin_window(std::uint32_t thread_turns);
  /// Whether it has proved heavy, or proved it again, since this was asked last.
  [[nodiscard]] bool take_proof() { return std::exchange(proven_, false); }

 private:
  enum class Mode : std::uint8_t { copied, spliced, heavy, patient };
  [[nodiscard]] bool crowded(std::uint32_t thread_turns) const;

  std::uint32_t window_began_ = 0;  ///< the thread's count of turns
  std::uint32_t own_turns_ = 0;     ///< since then
  std::uint8_t large_turns_ = 0;    ///< since then
  Mode mode_ = Mode::copied;
  std::uint8_t against_ =
      0;  ///< receives or turns that speak for the other of copying and splicing
  bool rest_is_due_ = false;  ///< the last receive filled its buffer and left more behind
  bool proven_ = false;
};

}  // namespace sluice
