#pragma once

#include <cstdint>

#include "iolib/base/owned_fd.h"
#include "iolib/reactor/reactor.h"

namespace sluice {

class Relay;

/// One socket of a relayed connection, with what is known about its end.
///
/// Whether it was reset is remembered here, because the kernel tells it only once: the first
/// failing call takes the error away, and a later 0 from recv or splice is then not an end of
/// stream.
class Leg final : private Operation {
 public:
  enum class Kind : std::uint8_t {
    tcp,
    unix_stream,
    device,  ///< takes everything, gives nothing (/dev/null)
  };

  Leg(Relay& relay, Reactor& reactor, OwnedFd fd, Kind kind);

  /// The relay goes on with another reactor; nothing is in flight.
  void set_reactor(Reactor& reactor) { reactor_ = &reactor; }

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] Kind kind() const { return kind_; }
  /// Some call, or the error watch, found the connection broken.
  [[nodiscard]] bool was_reset() const { return reset_; }
  /// Remembers it, and tells the relay the first time.
  void mark_reset();

  /// Looks whether a 0 that was just read is a real end of stream: a TCP connection that is closed
  /// although our own FIN never went out was reset.
  [[nodiscard]] bool end_is_orderly();

  /// Passes on an end of stream.
  void send_fin();

  /// Bytes in our send queue that the peer has not acknowledged; 0 for what is not TCP.
  [[nodiscard]] std::uint64_t unacknowledged_bytes() const;
  /// True if there are none, and the peer has acknowledged our FIN as well if one went out.
  [[nodiscard]] bool all_acknowledged() const { return send_queue_bytes() == 0; }
  /// Bytes that wait to be received.
  [[nodiscard]] std::size_t unread_bytes() const;
  /// Something waits to be received, be it an end or an error, or less than the low-water mark.
  [[nodiscard]] bool has_input() const;
  /// It takes bytes, or has failed.
  [[nodiscard]] bool has_room() const;
  /// Throws away what the peer sent; marks the leg reset if that shows it.
  void discard_received();

  /// Has errors reported even while nothing is read from or written to the socket.
  void watch();
  /// Ends the watch; it is gone when in_flight() says so.
  void unwatch();
  using Operation::in_flight;
  [[nodiscard]] bool watched() const { return in_flight() && !unwatching_; }

  /// SO_RCVLOWAT: the socket is not readable before so many bytes have come, or an end.
  void set_receive_low_water(int bytes);

  /// Closes the socket: with a reset if `abortive`, which a unix socket does not know.
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
