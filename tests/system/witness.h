#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/sockets.h"

namespace sluice::test {

/// Stands before a server and writes down all that passes, by reading and writing: what one end of
/// the path under test has sent and received.
class Witness {
 public:
  explicit Witness(std::uint16_t target);
  /// The connections have to have ended, or to be about to.
  ~Witness();
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;

  [[nodiscard]] std::uint16_t port() const { return listener_.port; }

  struct Connection {
    std::string address;  ///< its own towards the target
    std::string sent;     ///< towards the target
    std::string received;
  };
  /// Takes no more connections, and waits for the end of those that there are.
  [[nodiscard]] const std::list<Connection>& end();

 private:
  void serve();

  Listener listener_ = listen_tcp();
  std::uint16_t target_;
  std::list<Connection> connections_;  ///< of the serving thread until it has ended
  std::vector<std::jthread> pumps_;
  OwnedFd stop_;
  std::thread server_;
};

}  // namespace sluice::test
