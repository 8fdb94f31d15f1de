#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "iolib/base/clock.h"
#include "iolib/reactor/reactor.h"
#include "iolib/reactor/task.h"

namespace sluice {

/// Looks at the first bytes of a stream and leaves them there, so that everyone who reads it later
/// sees them. Borrows the socket. Belongs to the reactor's thread.
class Peek {
 public:
  Peek(Reactor& reactor, int fd, TimePoint deadline)
      : reactor_(reactor), fd_(fd), deadline_(deadline) {}
  ~Peek();
  Peek(const Peek&) = delete;
  Peek& operator=(const Peek&) = delete;

  enum class Outcome : std::uint8_t {
    seen,   ///< they are there
    ended,  ///< the stream ended or failed before
    late,   ///< the deadline came before
    cancelled,
  };
  /// Waits until at least `total` bytes are there. seen() then has them, and more if they are
  /// there.
  [[nodiscard]] Task<Outcome> wait_for(std::size_t total);
  [[nodiscard]] std::span<const std::byte> seen() const { return {buffer_.get(), seen_bytes_}; }
  /// Takes the first bytes out of the stream. They are there.
  void take(std::size_t bytes);
  /// Makes wait_for() end soon.
  void cancel();

 private:
  [[nodiscard]] bool look(std::size_t total);
  void make_room(std::size_t bytes);
  void wake_at(std::size_t bytes);

  Reactor& reactor_;
  const int fd_;
  const TimePoint deadline_;
  std::unique_ptr<std::byte[]> buffer_;
  std::size_t buffer_bytes_ = 0;
  std::size_t seen_bytes_ = 0;
  std::size_t mark_ = 1;  ///< bytes at which the socket wakes its reader (SO_RCVLOWAT)
  Reactor::Wait* wait_ = nullptr;
  bool waited_ = false;
  bool ended_ = false;
  bool cancelled_ = false;
};

}  // namespace sluice
