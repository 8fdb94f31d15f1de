#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>

#include "iolib/reactor/loop.h"

namespace sluice {

/// Sends bytes of a shared buffer without copying them: see Reactor::send. The owner keeps it at
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
