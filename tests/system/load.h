#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "iolib/base/owned_fd.h"
#include "tests/support/pattern.h"
#include "tests/support/sockets.h"

namespace sluice::test {

/// Lets this process and its children have this many descriptors; returns how many they can have.
std::size_t allow_descriptors(std::size_t wanted);

/// Servers on loopback, all on one thread. Each greets a connection with a byte, its number, and
/// then sends back what comes. After the end of a stream it ends its own.
class EchoServers {
 public:
  explicit EchoServers(std::size_t count);
  ~EchoServers();
  EchoServers(const EchoServers&) = delete;
  EchoServers& operator=(const EchoServers&) = delete;

  [[nodiscard]] std::uint16_t port(std::size_t number) const { return listeners_[number].port; }
  /// "127.0.0.1:PORT"
  [[nodiscard]] std::string address(std::size_t number) const;

 private:
  struct Connection;
  void serve();
  void accept_at(std::size_t number);
  void step(Connection& connection);

  std::vector<Listener> listeners_;
  OwnedFd epoll_, stop_;
  std::vector<std::unique_ptr<Connection>> connections_;  ///< by descriptor; null: not open
  std::thread thread_;
};

/// A connection to an EchoServers that has been tried.
struct Attempt {
  enum class Fate : std::uint8_t {
    served,
    refused,    ///< nobody listens
    reset,      ///< or ended before its time
    wrong,      ///< other bytes came back
    timed_out,  ///< nothing came for kPatience
  };
  Fate fate = Fate::timed_out;
  std::size_t server = 0;  ///< which one, if it was served
  OwnedFd fd;              ///< open, if it was to be kept
};
[[nodiscard]] const char* name_of(Attempt::Fate fate);
/// Connects, is greeted, exchanges some bytes, and ends in order; or keeps the connection.
[[nodiscard]] Attempt attempt(std::uint16_t port, std::mt19937_64& random, bool keeps = false);

/// Connections to EchoServers that stay open, on a thread of their own. Every byte that comes back
/// is compared.
class HeldConnections {
 public:
  /// `bytes_per_second`: of all streams together, in each direction.
  explicit HeldConnections(double bytes_per_second);
  ~HeldConnections();
  HeldConnections(const HeldConnections&) = delete;
  HeldConnections& operator=(const HeldConnections&) = delete;

  // These take a connection that was greeted.
  void hold(OwnedFd fd);    ///< exchanges a few bytes from time to time
  void stream(OwnedFd fd);  ///< exchanges as many as the rate allows

  struct Counts {
    std::uint64_t connections = 0;
    std::uint64_t exchanges = 0;  ///< of those that are held
    std::uint64_t streamed_bytes = 0;
    std::uint64_t broken = 0;  ///< reset, or ended before their time
    std::uint64_t wrong = 0;   ///< other bytes came back
    std::uint64_t stuck = 0;   ///< gave no answer at the end
  };
  [[nodiscard]] Counts counts() const;
  /// Empty, or what went wrong so far, in words.
  [[nodiscard]] std::string trouble() const;
  /// Each connection exchanges bytes once more, then ends in order. Returns the final counts.
  Counts end();

 private:
  struct Connection;
  void run();
  void take_new();
  void exchange_some();
  void stream_some(double seconds);
  void send(Connection& connection, std::size_t bytes);
  void receive(std::size_t index);
  void finish();
  void fail(Connection& connection, std::atomic<std::uint64_t>& count);

  const double bytes_per_second_;
  OwnedFd epoll_;
  std::mutex mutex_;  ///< guards the next one
  std::vector<std::unique_ptr<Connection>> new_;
  std::vector<std::unique_ptr<Connection>> all_;  ///< used by the thread
  std::vector<std::size_t> streams_;              ///< indexes
  std::size_t next_held_ = 0;
  double allowance_bytes_ = 0;
  std::mt19937_64 random_;
  std::atomic<std::uint64_t> connections_{0}, exchanges_{0}, streamed_bytes_{0}, broken_{0},
      wrong_{0}, stuck_{0};
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

/// Calls a function again and again, on threads of its own, until it is destroyed.
class Repeated {
 public:
  using Task = std::function<void(std::mt19937_64& random)>;
  /// `per_second`: at most so many calls of each thread.
  Repeated(std::size_t threads, double per_second, Task task);
  ~Repeated() { end(); }
  Repeated(const Repeated&) = delete;
  Repeated& operator=(const Repeated&) = delete;

  void end();

 private:
  std::atomic<bool> ending_{false};
  std::vector<std::thread> threads_;
};

/// How connections that come all the time fare.
class ConnectCounts {
 public:
  void add(Attempt::Fate fate) { ++counts_.at(static_cast<std::size_t>(fate)); }
  [[nodiscard]] std::uint64_t of(Attempt::Fate fate) const {
    return counts_.at(static_cast<std::size_t>(fate));
  }
  /// Empty if all were served, otherwise what happened to the others.
  [[nodiscard]] std::string trouble() const;

 private:
  std::array<std::atomic<std::uint64_t>, 5> counts_{};
};

}  // namespace sluice::test
