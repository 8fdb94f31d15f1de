#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

namespace sluice::replay {

/// A range of each answer's bytes that is not compared.
struct Ignored {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

/// Whether a range has the byte at `offset`. `ignored` is ordered, and its ranges do not touch.
[[nodiscard]] inline bool is_ignored(const std::vector<Ignored>& ignored, std::uint64_t offset) {
  const auto behind = std::ranges::upper_bound(ignored, offset, {}, &Ignored::offset);
  return behind != ignored.begin() && offset - std::prev(behind)->offset < std::prev(behind)->bytes;
}

/// How an answer differs from the recorded one. Offsets are the recorded one's.
struct Mismatch {
  std::optional<std::uint64_t> first;  ///< offset of the first byte that differs
  std::uint64_t last = 0;              ///< offset of the last byte that differs
  std::uint64_t bytes = 0;             ///< number of bytes that differ
  std::string then = {};               ///< recorded bytes from `first` on, at most kShownBytes
  std::string now = {};
  static constexpr std::size_t kShownBytes = 16;
};

}  // namespace sluice::replay
