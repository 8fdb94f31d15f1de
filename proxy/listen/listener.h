#pragma once

#include <chrono>
#include <cstdint>

#include "iolib/base/clock.h"
#include "iolib/reactor/reactor.h"
#include "proxy/listen/listen_sockets.h"

namespace sluice {

class Admission;

/// Accepts from one listening socket of a worker until it is paused or drained. Belongs to the
/// worker's thread.
class Listener final : private Operation {
 public:
  /// How long accepting pauses after an error such as EMFILE. Long enough to cost no CPU time,
  /// short enough that clients hardly notice.
  static constexpr Duration kPause = std::chrono::milliseconds(100);

  /// `admission` is borrowed. With `one_by_one` the next client is accepted only after the last one
  /// was admitted or waits.
  Listener(Admission& admission, ListenSocket socket, bool one_by_one);

  /// Begins or resumes accepting.
  void start();
  /// Stops accepting until start().
  void pause();
  /// Accepts all queued clients, because close() would reset them, then closes the socket.
  void drain();
  /// The borrowed socket; -1 once it is closed.
  [[nodiscard]] int fd() const { return socket_.fd.get(); }
  [[nodiscard]] bool closed() const { return !socket_.fd && !in_flight(); }

 private:
  enum class State : std::uint8_t { accepting, paused, draining };

  void complete(const Completion& completion) override;
  void spread_by_hash();
  void close();

  Admission& admission_;
  ListenSocket socket_;
  const bool one_by_one_;
  State state_ = State::accepting;
};

}  // namespace sluice
