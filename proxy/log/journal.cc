#include "proxy/log/journal.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "iolib/base/address.h"

namespace sluice::log {
namespace {

constexpr timeval kPatience{0, 100'000};

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(fd, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return true;
}

ssize_t send_message(int fd, const msghdr& message, int flags) {
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(fd, &message, flags | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent;
}

}  // namespace

bool stderr_is_journal() {
  const char* const stream = std::getenv("JOURNAL_STREAM");
  struct stat about {};
  if (stream == nullptr || ::fstat(STDERR_FILENO, &about) != 0) return false;
  return std::to_string(about.st_dev) + ":" + std::to_string(about.st_ino) == stream;
}

Journal::Journal(std::string_view path)
    : to_(make_endpoint(UnixEndpoint{std::string(path)})),
      socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
  const int fd = socket_.get();
  static_cast<void>(::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience));
}

bool Journal::send(std::string_view entry) {
  // By its address each time, because the journal may make its socket anew.
  iovec bytes{const_cast<char*>(entry.data()), entry.size()};
  msghdr message{};
  message.msg_name = &to_.address;
  message.msg_namelen = to_.size_bytes;
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  const int flags = patient_ ? 0 : MSG_DONTWAIT;
  bool sent = send_message(socket_.get(), message, flags) >= 0;
  if (!sent && (errno == EMSGSIZE || errno == ENOBUFS)) sent = send_in_memory(entry, flags);
  patient_ = sent;
  return sent;
}

// The journal takes only memory that nobody can change any more.
bool Journal::send_in_memory(std::string_view entry, int flags) {
  const OwnedFd memory(::memfd_create("journal-entry", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory || !write_all(memory.get(), entry)) return false;
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
  if (::fcntl(memory.get(), F_ADD_SEALS, kSeals) != 0) return false;
  const int fd = memory.get();
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr message{};
  message.msg_name = &to_.address;
  message.msg_namelen = to_.size_bytes;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* const rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  return send_message(socket_.get(), message, flags) >= 0;
}

}  // namespace sluice::log
