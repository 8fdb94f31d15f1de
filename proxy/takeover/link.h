#pragma once

#include <poll.h>

#include <atomic>
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "proxy/takeover/wire.h"

namespace sluice::takeover {

/// A thread that waits for a link can be told to stop, by any thread.
class StopSignal {
 public:
  /// Throws std::system_error if there is no descriptor.
  StopSignal();
  void stop();
  void clear();
  /// What the thread of stop() wrote before is visible then.
  [[nodiscard]] bool stopped() const { return stopped_.load(std::memory_order_acquire); }
  /// Readable once stop() was called.
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  OwnedFd fd_;
  std::atomic<bool> stopped_{false};
};

/// Waits until one of `fds` is ready, or the deadline has come: then none is.
void wait_for(std::span<pollfd> fds, TimePoint deadline);

/// One end of the connection between two processes in a takeover. Its calls block, up to their
/// deadlines. Errors: ETIMEDOUT; ECANCELED if `stop` was called; ECONNRESET if the other end has
/// closed. Not safe for use by several threads at once.
class Link {
 public:
  /// Waits until `fd` is ready for `events`, or fails with one of the errors above.
  using Wait = std::function<Result<>(int fd, short events, TimePoint deadline)>;

  Link() = default;
  /// Makes the socket non-blocking.
  Link(OwnedFd socket, Wait wait);

  /// A message and the descriptors that came with its frame.
  struct Received {
    Message message;
    std::vector<OwnedFd> descriptors;
  };

  /// Sends one frame with copies of at most kMostDescriptors descriptors.
  [[nodiscard]] Result<> send(const Message& message, TimePoint deadline,
                              std::span<const OwnedFd> descriptors = {});
  /// Receives one frame of at most `longest` bytes.
  [[nodiscard]] Result<Received> receive(std::size_t longest, TimePoint deadline);
  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] OwnedFd release() { return std::move(socket_); }
  explicit operator bool() const { return static_cast<bool>(socket_); }

 private:
  [[nodiscard]] Result<> receive_bytes(std::span<char> into, std::vector<OwnedFd>& descriptors,
                                       TimePoint deadline);

  OwnedFd socket_;
  Wait wait_;
};

/// A Wait that fails once `stop` has been called. Borrows it.
[[nodiscard]] Link::Wait wait_or_stop(const StopSignal& stop);

/// A Wait that nothing stops before its deadline, so that no frame is cut in two.
[[nodiscard]] Result<> wait_in_any_case(int fd, short events, TimePoint deadline);

/// The process at the other end.
struct Peer {
  pid_t pid = 0;
  uid_t uid = 0;
};
[[nodiscard]] Result<Peer> peer_of(int socket);
/// A descriptor of a process, which is readable once the process has ended; none if the kernel
/// refuses.
[[nodiscard]] OwnedFd open_process(pid_t pid);
/// Sends it a signal, if it still runs and this process may.
void send_signal(const OwnedFd& process, int number);
/// Waits until the process has ended; false if it runs at the deadline. Without a descriptor it
/// counts as ended.
[[nodiscard]] bool has_ended(const OwnedFd& process, TimePoint deadline);

}  // namespace sluice::takeover
