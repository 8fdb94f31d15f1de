#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/sockets.h"

namespace sluice::test {

/// A server that keeps the bytes of each connection.
class Keeper {
 public:
  struct Kept {
    std::string bytes;
    Ending ending = Ending::open;
    // Positions in the order of all events of this server:
    std::size_t began = 0;
    std::size_t ended = 0;
    friend bool operator==(const Kept& a, const Kept& b) {
      return a.bytes == b.bytes && a.ending == b.ending;
    }
  };
  /// Returns what to send. Called after each receive with everything received so far, and once more
  /// at the end of the stream.
  using Answer = std::function<std::string(const std::string& so_far, bool ended)>;

  /// Without `answer` it sends nothing. Listens at `unix_path`, or else on loopback.
  explicit Keeper(Answer answer = {}, const std::string& unix_path = {});
  ~Keeper();
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  [[nodiscard]] std::uint16_t port() const { return listener_.port; }
  /// "127.0.0.1:PORT"
  [[nodiscard]] std::string address() const;
  /// Waits until `count` connections have ended. Returns all of them, in the order in which they
  /// began.
  [[nodiscard]] std::vector<Kept> wait_for(std::size_t count);
  /// The maximum number of connections that were open at the same time.
  [[nodiscard]] std::size_t most_at_once() const;

 private:
  void accept();
  void serve(OwnedFd fd, Kept& kept);

  const Answer answer_;
  Listener listener_;
  std::atomic<bool> stopping_ = false;
  std::atomic<std::size_t> clock_ = 0;
  mutable std::mutex mutex_;  // guards the next three, except the Kept of a running connection
  std::list<Kept> kept_;
  std::size_t open_ = 0;
  std::size_t most_ = 0;
  std::list<std::thread> threads_;  // used by the acceptor
  std::thread acceptor_;
};

}  // namespace sluice::test
