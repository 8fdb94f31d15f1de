#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>

#include "iolib/reactor/loop.h"

namespace sluice {

/// Sends bytes of a shared buffer without copying them: see Reactor::send. The owner keeps it at
/// one address while it is sending.
class Sender {
 public:
  Sender() = default;
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;
  virtual ~Sender() { assert(!sending_ || !loop_runs); }
  /// A send is queued, and its outcome is not reported yet. Nothing else may be sent on its
  /// descriptor until then, nor may it be shut down or closed.
  [[nodiscard]] bool sending() const { return sending_; }

 private:
  friend class Reactor;
  friend class UringReactor;
  /// The socket took the first `result` of `bytes`, which are valid until this call returns, or
  /// failed with -errno. Called on the reactor's thread, before any operation completes.
  virtual void sent(int result, std::span<const std::byte> bytes) = 0;

  bool sending_ = false;
};

}  // namespace sluice
