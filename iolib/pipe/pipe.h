#pragma once

#include <cassert>
#include <cstddef>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"

namespace sluice {

/// A kernel pipe that counts the bytes it holds.
///
/// Only the checked calls of splice.h move bytes through it, so held_bytes() is always exact. Not
/// thread-safe: one thread uses it at a time.
class Pipe {
 public:
  /// Makes a pipe of `wanted_bytes`, or of the largest half, quarter and so on that the kernel
  /// grants; reads the granted size back. An unprivileged user can get less: EPERM refuses growth
  /// beyond pipe-max-size or the quota (pipe-user-pages-soft), and beyond the quota a new pipe has
  /// two slots (pipe(7)).
  [[nodiscard]] static Result<Pipe> create(std::size_t wanted_bytes);

  [[nodiscard]] int read_end() const { return read_end_.get(); }
  [[nodiscard]] int write_end() const { return write_end_.get(); }
  /// The size that F_GETPIPE_SZ reports: what fits if every slot holds a whole page.
  [[nodiscard]] std::size_t capacity_bytes() const { return capacity_bytes_; }
  /// The number of slots; each holds a page or a fragment of up to 32 KiB.
  [[nodiscard]] std::size_t slots() const { return capacity_bytes_ / kSlotBytes; }
  /// The bytes that are in the pipe now.
  [[nodiscard]] std::size_t held_bytes() const { return held_bytes_; }
  [[nodiscard]] bool empty() const { return held_bytes_ == 0; }
  /// How many bytes splice_in() may still add. The kernel would take more, because a slot can hold
  /// a fragment of up to 32 KiB: one unbounded call put 5,991,019 bytes into a 1 MiB pipe.
  [[nodiscard]] std::size_t room_bytes() const {
    return held_bytes_ < capacity_bytes_ ? capacity_bytes_ - held_bytes_ : 0;
  }

  /// For the checked calls only: `bytes` were added or removed.
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
