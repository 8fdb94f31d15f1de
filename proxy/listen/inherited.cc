#include "proxy/listen/inherited.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

namespace sluice {
namespace {

int option_of(int fd, int level, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, level, option, &value, &size) == 0 ? value : -1;
}

// The address of a unix socket as the configuration has it; empty for a socket without a name.
UnixEndpoint unix_name(const sockaddr_storage& local, socklen_t size) {
  sockaddr_un name{};
  std::memcpy(&name, &local, std::min<std::size_t>(size, sizeof name));
  const std::size_t length = size - std::min<std::size_t>(size, offsetof(sockaddr_un, sun_path));
  std::string path(name.sun_path, std::min(length, sizeof name.sun_path));
  if (path.empty()) return {};
  if (path.front() != '\0') return {path.substr(0, path.find('\0'))};
  path.front() = '@';
  return {path};
}

// Whether the address is all zeros.
bool is_wildcard(const SocketAddress& address) {
  return std::ranges::all_of(address.host_bytes(),
                             [](std::byte each) { return each == std::byte{}; });
}

void prepare(int fd) {
  static_cast<void>(::fcntl(fd, F_SETFD, FD_CLOEXEC));
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0) static_cast<void>(::fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}

}  // namespace

void InheritedSockets::add(OwnedFd fd) {
  Socket& socket = sockets_.emplace_back();
  socket.fd = std::move(fd);
  const int raw = socket.fd.get();
  prepare(raw);
  sockaddr_storage local{};
  socklen_t size = sizeof local;
  auto* const name = reinterpret_cast<sockaddr*>(&local);
  if (::getsockname(raw, name, &size) != 0) {
    socket.text = "descriptor " + std::to_string(raw) + " (no socket)";
    return;
  }
  const SocketAddress address = SocketAddress::from(name, size);
  const UnixEndpoint unix_address =
      local.ss_family == AF_UNIX ? unix_name(local, size) : UnixEndpoint();
  const bool both_families = local.ss_family == AF_INET6 && address.family() == AF_INET6 &&
                             is_wildcard(address) && option_of(raw, IPPROTO_IPV6, IPV6_V6ONLY) == 0;
  if (local.ss_family == AF_UNIX) {
    socket.text = "unix:" + unix_address.path;
  } else if (address.family() == AF_UNSPEC) {
    socket.text = "descriptor " + std::to_string(raw) + " (neither TCP nor a unix socket)";
    return;
  } else {
    socket.text = both_families ? ":" + std::to_string(address.port()) : address.to_string();
  }
  if (option_of(raw, SOL_SOCKET, SO_TYPE) != SOCK_STREAM) {
    socket.text += " (no stream socket)";
  } else if (option_of(raw, SOL_SOCKET, SO_ACCEPTCONN) != 1) {
    socket.text += " (does not listen)";
  } else if (local.ss_family == AF_UNIX) {
    socket.unix_address = unix_address;
  } else {
    socket.address = address;
    socket.both_families = both_families;
  }
}

template <typename Matches>
std::vector<OwnedFd> InheritedSockets::take_if(const Matches& matches) {
  std::vector<OwnedFd> taken;
  for (Socket& each : sockets_) {
    if (matches(each)) taken.push_back(std::move(each.fd));
  }
  std::erase_if(sockets_, [](const Socket& each) { return !each.fd; });
  return taken;
}

std::vector<OwnedFd> InheritedSockets::take(const SocketAddress& address, bool both_families) {
  return take_if([&](const Socket& each) {
    return each.address.family() != AF_UNSPEC && each.address == address &&
           each.both_families == both_families;
  });
}

std::vector<OwnedFd> InheritedSockets::take(const UnixEndpoint& address) {
  return take_if([&](const Socket& each) { return each.unix_address == address; });
}

std::vector<std::string> InheritedSockets::left() const {
  std::vector<std::string> texts;
  for (const Socket& each : sockets_) texts.push_back(each.text);
  return texts;
}

}  // namespace sluice
