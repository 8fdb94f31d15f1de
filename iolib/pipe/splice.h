#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "iolib/pipe/pipe.h"

namespace sluice {

/// The outcome of one non-blocking transfer.
struct Transfer {
  enum class Status : std::uint8_t {
    moved,        ///< `bytes` > 0 were moved
    would_block,  ///< the source is empty, or the target full, at the moment
    end,          ///< end of stream
    failed,       ///< `error` is the errno
  };
  Status status = Status::would_block;
  int error = 0;
  std::size_t bytes = 0;

  /// Converts a system call's return value and errno. Zero is the end of stream.
  [[nodiscard]] static Transfer from_call(ssize_t returned);
};

/// splice(2) from a socket into `pipe`: at most `max_bytes`, and at most `pipe.room_bytes()`.
///
/// would_block with an empty pipe means that the socket is empty or that urgent data is at its
/// head: there splice always returns EAGAIN, and the caller must use recv(2). A pipe that is not
/// empty can run out of slots before it runs out of bytes.
[[nodiscard]] Transfer splice_in(int source, Pipe& pipe, std::size_t max_bytes);

/// splice(2) from `pipe` to a socket or device: at most `max_bytes`, and never more than the pipe
/// holds. If asked for more, the kernel delays a last batch of exactly 16 slots for 200 ms, as with
/// MSG_MORE. The process must ignore SIGPIPE.
[[nodiscard]] Transfer splice_out(Pipe& pipe, int target, std::size_t max_bytes);

/// tee(2): copies up to `max_bytes` from the head of `from` to `to` and consumes nothing. The
/// caller then consumes exactly that many bytes of `from`; otherwise the next tee repeats them.
[[nodiscard]] Transfer tee_into(const Pipe& from, Pipe& to, std::size_t max_bytes);

/// read(2) of up to `size_bytes` from `pipe` into `buffer`.
[[nodiscard]] Transfer read_out(Pipe& pipe, void* buffer, std::size_t size_bytes);

/// sendfile(2) of at most `max_bytes` and kMaxSendfileBytes from `offset` of `file`. The file's own
/// position does not change. A range that is not in the page cache blocks the thread, so read it in
/// first.
[[nodiscard]] Transfer send_file(int target, int file, std::uint64_t offset, std::size_t max_bytes);

/// send(2) of `bytes` to a socket, without waiting for room. Moves nothing if `bytes` is empty.
[[nodiscard]] Transfer send_bytes(int target, std::span<const std::byte> bytes);

/// The most bytes of one sendfile(2): a huge count can block on the disk for seconds.
inline constexpr std::size_t kMaxSendfileBytes = 1 << 20;

}  // namespace sluice
