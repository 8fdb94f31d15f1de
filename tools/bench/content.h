#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "iolib/base/owned_fd.h"

namespace sluice::bench {

/// The endless, repeating byte sequence that streams and messages consist of. Both ends generate it
/// from the same seed. It is in memory, and in a memory file for sendfile. Immutable; any thread
/// may use it.
class Content {
 public:
  static constexpr std::size_t kBytes = std::size_t{64} << 20;
  /// The only instance of this process, created by the first call. Any thread. Throws Failure.
  static const Content& instance();

  [[nodiscard]] int file() const { return file_.get(); }

  /// The position at which the stream of connection `number` begins. Each connection has its own,
  /// so that bytes of another connection are detected as wrong.
  [[nodiscard]] static std::uint64_t start_of(std::uint64_t number) {
    constexpr std::uint64_t kStep = 1'000'003;  // a prime
    return number * kStep % kBytes;
  }
  /// The sequence's bytes from `position` on. together() says how many of them are contiguous: at
  /// least one, at most `most`.
  [[nodiscard]] const char* at(std::uint64_t position) const {
    return bytes_.data() + position % kBytes;
  }
  [[nodiscard]] static std::size_t together(std::uint64_t position, std::size_t most);
  /// The index of the first of the `size` bytes at `data` that differs from the sequence from
  /// `position` on; `size` if all match.
  [[nodiscard]] std::size_t mismatch(std::uint64_t position, const char* data,
                                     std::size_t size) const;

 private:
  Content();
  std::vector<char> bytes_;
  OwnedFd file_;
};

}  // namespace sluice::bench
