#pragma once

#include <chrono>
#include <cstdint>

#include "iolib/base/clock.h"
#include "iolib/reactor/reactor.h"
#include "proxy/listen/listen_sockets.h"

namespace sluice {

class Admission;

/// A worker's end of a listening socket: accepts until it is paused or drained.
class Listener final : private Operation {
 public:
  /// How long accepting rests after EMFILE and its like: long enough to cost nothing, short enough
  /// that a client hardly notices.
  static constexpr Duration kPause = std::chrono::milliseconds(100);

  /// `one_by_one`: nobody is accepted before the one before has been admitted or waits.
  Listener(Admission& admission, ListenSocket socket, bool one_by_one);

  void start();
  /// Accepts nothing until start().
  void pause();
  /// Takes what is queued, for closing resets it, and closes the socket.
  void drain();
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
