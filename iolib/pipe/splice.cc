#include "iolib/pipe/splice.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace sluice {
namespace {

// Repeats `call` while a signal interrupts it.
template <class Call>
Transfer checked(Call call) {
  ssize_t returned = 0;
  do {
    returned = call();
  } while (returned < 0 && errno == EINTR);
  return Transfer::from_call(returned);
}

}  // namespace

Transfer Transfer::from_call(ssize_t returned) {
  if (returned > 0) return {Status::moved, 0, static_cast<std::size_t>(returned)};
  if (returned == 0) return {Status::end, 0, 0};
  if (errno == EAGAIN) return {Status::would_block, 0, 0};
  return {Status::failed, errno, 0};
}

Transfer splice_in(int source, Pipe& pipe, std::size_t max_bytes) {
  const std::size_t ask = std::min(max_bytes, pipe.room_bytes());
  if (ask == 0) return {};
  const Transfer moved = checked([&] {
    return ::splice(source, nullptr, pipe.write_end(), nullptr, ask,
                    SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  });
  pipe.filled(moved.bytes);
  return moved;
}

Transfer splice_out(Pipe& pipe, int target, std::size_t max_bytes) {
  const std::size_t ask = std::min(max_bytes, pipe.held_bytes());
  if (ask == 0) return {};
  const Transfer moved = checked([&] {
    return ::splice(pipe.read_end(), nullptr, target, nullptr, ask,
                    SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  });
  pipe.drained(moved.bytes);
  return moved;
}

Transfer tee_into(const Pipe& from, Pipe& to, std::size_t max_bytes) {
  const std::size_t ask = std::min(max_bytes, from.held_bytes());
  if (ask == 0) return {};
  const Transfer moved =
      checked([&] { return ::tee(from.read_end(), to.write_end(), ask, SPLICE_F_NONBLOCK); });
  to.filled(moved.bytes);
  return moved;
}

Transfer read_out(Pipe& pipe, void* buffer, std::size_t size_bytes) {
  const std::size_t ask = std::min(size_bytes, pipe.held_bytes());
  if (ask == 0) return {};
  const Transfer moved = checked([&] { return ::read(pipe.read_end(), buffer, ask); });
  pipe.drained(moved.bytes);
  return moved;
}

Transfer send_file(int target, int file, std::uint64_t offset, std::size_t max_bytes) {
  auto position = static_cast<off_t>(offset);
  const std::size_t ask = std::min(max_bytes, kMaxSendfileBytes);
  return checked([&] { return ::sendfile(target, file, &position, ask); });
}

Transfer send_bytes(int target, std::span<const std::byte> bytes) {
  if (bytes.empty()) return {};
  return checked(
      [&] { return ::send(target, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL); });
}

}  // namespace sluice
