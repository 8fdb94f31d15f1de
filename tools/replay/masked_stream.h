#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "tools/replay/patterns.h"

namespace sluice::replay {

/// A stream in which each match of the patterns is replaced by a mask, which has one byte. The
/// results are consumed from the front.
class MaskedStream {
 public:
  /// A match of up to this length is masked as a whole; a longer one can be masked in parts.
  static constexpr std::size_t kWindowBytes = 64 << 10;
  static constexpr char kMask = '*';  ///< as reports show it
  struct Mask {
    std::uint64_t offset = 0;  ///< in the masked stream
    std::uint64_t bytes = 0;   ///< length of the match
  };

  /// Borrows `patterns`, which is not empty.
  explicit MaskedStream(const Patterns& patterns) : patterns_(patterns) {}

  /// Takes the next bytes. Keeps up to two windows of them.
  void take(std::string_view bytes);
  /// No bytes follow.
  void finish();

  /// The result so far that was not consumed. A mask's byte is kMask.
  [[nodiscard]] std::string_view ready() const { return ready_; }
  /// The masks in it, and perhaps behind.
  [[nodiscard]] const std::deque<Mask>& masks() const { return masks_; }
  /// The offset of ready(), in the masked stream and in the original one.
  [[nodiscard]] std::uint64_t offset() const { return offset_; }
  [[nodiscard]] std::uint64_t original_offset() const { return offset_ + hidden_bytes_; }
  /// The length of the masked stream so far.
  [[nodiscard]] std::uint64_t produced() const { return offset_ + ready_.size(); }
  void consume(std::size_t bytes);

 private:
  void mask(std::size_t certain_bytes);

  const Patterns& patterns_;
  std::string pending_;   // one byte that was masked, as context, and then what was not
  std::size_t next_ = 0;  // index in it of what was not masked yet
  std::string ready_;
  std::deque<Mask> masks_;
  std::uint64_t offset_ = 0;
  std::uint64_t hidden_bytes_ = 0;  // bytes that masks before offset_ stand for, beyond their own
};

}  // namespace sluice::replay
