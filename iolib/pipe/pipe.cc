#include "iolib/pipe/pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace sluice {
namespace {

// The default size of a new pipe (pipe(7)). A pipe of a user over quota, or under a smaller
// pipe-max-size, is smaller.
constexpr int kBornBytes = 16 * int{Pipe::kSlotBytes};

int size_bytes(int pipe) { return ::fcntl(pipe, F_GETPIPE_SZ); }

// False only if the kernel refuses with EPERM: the size is over the user's limit.
bool resize(int pipe, int wanted_bytes) {
  return ::fcntl(pipe, F_SETPIPE_SZ, wanted_bytes) >= 0 || errno != EPERM;
}

// Sets the size to `wanted_bytes` or, if that is refused, to the largest half, quarter and so on
// that is granted. A new pipe below the default size shows that the user's quota is used up: every
// other try would be refused too.
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
  // F_GETPIPE_SZ then says what was granted.
  resize_as_far_as_granted(ends[1], static_cast<int>(wanted_bytes));
  const int granted = size_bytes(ends[1]);
  if (granted < 0) return errno_error("fcntl F_GETPIPE_SZ");
  pipe.capacity_bytes_ = static_cast<std::size_t>(granted);
  return pipe;
}

}  // namespace sluice
