#include "iolib/pipe/pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

namespace sluice {

Result<Pipe> Pipe::create(std::size_t wanted_bytes) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return errno_error("pipe2");
  Pipe pipe;
  pipe.read_end_.reset(ends[0]);
  pipe.write_end_.reset(ends[1]);
  // The result is not looked at: what counts is what F_GETPIPE_SZ then says.
  static_cast<void>(::fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(wanted_bytes)));
  const int granted = ::fcntl(ends[1], F_GETPIPE_SZ);
  if (granted < 0) return errno_error("fcntl F_GETPIPE_SZ");
  pipe.capacity_bytes_ = static_cast<std::size_t>(granted);
  return pipe;
}

}  // namespace sluice
