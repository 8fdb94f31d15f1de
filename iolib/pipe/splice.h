#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "iolib/pipe/pipe.h"

namespace sluice {

/// The outcome of one non-blocking transfer.
struct Transfer {
  enum class Status : std::uint8_t {
    moved,        ///< `bytes` > 0 were moved
    would_block,  ///< the source has nothing, or the target no room, at the moment
    end,          ///< end of stream
    failed,       ///< `error` is the errno
  };
  Status status = Status::would_block;
  int error = 0;
  std::size_t bytes = 0;

  /// From a system call's return value and errno; a zero is an end of stream.
  [[nodiscard]] static Transfer from_call(ssize_t returned);
};

/// splice(2) from a socket into `pipe`: at most `max_bytes`, and at most what its size leaves.
///
/// would_block with an empty pipe means that the socket is empty, or that urgent data lies at its
/// head, on which splice returns EAGAIN for ever; recv then takes it. A pipe that is not empty can
/// be out of slots although its size leaves bytes.
[[nodiscard]] Transfer splice_in(int source, Pipe& pipe, std::size_t max_bytes);

/// splice(2) from `pipe` to a socket or device: at most `max_bytes`, and never more than the pipe
/// holds. Asking for more makes the kernel hold the last batch back for 200 ms as if MSG_MORE were
/// set, when that batch is exactly 16 slots. The process must ignore SIGPIPE.
[[nodiscard]] Transfer splice_out(Pipe& pipe, int target, std::size_t max_bytes);

/// tee(2): duplicates up to `max_bytes` from the head of `from` into `to`, consuming nothing; the
/// caller then consumes exactly what was duplicated, or the next tee repeats it.
[[nodiscard]] Transfer tee_into(const Pipe& from, Pipe& to, std::size_t max_bytes);

/// Reads up to `size_bytes` out of `pipe` into `buffer`: the one copying way out.
[[nodiscard]] Transfer read_out(Pipe& pipe, void* buffer, std::size_t size_bytes);

/// sendfile(2) of at most `max_bytes` (bounded by kMaxSendfileBytes) at `offset`, which is not
/// moved. Ranges not in the page cache block the calling thread: read them in first.
[[nodiscard]] Transfer send_file(int target, int file, std::uint64_t offset, std::size_t max_bytes);

/// One call's bound: a huge count can block on the disk for seconds.
inline constexpr std::size_t kMaxSendfileBytes = 1 << 20;

}  // namespace sluice
