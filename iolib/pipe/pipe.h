#pragma once

#include <cassert>
#include <cstddef>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"

namespace sluice {

/// A kernel pipe, with the number of bytes that are in it.
///
/// Only the checked calls of splice.h move bytes through it, so that held_bytes() is always true.
/// Not thread-safe: one thread uses it at a time.
class Pipe {
 public:
  /// Asks the kernel for a pipe of `wanted_bytes`, then for half of that and so on, and reads back
  /// what was granted. An ordinary user's can be smaller: beyond pipe-max-size, or where his quota
  /// (pipe-user-pages-soft) has no room, growing is EPERM; beyond the quota a pipe is born with two
  /// slots (pipe(7)).
  [[nodiscard]] static Result<Pipe> create(std::size_t wanted_bytes);

  [[nodiscard]] int read_end() const { return read_end_.get(); }
  [[nodiscard]] int write_end() const { return write_end_.get(); }
  /// Bytes granted by F_GETPIPE_SZ, when every slot holds a whole page.
  [[nodiscard]] std::size_t capacity_bytes() const { return capacity_bytes_; }
  [[nodiscard]] std::size_t slots() const { return capacity_bytes_ / kSlotBytes; }
  [[nodiscard]] std::size_t held_bytes() const { return held_bytes_; }
  [[nodiscard]] bool empty() const { return held_bytes_ == 0; }
  /// What may be spliced in at most. The kernel would take more, since a slot can hold a fragment
  /// of up to 32 KiB: one greedy call put 5,991,019 bytes into a 1 MiB pipe.
  [[nodiscard]] std::size_t room_bytes() const {
    return held_bytes_ < capacity_bytes_ ? capacity_bytes_ - held_bytes_ : 0;
  }

  /// For the checked calls: `bytes` came in, or went out.
  void filled(std::size_t bytes) { held_bytes_ += bytes; }
  void drained(std::size_t bytes) {
    assert(bytes <= held_bytes_);
    held_bytes_ -= bytes;
  }

  static constexpr std::size_t kSlotBytes = 4096;

 private:
  OwnedFd read_end_;
  OwnedFd write_end_;
  std::size_t capacity_bytes_ = 0;
  std::size_t held_bytes_ = 0;
};

}  // namespace sluice
