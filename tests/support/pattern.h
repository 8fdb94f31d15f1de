#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace sluice::test {

/// An endless byte stream. Any part of it can be made or checked without the rest: a byte depends
/// on the seed and its offset alone. Lost, repeated, swapped and foreign bytes are all found, with
/// the offset at which they begin.
class Pattern {
 public:
  explicit Pattern(std::uint64_t seed) : seed_(seed) {}

  void fill(std::uint64_t offset, std::span<std::byte> bytes) const;
  /// The offset in the stream of the first byte that is not the pattern's.
  [[nodiscard]] std::optional<std::uint64_t> first_mismatch(std::uint64_t offset,
                                                            std::span<const std::byte> bytes) const;

 private:
  std::uint64_t seed_;
};

/// Follows a stream from its start and keeps the first mismatch.
class PatternChecker {
 public:
  explicit PatternChecker(Pattern pattern) : pattern_(pattern) {}

  void take(std::span<const std::byte> bytes);
  [[nodiscard]] std::uint64_t received_bytes() const { return received_bytes_; }
  [[nodiscard]] std::optional<std::uint64_t> mismatch() const { return mismatch_; }

 private:
  Pattern pattern_;
  std::uint64_t received_bytes_ = 0;
  std::optional<std::uint64_t> mismatch_;
};

/// Writes the first `size_bytes` of the pattern to a new file.
void write_pattern_file(const std::string& path, Pattern pattern, std::uint64_t size_bytes);

/// Empty if the file from `skip_bytes` on is exactly the first `size_bytes` of the pattern, else
/// what is wrong with it.
[[nodiscard]] std::string compare_pattern_file(const std::string& path, Pattern pattern,
                                               std::uint64_t size_bytes,
                                               std::uint64_t skip_bytes = 0);

}  // namespace sluice::test
