#include "tests/support/pattern.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

#include "iolib/base/owned_fd.h"

namespace sluice::test {
namespace {

constexpr std::size_t kWord = sizeof(std::uint64_t);
constexpr std::size_t kFileChunkBytes = 1 << 20;

/// The finalizer of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", 2014): neighbouring indices give unrelated words.
std::uint64_t word(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15U;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

std::byte byte(std::uint64_t seed, std::uint64_t offset) {
  static_assert(std::endian::native == std::endian::little);
  return static_cast<std::byte>(word(seed, offset / kWord) >> (8 * (offset % kWord)));
}

}  // namespace

void Pattern::fill(std::uint64_t offset, std::span<std::byte> bytes) const {
  std::byte* to = bytes.data();
  std::byte* const end = to + bytes.size();
  for (; to != end && offset % kWord != 0; ++offset) *to++ = byte(seed_, offset);
  for (; end - to >= std::ptrdiff_t{kWord}; to += kWord, offset += kWord) {
    const std::uint64_t value = word(seed_, offset / kWord);
    std::memcpy(to, &value, kWord);
  }
  for (; to != end; ++offset) *to++ = byte(seed_, offset);
}

std::optional<std::uint64_t> Pattern::first_mismatch(std::uint64_t offset,
                                                     std::span<const std::byte> bytes) const {
  const std::byte* from = bytes.data();
  const std::byte* const end = from + bytes.size();
  while (from != end) {
    // Byte by byte where a word is not whole, or contains the mismatch.
    if (offset % kWord == 0 && end - from >= std::ptrdiff_t{kWord}) {
      std::uint64_t value = 0;
      std::memcpy(&value, from, kWord);
      if (value == word(seed_, offset / kWord)) {
        from += kWord;
        offset += kWord;
        continue;
      }
    }
    if (*from != byte(seed_, offset)) return offset;
    ++from;
    ++offset;
  }
  return std::nullopt;
}

void PatternChecker::take(std::span<const std::byte> bytes) {
  if (!mismatch_) mismatch_ = pattern_.first_mismatch(received_bytes_, bytes);
  received_bytes_ += bytes.size();
}

void write_pattern_file(const std::string& path, Pattern pattern, std::uint64_t size_bytes) {
  const OwnedFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  std::vector<std::byte> chunk(kFileChunkBytes);
  for (std::uint64_t offset = 0; offset < size_bytes;) {
    const auto part = std::span(chunk).first(
        static_cast<std::size_t>(std::min<std::uint64_t>(chunk.size(), size_bytes - offset)));
    pattern.fill(offset, part);
    const ssize_t written = ::write(file.get(), part.data(), part.size());
    if (written < 0) throw std::system_error(errno, std::generic_category(), "write " + path);
    offset += static_cast<std::uint64_t>(written);
  }
}

std::string compare_pattern_file(const std::string& path, Pattern pattern, std::uint64_t size_bytes,
                                 std::uint64_t skip_bytes) {
  const OwnedFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return "cannot open " + path;
  if (::lseek(file.get(), static_cast<off_t>(skip_bytes), SEEK_SET) < 0) return "cannot seek";
  PatternChecker checker(pattern);
  std::vector<std::byte> chunk(kFileChunkBytes);
  for (;;) {
    const ssize_t got = ::read(file.get(), chunk.data(), chunk.size());
    if (got < 0) return "cannot read " + path;
    if (got == 0) break;
    checker.take(std::span(chunk).first(static_cast<std::size_t>(got)));
  }
  if (checker.mismatch()) return "wrong byte at offset " + std::to_string(*checker.mismatch());
  if (checker.received_bytes() != size_bytes) {
    return std::to_string(checker.received_bytes()) + " bytes instead of " +
           std::to_string(size_bytes);
  }
  return {};
}

}  // namespace sluice::test
