#include "proxy/takeover/link.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <utility>

namespace sluice::takeover {
namespace {

// Room for as many as the kernel ever passes at once, so that none is lost without a sign.
constexpr std::size_t kMostPassed = 253;

Error closed_error() { return Error{ECONNRESET, "takeover link"}; }

Result<> send_bytes(int fd, std::string_view bytes, std::span<const OwnedFd> descriptors,
                    std::size_t& sent) {
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostDescriptors * sizeof(int))> control{};
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
    auto* to = reinterpret_cast<char*>(CMSG_DATA(header));
    for (const OwnedFd& each : descriptors) {
      const int raw = each.get();
      std::memcpy(to, &raw, sizeof raw);
      to += sizeof raw;
    }
  }
  const ssize_t done = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (done >= 0) {
    sent = static_cast<std::size_t>(done);
    return {};
  }
  sent = 0;
  if (errno == EAGAIN || errno == EINTR) return {};
  if (errno == EPIPE || errno == ECONNRESET) return closed_error();
  return errno_error("sendmsg to the takeover link");
}

void take_descriptors(msghdr& message, std::vector<OwnedFd>& descriptors) {
  for (cmsghdr* each = CMSG_FIRSTHDR(&message); each != nullptr;
       each = CMSG_NXTHDR(&message, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    const auto* from = reinterpret_cast<const char*>(CMSG_DATA(each));
    for (std::size_t i = 0; i < count; ++i) {
      int raw = -1;
      std::memcpy(&raw, from + i * sizeof raw, sizeof raw);
      descriptors.emplace_back(raw);
    }
  }
}

int left_ms(TimePoint deadline) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(std::max(deadline - Clock::now(), Duration(0)));
  return static_cast<int>(std::min<std::int64_t>(left.count(), 3'600'000));
}

}  // namespace

StopSignal::StopSignal() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!fd_) throw std::system_error(errno, std::generic_category(), "eventfd");
}

void StopSignal::stop() {
  stopped_.store(true, std::memory_order_release);
  const std::uint64_t one = 1;
  static_cast<void>(::write(fd_.get(), &one, sizeof one));
}

void StopSignal::clear() {
  std::uint64_t count = 0;
  static_cast<void>(::read(fd_.get(), &count, sizeof count));
  stopped_.store(false, std::memory_order_relaxed);
}

void wait_for(std::span<pollfd> fds, TimePoint deadline) {
  while (true) {
    for (pollfd& each : fds) each.revents = 0;
    const int ready = ::poll(fds.data(), fds.size(), left_ms(deadline));
    if (ready > 0 || (ready == 0 && Clock::now() >= deadline)) return;
  }
}

Link::Wait wait_or_stop(const StopSignal& stop) {
  return [&stop](int fd, short events, TimePoint deadline) -> Result<> {
    std::array<pollfd, 2> fds{{{fd, events, 0}, {stop.fd(), POLLIN, 0}}};
    wait_for(fds, deadline);
    if (fds[1].revents != 0) return Error{ECANCELED, "takeover link"};
    if (fds[0].revents == 0) return Error{ETIMEDOUT, "takeover link"};
    return {};
  };
}

Result<> wait_in_any_case(int fd, short events, TimePoint deadline) {
  std::array<pollfd, 1> fds{{{fd, events, 0}}};
  wait_for(fds, deadline);
  return fds[0].revents != 0 ? Result<>() : Error{ETIMEDOUT, "takeover link"};
}

Link::Link(OwnedFd socket, Wait wait) : socket_(std::move(socket)), wait_(std::move(wait)) {
  const int flags = ::fcntl(socket_.get(), F_GETFL);
  if (flags >= 0) static_cast<void>(::fcntl(socket_.get(), F_SETFL, flags | O_NONBLOCK));
}

Result<> Link::send(const Message& message, TimePoint deadline,
                    std::span<const OwnedFd> descriptors) {
  assert(descriptors.size() <= kMostDescriptors);
  const std::string frame = encode(message);
  std::string_view left = frame;
  while (!left.empty()) {
    std::size_t sent = 0;
    if (Result<> done = send_bytes(fd(), left, descriptors, sent); done.has_error()) return done;
    if (sent > 0) descriptors = {};
    left.remove_prefix(sent);
    if (left.empty()) break;
    if (Result<> ready = wait_(fd(), POLLOUT, deadline); ready.has_error()) return ready;
  }
  return {};
}

Result<Link::Received> Link::receive(std::size_t longest, TimePoint deadline) {
  Received received;
  std::array<char, kHeaderBytes> header{};
  Result<> got = receive_bytes(header, received.descriptors, deadline);
  if (got.has_error()) return got.error();
  const Result<std::size_t> size_bytes =
      decode_header(std::string_view(header.data(), header.size()), longest);
  if (size_bytes.has_error()) return size_bytes.error();
  // Grows as bytes come, so that a length alone takes no memory.
  std::string text;
  while (text.size() < *size_bytes) {
    constexpr std::size_t kPart = 1 << 20;
    const std::size_t had = text.size();
    text.resize(std::min(*size_bytes, had + kPart));
    got = receive_bytes(std::span(text).subspan(had), received.descriptors, deadline);
    if (got.has_error()) return got.error();
  }
  Result<Message> message = decode(text);
  if (message.has_error()) return message.error();
  received.message = *std::move(message);
  return received;
}

Result<> Link::receive_bytes(std::span<char> into, std::vector<OwnedFd>& descriptors,
                             TimePoint deadline) {
  while (!into.empty()) {
    iovec part{into.data(), into.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostPassed * sizeof(int))> control{};
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t got = ::recvmsg(fd(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
      if (Result<> ready = wait_(fd(), POLLIN, deadline); ready.has_error()) return ready;
      continue;
    }
    if (got == 0 || (got < 0 && errno == ECONNRESET)) return closed_error();
    if (got < 0) return errno_error("recvmsg from the takeover link");
    take_descriptors(message, descriptors);
    if ((message.msg_flags & MSG_CTRUNC) != 0) {
      return Error{EMFILE, "receive descriptors from the takeover link"};
    }
    if (descriptors.size() > kMostDescriptors) {
      return Error{0, "the peer sent too many descriptors at once"};
    }
    into = into.subspan(static_cast<std::size_t>(got));
  }
  return {};
}

Result<Peer> peer_of(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return errno_error("getsockopt SO_PEERCRED");
  }
  return Peer{credentials.pid, credentials.uid};
}

OwnedFd open_process(pid_t pid) {
  return OwnedFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

void send_signal(const OwnedFd& process, int number) {
  if (process) ::syscall(SYS_pidfd_send_signal, process.get(), number, nullptr, 0);
}

bool has_ended(const OwnedFd& process, TimePoint deadline) {
  if (!process) return true;
  std::array<pollfd, 1> fds{{{process.get(), POLLIN, 0}}};
  wait_for(fds, deadline);
  return fds[0].revents != 0;
}

}  // namespace sluice::takeover
