#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sluice::balance {

/// An IPv6 address as a number.
struct Wide {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  friend constexpr bool operator==(const Wide&, const Wide&) = default;
  // Without a branch: it would be mispredicted every other time.
  friend constexpr bool operator<(const Wide& a, const Wide& b) {
    __extension__ using Whole = unsigned __int128;
    return (Whole{a.high} << 64 | a.low) < (Whole{b.high} << 64 | b.low);
  }
};

/// The addresses of one family as sorted, disjoint ranges that are in turn on one side and on the
/// other. So a range is its first address, and its side follows from its number.
///
/// A look-up descends through samples: every 32nd number, of these every 32nd, and so on. Each step
/// stays within a few neighbouring cache lines, which are fetched together.
template <class Number>
class SortedRanges {
 public:
  /// Addresses before the first range are on `side`.
  explicit SortedRanges(bool side = false) : first_side_(side) {}

  /// The addresses from `from` on, up to the next call, are on `side`. `from` must not be below
  /// that of the last call; at the same one, the later call counts.
  void set(Number from, bool side) {
    if (!firsts_.empty() && firsts_.back() == from) firsts_.pop_back();
    if (last_side() != side) firsts_.push_back(from);
  }
  /// To be called after the last set(), before the first side().
  void finish() {
    firsts_.shrink_to_fit();
    levels_.clear();
    std::span<const Number> below = firsts_;
    while (below.size() > kFanOut) {
      std::vector<Number> level;
      level.reserve(below.size() / kFanOut + 1);
      for (std::size_t i = 0; i < below.size(); i += kFanOut) level.push_back(below[i]);
      levels_.push_back(std::move(level));
      below = levels_.back();
    }
  }
  [[nodiscard]] bool side(Number address) const {
    std::size_t node = 0;  // the next level's numbers to look at begin at this one
    for (auto level = levels_.rbegin(); level != levels_.rend(); ++level) {
      const std::size_t before = not_above(*level, node, address);
      if (before == 0) return first_side_;
      node = (before - 1) * kFanOut;
    }
    return first_side_ != (not_above(firsts_, node, address) % 2 != 0);
  }
  [[nodiscard]] std::size_t size_bytes() const {
    std::size_t bytes = firsts_.capacity() * sizeof(Number);
    for (const auto& level : levels_) bytes += level.capacity() * sizeof(Number);
    return bytes;
  }
  friend bool operator==(const SortedRanges&, const SortedRanges&) = default;

 private:
  static constexpr std::size_t kFanOut = 32;
  static constexpr std::size_t kLineBytes = 64;

  [[nodiscard]] bool last_side() const { return first_side_ != (firsts_.size() % 2 != 0); }
  // How many numbers of the level are not above `address`, if the first beyond it is among the
  // kFanOut from `node` on, or just behind them. Comparisons that do not depend on each other are
  // faster than a search by halves. Of large numbers only one in a cache line is looked at first.
  static std::size_t not_above(const std::vector<Number>& level, std::size_t node, Number address) {
    constexpr std::size_t kInLine = kLineBytes / sizeof(Number);
    constexpr std::size_t kStep = sizeof(Number) > sizeof(std::uint64_t) ? kInLine : 1;
    const Number* const numbers = level.data() + node;
    const std::size_t count = std::min(kFanOut, level.size() - node);
    for (std::size_t i = 0; i < count; i += kInLine) __builtin_prefetch(numbers + i);
    const auto not_above_of = [&](std::size_t from, std::size_t to, std::size_t step) {
      std::size_t found = 0;
      for (std::size_t i = from; i < to; i += step) found += address < numbers[i] ? 0 : 1;
      return found;
    };
    const std::size_t steps = not_above_of(0, count, kStep);
    if (kStep == 1 || steps == 0) return node + steps;
    const std::size_t from = (steps - 1) * kStep + 1;
    return node + from + not_above_of(from, std::min(from + kStep - 1, count), 1);
  }

  bool first_side_;
  std::vector<Number> firsts_;
  std::vector<std::vector<Number>> levels_;  ///< the lowest first
};

}  // namespace sluice::balance
