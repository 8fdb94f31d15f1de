#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>

#include "iolib/reactor/loop.h"

namespace sluice {

/// How a request ended, or one more result of a standing one.
struct Completion {
  int result = 0;     ///< what was asked for (bytes, a descriptor, poll events), or -errno
  bool more = false;  ///< accept and error watch only: the request stands, and will complete again
  /// receive only: what was received, in a shared buffer that is valid until complete() returns;
  /// see also Reactor::send.
  std::span<const std::byte> data;
};

/// One request at a Reactor. The owner keeps it at one address while it is in flight, that is until
/// complete() was called with `more` false or the loop has ended, and starts no second request on
/// it meanwhile.
class Operation {
 public:
  Operation() = default;
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  virtual ~Operation() { assert(!in_flight_ || !loop_runs); }
  [[nodiscard]] bool in_flight() const { return in_flight_; }

 private:
  friend class Reactor;
  friend class UringReactor;
  friend class AsioReactor;
  friend class Disk;
  /// Called on the reactor's thread. May start the next request on this operation, or destroy it.
  virtual void complete(const Completion& completion) = 0;

  Operation* next_ = nullptr;  ///< in a queue of the reactor
  int fd_ = -1;
  std::uint32_t max_bytes_ = 0;  ///< receive only
  std::uint8_t kind_ = 0;        ///< for the reactor
  bool in_flight_ = false;
  bool cancelled_ = false;
  std::uint16_t events_ = 0;  ///< poll events that a standing poll has found, while it is ended
};

}  // namespace sluice
