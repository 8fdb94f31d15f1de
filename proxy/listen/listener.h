#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "iolib/base/clock.h"
#include "iolib/reactor/reactor.h"
#include "proxy/listen/listen_sockets.h"

namespace sluice {

class Admission;

/// What a listener is for, once it has been opened.
struct ListenUse {
  std::size_t route = 0;                      ///< its number
  std::optional<Congestion> congestion = {};  ///< if that changes
  std::optional<bool> sink = {};              ///< if that changes
};

/// Accepts from one listening socket of a worker until it is paused or drained. Belongs to the
/// worker's thread.
class Listener final : private Operation {
 public:
  /// How long accepting pauses after an error such as EMFILE. Long enough to cost no CPU time,
  /// short enough that clients hardly notice.
  static constexpr Duration kPause = std::chrono::milliseconds(100);

  /// `admission` is borrowed.
  Listener(Admission& admission, ListenSocket socket);

  /// Begins or resumes accepting.
  void start();
  /// Serves another route from now on, or the same in another way.
  void use(const ListenUse& use);
  /// Stops accepting until start().
  void pause();
  /// The same, and another process with the socket may change its options.
  void hold();
  /// After hold(): gives the socket its options back.
  void take_back();
  /// Accepts all queued clients, because close() would reset them, then closes the socket.
  void drain();
  /// The same, but clients that connect meanwhile reach another listener of their address, if there
  /// is one: their SYN is dropped, and they repeat it.
  void retire();
  /// The borrowed socket; -1 once it is closed.
  [[nodiscard]] int fd() const { return socket_.fd.get(); }
  [[nodiscard]] bool closed() const { return !socket_.fd && !in_flight(); }
  [[nodiscard]] bool draining() const { return state_ == State::draining; }
  [[nodiscard]] std::size_t group() const { return socket_.group; }

 private:
  enum class State : std::uint8_t { accepting, paused, draining };

  void complete(const Completion& completion) override;
  void accepted(OwnedFd client);
  void spread_by_hash();
  void close();

  Admission& admission_;
  ListenSocket socket_;
  /// Set once it has changed: clients that were queued before may have it otherwise.
  std::optional<bool> reset_clients_ = socket_.reset_clients;
  std::optional<AcceptedOptions> held_;  ///< at hold()
  State state_ = State::accepting;
};

}  // namespace sluice
