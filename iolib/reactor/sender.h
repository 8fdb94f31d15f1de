#pragma once

#include <cassert>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>

#include "iolib/reactor/loop.h"

namespace sluice {

/// Sends bytes with those of other senders: see Reactor::send. The owner keeps it at
/// one address while sending() is true.
class Sender {
 public:
  Sender() = default;
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;
  virtual ~Sender() { assert(!sending_ || !loop_runs); }
  /// True from the call of Reactor::send until sent() is about to report. Meanwhile its descriptor
  /// must not be used for another send, shut down or closed.
  [[nodiscard]] bool sending() const { return sending_; }

 protected:
  /// Whether a send with this result failed for now only, so that its bytes can be sent later.
  [[nodiscard]] static bool is_refused(int result) {
    return result == -EAGAIN || result == -EINTR || result == -ECANCELED || result == -ENOMEM;
  }

 private:
  friend class Reactor;
  friend class UringReactor;
  /// Reports the outcome of a send. `result` is the number of bytes that the socket took from the
  /// front of `bytes`, or -errno. `bytes` are valid until this call returns. Called on the
  /// reactor's thread, before any operation of the turn completes.
  virtual void sent(int result, std::span<const std::byte> bytes) = 0;

  bool sending_ = false;
};

}  // namespace sluice
