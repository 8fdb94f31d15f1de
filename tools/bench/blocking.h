#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "iolib/base/owned_fd.h"
#include "tools/bench/content.h"
#include "tools/bench/engine.h"
#include "tools/bench/exchanger.h"
#include "tools/bench/protocol.h"

// The ends of Threading::per_connection: message.h and server.cc have those of Threading::loop.
namespace sluice::bench {

/// The load's end of a ping-pong: sends a message and compares the answer.
class BlockingPing final : public Exchanger {
 public:
  /// `fd` comes from connect_to(). `control` must outlive it.
  BlockingPing(OwnedFd fd, Control& control, const Pace& pace, std::uint64_t number,
               std::size_t size_bytes);

 private:
  void exchange() override;
  void finish() override;
  [[nodiscard]] std::size_t receive();

  OwnedFd fd_;
  const Content& content_ = Content::instance();
  std::uint64_t number_;
  std::uint64_t trips_ = 0;
  std::size_t size_bytes_;
  std::vector<char> answer_;  ///< at most this much of an answer is received at once
};

/// The serving end's threads. Each serves one connection, until that ends, and then waits for
/// another. A connection that finds no thread free gets a new one.
class Attendants {
 public:
  static constexpr std::size_t kMaxThreads = kMaxThreadedConnections;

  /// `control` must outlive it.
  explicit Attendants(Control& control) : control_(control) {}
  /// Fails the run if connections are still served, and joins all threads.
  ~Attendants();
  Attendants(const Attendants&) = delete;
  Attendants& operator=(const Attendants&) = delete;

  /// Serves a connection with the role `echo` or `call`. Fails the run if no thread can. Any
  /// thread.
  void serve(OwnedFd fd, const Hello& hello);
  /// Whether connections are still served. Any thread.
  [[nodiscard]] bool busy();

 private:
  struct Arrival {
    OwnedFd fd;
    Hello hello;
  };

  void run();
  void attend(int fd, const Hello& hello) const;
  void echo(int fd, std::size_t size_bytes) const;

  Control& control_;
  std::mutex lock_;
  std::condition_variable arrival_;
  std::deque<Arrival> arrived_;  ///< guarded by lock_, as are all below
  std::vector<std::thread> threads_;
  std::size_t free_ = 0;  ///< threads that wait
  bool ending_ = false;
};

}  // namespace sluice::bench
