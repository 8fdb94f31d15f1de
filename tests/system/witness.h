#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/sockets.h"

namespace sluice::test {

/// Stands in front of a server and logs everything that passes: what one end of the path under test
/// has sent and received.
class Witness {
 public:
  explicit Witness(std::uint16_t target);
  /// By then the connections have ended, or are about to.
  ~Witness();
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;

  [[nodiscard]] std::uint16_t port() const { return listener_.port; }

  struct Connection {
    std::string address;  ///< its own address towards the target
    std::string sent;     ///< towards the target
    std::string received;
  };
  /// Accepts no more connections, and waits for the present ones to end.
  [[nodiscard]] const std::list<Connection>& end();

 private:
  void serve();

  Listener listener_ = listen_tcp();
  std::uint16_t target_;
  std::list<Connection> connections_;  ///< used by the serving thread until it has ended
  std::vector<std::jthread> pumps_;
  OwnedFd stop_;
  std::thread server_;
};

}  // namespace sluice::test
