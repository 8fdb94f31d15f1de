#pragma once

#include <sys/resource.h>

#include <cstddef>

#include "iolib/base/owned_fd.h"

namespace sluice::test {

/// Two connected stream sockets. `near` is for the code under test and does not block; `far` is the
/// test's own end.
struct SocketPair {
  OwnedFd near;
  OwnedFd far;
};

/// Buffer sizes of both ends; 0 leaves them to the kernel. Small ones cause back-pressure.
struct PairOptions {
  int near_send_bytes = 0;
  int near_receive_bytes = 0;
  int far_send_bytes = 0;
  int far_receive_bytes = 0;
};

/// The kernel's minimum everywhere: a stream stalls after a few KiB.
inline constexpr PairOptions kSmallBuffers{4096, 4096, 4096, 4096};

[[nodiscard]] SocketPair tcp_pair(const PairOptions& options = {});
[[nodiscard]] SocketPair unix_pair();

/// One byte of urgent data.
void send_urgent(int fd, std::byte byte);
/// One byte with a copy of `descriptor`, over a unix socket.
void send_descriptor(int fd, std::byte byte, int descriptor);
/// Bytes in the receive queue (SIOCINQ).
[[nodiscard]] std::size_t unread_bytes(int fd);
/// The number of descriptors that this process has open.
[[nodiscard]] std::size_t open_descriptors();

/// While it exists, this process can open no further descriptor (EMFILE).
class NoMoreDescriptors {
 public:
  NoMoreDescriptors();
  ~NoMoreDescriptors();
  NoMoreDescriptors(const NoMoreDescriptors&) = delete;
  NoMoreDescriptors& operator=(const NoMoreDescriptors&) = delete;

 private:
  rlimit before_{};
};

}  // namespace sluice::test
