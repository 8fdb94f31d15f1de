#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "iolib/base/owned_fd.h"

namespace sluice::bench {

/// The bytes that streams and messages are made of, over and over: the same at both ends, since
/// both make them from the same seed. In memory, and as a memory file for sendfile.
class Content {
 public:
  static constexpr std::size_t kBytes = std::size_t{64} << 20;
  /// The one content of this process; made at the first call. Any thread.
  static const Content& instance();

  [[nodiscard]] int file() const { return file_.get(); }

  /// Where the stream of connection `number` begins: elsewhere for each, so that another's bytes
  /// are seen as wrong.
  [[nodiscard]] static std::uint64_t start_of(std::uint64_t number) {
    constexpr std::uint64_t kStep = 1'000'003;  // a prime
    return number * kStep % kBytes;
  }
  /// Of the endless stream, the bytes from `position` on, as far as they lie together: at least
  /// one, at most `most`.
  [[nodiscard]] const char* at(std::uint64_t position) const {
    return bytes_.data() + position % kBytes;
  }
  [[nodiscard]] static std::size_t together(std::uint64_t position, std::size_t most);
  /// The position of the first of `size` bytes at `data` that is not the stream's from `position`
  /// on, or `size` if all are.
  [[nodiscard]] std::size_t mismatch(std::uint64_t position, const char* data,
                                     std::size_t size) const;

 private:
  Content();
  std::vector<char> bytes_;
  OwnedFd file_;
};

}  // namespace sluice::bench
