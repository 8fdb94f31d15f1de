#pragma once

#include <cassert>
#include <cstdint>

namespace sluice::balance {

/// A fast generator of random numbers for choices and jitter, not for secrets. The same seed gives
/// the same numbers. Each worker has its own.
///
/// This is SplitMix64: a counter with a large odd step, whose values are mixed.
/// https://prng.di.unimi.it/splitmix64.c
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  /// 64 random bits.
  [[nodiscard]] std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15;
    std::uint64_t bits = state_;
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
    return bits ^ (bits >> 31);
  }

  /// A number in [0, bound). Each has exactly the same probability. `bound` is not 0.
  [[nodiscard]] std::uint64_t below(std::uint64_t bound) {
    assert(bound > 0);
    // The upper half of the product is the result. Each result must come from equally many draws,
    // so draws whose lower half is less than 2^64 mod `bound` are repeated.
    // https://arxiv.org/abs/1805.10941
    Product product = Product{next()} * bound;
    if (low(product) < bound) {
      const std::uint64_t surplus = (0 - bound) % bound;
      while (low(product) < surplus) product = Product{next()} * bound;
    }
    return static_cast<std::uint64_t>(product >> 64);
  }

  /// A number in [0, 1), a multiple of 2^-53.
  [[nodiscard]] double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }

 private:
  using Product = unsigned __int128;
  static std::uint64_t low(Product product) { return static_cast<std::uint64_t>(product); }

  std::uint64_t state_;
};

}  // namespace sluice::balance
