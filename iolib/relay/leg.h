#pragma once

#include <cstdint>

#include "iolib/base/owned_fd.h"
#include "iolib/reactor/reactor.h"

namespace sluice {

class Relay;

/// One socket of a relayed connection, and what is known about its end. It belongs to a Relay and
/// owns the socket.
///
/// The leg remembers a reset, because the kernel reports it only once: the first failing call
/// clears the error. A later 0 from recv or splice is then not an end of stream.
class Leg final : private Operation {
 public:
  enum class Kind : std::uint8_t {
    tcp,
    unix_stream,
    device,  ///< accepts all bytes and never sends any (/dev/null)
  };

  Leg(Relay& relay, Reactor& reactor, OwnedFd fd, Kind kind);

  /// Sets the reactor that the leg uses from now on. Nothing may be in flight.
  void set_reactor(Reactor& reactor) { reactor_ = &reactor; }

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] Kind kind() const { return kind_; }
  /// Whether a call or the error watch found the connection broken.
  [[nodiscard]] bool was_reset() const { return reset_; }
  /// Records that the connection is broken. The first call also reports it to the relay.
  void mark_reset();

  /// Whether a 0 that was just read is a real end of stream. A TCP connection that is closed before
  /// our own FIN went out was reset.
  [[nodiscard]] bool end_is_orderly();

  /// Sends a FIN, once.
  void send_fin();

  /// The bytes in our send queue that the peer has not acknowledged; 0 if the leg is not TCP.
  [[nodiscard]] std::uint64_t unacknowledged_bytes() const;
  /// True if the peer has acknowledged all bytes, and our FIN if one was sent.
  [[nodiscard]] bool all_acknowledged() const { return send_queue_bytes() == 0; }
  /// The number of bytes that wait to be received.
  [[nodiscard]] std::size_t unread_bytes() const;
  /// Whether something waits to be received: bytes (even fewer than the low-water mark), an end or
  /// an error.
  [[nodiscard]] bool has_input() const;
  /// Whether the socket can take bytes, or has failed.
  [[nodiscard]] bool has_room() const;
  /// Discards a bounded amount of the bytes that the peer sent. Marks the leg reset if a receive
  /// shows it.
  void discard_received();

  /// Starts an error watch, which reports errors even while nothing is read from or written to the
  /// socket.
  void watch();
  /// Ends the error watch. The watch is gone when in_flight() returns false.
  void unwatch();
  using Operation::in_flight;
  [[nodiscard]] bool watched() const { return in_flight() && !unwatching_; }

  /// Sets SO_RCVLOWAT: the socket becomes readable only when `bytes` bytes or an end have come.
  void set_receive_low_water(int bytes);

  /// Closes the socket. If `abortive`, a TCP socket sends a reset; a unix socket has none.
  void close(bool abortive);

 private:
  void complete(const Completion& completion) override;
  [[nodiscard]] std::uint64_t send_queue_bytes() const;

  Relay& relay_;
  Reactor* reactor_;
  OwnedFd fd_;
  Kind kind_;
  bool reset_ = false;
  bool fin_sent_ = false;
  bool unwatching_ = false;
  int low_water_bytes_ = 1;
};

}  // namespace sluice
