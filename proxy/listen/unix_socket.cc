#include "proxy/listen/unix_socket.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "iolib/base/endpoint.h"

namespace sluice {
namespace {

// How often, and at which interval, a start tries to lock the folder of a unix socket.
constexpr int kStartLooks = 30;
constexpr std::chrono::milliseconds kStartLook(10);

// What is at the path of a unix listener.
enum class UnixPath { nothing, leftover, in_use };

// Examines the path. A file that is no socket is an error. `leftover` is a socket on which no
// process listens. A process that does listen there sees one connection, which closes at once.
Result<UnixPath> look_at(const UnixEndpoint& address) {
  const Endpoint endpoint = make_endpoint(address);
  struct stat about {};
  if (::lstat(address.path.c_str(), &about) != 0) return UnixPath::nothing;
  if (!S_ISSOCK(about.st_mode)) return Error{EEXIST, "bind " + endpoint.text};
  const OwnedFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return errno_error("socket for " + endpoint.text);
  if (::connect(probe.get(), endpoint.data(), endpoint.size_bytes) == 0) return UnixPath::in_use;
  if (errno == ENOENT) return UnixPath::nothing;  // removed since lstat()
  return errno == ECONNREFUSED ? UnixPath::leftover : UnixPath::in_use;
}

Result<OwnedFd> unix_socket(const Endpoint& endpoint) {
  OwnedFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_error("socket for " + endpoint.text);
  return fd;
}

Result<> bind_unix(int fd, const Endpoint& endpoint) {
  if (::bind(fd, endpoint.data(), endpoint.size_bytes) == 0) return {};
  return errno_error("bind " + endpoint.text);
}

// Examines an abstract name, which is either in use or free.
Result<UnixPath> look_at_name(const UnixEndpoint& address) {
  const Endpoint endpoint = make_endpoint(address);
  const Result<OwnedFd> fd = unix_socket(endpoint);
  if (fd.has_error()) return fd.error();
  const Result<> bound = bind_unix(fd->get(), endpoint);
  if (bound.has_value()) return UnixPath::nothing;
  if (bound.error().code != EADDRINUSE) return bound.error();
  return UnixPath::in_use;
}

enum class Leftover : bool { stays, goes };

Result<> find_free(const UnixEndpoint& address, Leftover leftover) {
  const std::optional<FileIdentity> seen = identity_at(AT_FDCWD, address.path);
  const Result<UnixPath> found = look_at(address);
  if (found.has_error()) return found.error();
  if (*found == UnixPath::in_use) return Error{EADDRINUSE, "bind unix:" + address.path};
  if (*found == UnixPath::leftover && leftover == Leftover::goes) {
    unlink_if_same(AT_FDCWD, address.path, seen);
  }
  return {};
}

std::string folder_of(const UnixEndpoint& address) {
  const std::size_t slash = address.path.rfind('/');
  return slash == std::string::npos ? "." : address.path.substr(0, slash + 1);
}

// Locks the folder of a unix socket, so that starts run one after the other. Between bind and
// listen, two concurrent starts would mistake each other's socket for a leftover. If another
// program holds the lock, the wait ends after 300 ms.
OwnedFd wait_for_other_starts(const UnixEndpoint& address) {
  OwnedFd folder(::open(folder_of(address).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int look = 0; look < kStartLooks && folder && ::flock(folder.get(), LOCK_EX | LOCK_NB) != 0;
       ++look) {
    std::this_thread::sleep_for(kStartLook);
  }
  return folder;
}

// Sets the permissions of the socket at `path`. Does not follow a symbolic link that somebody puts
// in its place meanwhile.
Result<> set_mode(const UnixEndpoint& address, mode_t mode) {
  const std::string text = "chmod unix:" + address.path;
  const OwnedFd socket(::open(address.path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat about {};
  if (!socket || ::fstat(socket.get(), &about) != 0) return errno_error(text);
  if (!S_ISSOCK(about.st_mode)) return Error{EEXIST, text};
  // chmod(2) follows this link to exactly the file that is open.
  const std::string link = "/proc/self/fd/" + std::to_string(socket.get());
  if (::chmod(link.c_str(), mode) != 0) return errno_error(text);
  return {};
}

}  // namespace

Result<OwnedFd> open_unix_socket(const UnixEndpoint& address) {
  const Endpoint endpoint = make_endpoint(address);
  Result<OwnedFd> fd = unix_socket(endpoint);
  if (fd.has_error()) return fd;
  const Result<> free =
      address.is_abstract() ? bind_unix(fd->get(), endpoint) : find_free(address, Leftover::stays);
  if (free.has_error()) return free.error();
  return fd;
}

Result<> listen_unix(int fd, const UnixEndpoint& address, std::optional<mode_t> mode,
                     std::vector<SocketPath>& paths) {
  const Endpoint endpoint = make_endpoint(address);
  OwnedFd alone;
  if (!address.is_abstract()) {
    alone = wait_for_other_starts(address);
    if (Result<> found = find_free(address, Leftover::goes); found.has_error()) return found;
    if (Result<> bound = bind_unix(fd, endpoint); bound.has_error()) return bound;
    paths.push_back({address.path, identity_at(AT_FDCWD, address.path)});
    // Nobody can connect before listen().
    if (Result<> set = mode ? set_mode(address, *mode) : Result<>(); set.has_error()) return set;
  }
  if (::listen(fd, kListenBacklog) != 0) return errno_error("listen " + endpoint.text);
  return {};
}

Result<bool> probe_unix_socket(const UnixEndpoint& address) {
  const Result<UnixPath> found = address.is_abstract() ? look_at_name(address) : look_at(address);
  if (found.has_error()) return found.error();
  const bool in_use = *found == UnixPath::in_use;
  if (!in_use && !address.is_abstract() && ::access(folder_of(address).c_str(), W_OK | X_OK) != 0) {
    return errno_error("bind unix:" + address.path);
  }
  return {boost::system::in_place_value, in_use};
}

}  // namespace sluice
