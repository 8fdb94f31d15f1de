#include "tests/support/socket_pair.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <system_error>

#include "tests/support/sockets.h"

namespace sluice::test {
namespace {

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

SocketPair tcp_pair(const PairOptions& options) {
  const SocketOptions near_options{.send_buffer_bytes = options.near_send_bytes,
                                   .receive_buffer_bytes = options.near_receive_bytes};
  const SocketOptions far_options{.send_buffer_bytes = options.far_send_bytes,
                                  .receive_buffer_bytes = options.far_receive_bytes};
  const Listener listener = listen_tcp(1, far_options);
  SocketPair pair;
  pair.near = connect_tcp(listener.port, near_options);
  pair.far = accept_from(listener.fd.get(), kPatience, far_options);
  set_nonblocking(pair.near.get(), true);
  return pair;
}

SocketPair unix_pair() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) fail("socketpair");
  SocketPair pair{.near = OwnedFd(ends[0]), .far = OwnedFd(ends[1])};
  set_nonblocking(pair.near.get(), true);
  return pair;
}

void send_urgent(int fd, std::byte byte) {
  if (::send(fd, &byte, 1, MSG_OOB | MSG_NOSIGNAL) != 1) fail("send MSG_OOB");
}

void send_descriptor(int fd, std::byte byte, int descriptor) {
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof descriptor)> control{};
  iovec payload{&byte, 1};
  msghdr message{};
  message.msg_iov = &payload;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof descriptor);
  std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  if (::sendmsg(fd, &message, MSG_NOSIGNAL) != 1) fail("sendmsg");
}

std::size_t unread_bytes(int fd) {
  int bytes = 0;
  if (::ioctl(fd, SIOCINQ, &bytes) != 0) fail("SIOCINQ");
  return static_cast<std::size_t>(bytes);
}

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator open("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(open), end(open)));
}

NoMoreDescriptors::NoMoreDescriptors() {
  if (::getrlimit(RLIMIT_NOFILE, &before_) != 0) fail("getrlimit");
  // The lowest free number becomes the limit: all below it are taken.
  const OwnedFd lowest(::fcntl(0, F_DUPFD_CLOEXEC, 0));
  if (!lowest) fail("F_DUPFD_CLOEXEC");
  rlimit none_left = before_;
  none_left.rlim_cur = static_cast<rlim_t>(lowest.get());
  if (::setrlimit(RLIMIT_NOFILE, &none_left) != 0) fail("setrlimit");
}

NoMoreDescriptors::~NoMoreDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

}  // namespace sluice::test
