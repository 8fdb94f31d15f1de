#include "iolib/pipe/pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace sluice {
namespace {

// What a pipe is born with (pipe(7)), unless the user's quota or pipe-max-size is below that.
constexpr int kBornBytes = 16 * int{Pipe::kSlotBytes};

int size_bytes(int pipe) { return ::fcntl(pipe, F_GETPIPE_SZ); }

// False where the pipe's user may not have so much.
bool resize(int pipe, int wanted_bytes) {
  return ::fcntl(pipe, F_SETPIPE_SZ, wanted_bytes) >= 0 || errno != EPERM;
}

// Grows or shrinks to `wanted_bytes`, or to the largest half, quarter and so on that is granted. A
// pipe that was born small is at the end of the quota, where every other try would be refused.
void resize_as_far_as_granted(int pipe, int wanted_bytes) {
  if (resize(pipe, wanted_bytes)) return;
  const int born_bytes = size_bytes(pipe);
  if (born_bytes < kBornBytes) return;
  while ((wanted_bytes /= 2) > born_bytes) {
    if (resize(pipe, wanted_bytes)) return;
  }
}

}  // namespace

Result<Pipe> Pipe::create(std::size_t wanted_bytes) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return errno_error("pipe2");
  Pipe pipe;
  pipe.read_end_.reset(ends[0]);
  pipe.write_end_.reset(ends[1]);
  // What counts is what F_GETPIPE_SZ then says.
  resize_as_far_as_granted(ends[1], static_cast<int>(wanted_bytes));
  const int granted = size_bytes(ends[1]);
  if (granted < 0) return errno_error("fcntl F_GETPIPE_SZ");
  pipe.capacity_bytes_ = static_cast<std::size_t>(granted);
  return pipe;
}

}  // namespace sluice
