#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "iolib/base/large_pages.h"

namespace sluice::balance {

/// An IPv6 address as a number.
struct Wide {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  friend constexpr bool operator==(const Wide&, const Wide&) = default;
  friend constexpr bool operator<(const Wide& a, const Wide& b) {
    return a.high != b.high ? a.high < b.high : a.low < b.low;
  }
};

/// Numbers in their order, of which a look-up compares a few dozen neighbours.
template <class Number>
class SortedNumbers {
 public:
  [[nodiscard]] std::size_t size() const { return numbers_.size(); }
  [[nodiscard]] std::size_t size_bytes() const { return numbers_.capacity() * sizeof(Number); }
  [[nodiscard]] Number at(std::size_t place) const { return numbers_[place]; }
  void reserve(std::size_t size) { numbers_.reserve(size); }
  /// A number that is not below the last one.
  void push_back(Number number) { numbers_.push_back(number); }
  void pop_back() { numbers_.pop_back(); }
  void shrink_to_fit() { numbers_.shrink_to_fit(); }
  /// How many of the `count` numbers from `from` on are not above `address`. Comparisons that do
  /// not depend on each other are faster than a search by halves.
  [[nodiscard]] std::size_t not_above(std::size_t from, std::size_t count, Number address) const {
    const Number* const numbers = numbers_.data() + from;
    for (std::size_t i = 0; i < count; i += kInLine) __builtin_prefetch(numbers + i);
    std::size_t found = 0;
    for (std::size_t i = 0; i < count; ++i) found += address < numbers[i] ? 0 : 1;
    return found;
  }
  friend bool operator==(const SortedNumbers&, const SortedNumbers&) = default;

 private:
  static constexpr std::size_t kInLine = 64 / sizeof(Number);

  std::vector<Number, LargePages<Number>> numbers_;
};

/// The upper and the lower halves stand apart. A look-up reads the lower ones only where the upper
/// ones are the same; of blocks that are no longer than a /64 there are none.
template <>
class SortedNumbers<Wide> {
 public:
  [[nodiscard]] std::size_t size() const { return highs_.size(); }
  [[nodiscard]] std::size_t size_bytes() const { return highs_.size_bytes() + lows_.size_bytes(); }
  [[nodiscard]] Wide at(std::size_t place) const {
    return {highs_.at(place), lows_.size() == 0 ? 0 : lows_.at(place)};
  }
  void reserve(std::size_t size) { highs_.reserve(size); }
  void push_back(Wide number) {
    while (number.low != 0 && lows_.size() < highs_.size()) lows_.push_back(0);
    highs_.push_back(number.high);
    if (number.low != 0 || lows_.size() > 0) lows_.push_back(number.low);
  }
  void pop_back() {
    highs_.pop_back();
    if (lows_.size() > 0) lows_.pop_back();
  }
  void shrink_to_fit() {
    std::size_t zeros = 0;
    while (zeros < lows_.size() && lows_.at(zeros) == 0) ++zeros;
    if (zeros == lows_.size()) lows_ = {};
    highs_.shrink_to_fit();
    lows_.shrink_to_fit();
  }
  [[nodiscard]] std::size_t not_above(std::size_t from, std::size_t count, Wide address) const {
    const std::size_t found = highs_.not_above(from, count, address.high);
    if (lows_.size() == 0 || found == 0 || highs_.at(from + found - 1) != address.high) {
      return found;
    }
    std::size_t same = found - 1;
    while (same > 0 && highs_.at(from + same - 1) == address.high) --same;
    return same + lows_.not_above(from + same, found - same, address.low);
  }
  friend bool operator==(const SortedNumbers&, const SortedNumbers&) = default;

 private:
  SortedNumbers<std::uint64_t> highs_;
  SortedNumbers<std::uint64_t> lows_;  ///< empty if all are 0; otherwise as many
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
    if (firsts_.size() > 0 && firsts_.at(firsts_.size() - 1) == from) firsts_.pop_back();
    if (last_side() != side) firsts_.push_back(from);
  }
  /// To be called after the last set(), before the first side().
  void finish() {
    firsts_.shrink_to_fit();
    levels_.clear();
    for (std::size_t size = firsts_.size(); size > kFanOut;) {
      const SortedNumbers<Number>& below = levels_.empty() ? firsts_ : levels_.back();
      SortedNumbers<Number> level;
      level.reserve(size / kFanOut + 1);
      for (std::size_t i = 0; i < size; i += kFanOut) level.push_back(below.at(i));
      level.shrink_to_fit();
      size = level.size();
      levels_.push_back(std::move(level));
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
    std::size_t bytes = firsts_.size_bytes();
    for (const auto& level : levels_) bytes += level.size_bytes();
    return bytes;
  }
  friend bool operator==(const SortedRanges&, const SortedRanges&) = default;

 private:
  static constexpr std::size_t kFanOut = 32;

  [[nodiscard]] bool last_side() const { return first_side_ != (firsts_.size() % 2 != 0); }
  // How many numbers of the level are not above `address`, if the first beyond it is among the
  // kFanOut from `node` on, or just behind them.
  static std::size_t not_above(const SortedNumbers<Number>& level, std::size_t node,
                               Number address) {
    return node + level.not_above(node, std::min(kFanOut, level.size() - node), address);
  }

  bool first_side_;
  SortedNumbers<Number> firsts_;
  std::vector<SortedNumbers<Number>> levels_;  ///< the lowest first
};

}  // namespace sluice::balance
