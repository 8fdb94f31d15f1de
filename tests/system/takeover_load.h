#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace sluice::test {

/// Clients of a route with `echo:`: some connect all the time, and some keep their connection. All
/// compare every byte.
class EchoLoad {
 public:
  /// Begins, and waits until each has had an answer.
  EchoLoad(std::uint16_t port, std::size_t connectors, std::size_t streams);
  ~EchoLoad() { static_cast<void>(stop()); }
  EchoLoad(const EchoLoad&) = delete;
  EchoLoad& operator=(const EchoLoad&) = delete;

  /// How many short connections have ended well so far, and how many bytes streams have compared.
  [[nodiscard]] std::uint64_t connections() const { return connections_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  /// Waits until both have grown by this much.
  [[nodiscard]] bool goes_on();
  /// Ends all connections in order. Returns the first fault of each client, one a line; empty if
  /// there was none.
  [[nodiscard]] std::string stop();

 private:
  void connect_again_and_again(std::uint64_t seed);
  void stream(std::uint64_t seed);
  void fault(const std::string& text);

  const std::uint16_t port_;
  const std::size_t connectors_;
  const std::size_t streams_;
  std::atomic<bool> stopping_ = false;
  std::atomic<std::uint64_t> connections_ = 0;
  std::atomic<std::uint64_t> bytes_ = 0;
  std::mutex mutex_;  // guards the faults
  std::string faults_;
  std::vector<std::thread> threads_;
};

}  // namespace sluice::test
