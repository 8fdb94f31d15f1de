#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "iolib/base/owned_fd.h"
#include "tests/support/pattern.h"
#include "tests/support/sockets.h"

namespace sluice::test {

/// A mirror that reads. The test accepts connections one by one, each with its expected bytes. One
/// thread reads them to their end, and sends answers now and then.
class MirrorServer {
 public:
  struct Stream {
    Stream(OwnedFd its_fd, Pattern pattern) : fd(std::move(its_fd)), received(pattern) {}
    OwnedFd fd;
    PatternChecker received;
    bool reset_seen = false;  ///< by a send, which takes the error away
    Ending ending = Ending::open;
    std::atomic<bool> done{false};  ///< the other members may be read
  };

  MirrorServer();
  ~MirrorServer();
  MirrorServer(const MirrorServer&) = delete;
  MirrorServer& operator=(const MirrorServer&) = delete;

  [[nodiscard]] std::uint16_t port() const { return listener_.port; }
  [[nodiscard]] std::string address() const;
  /// Waits for the next connection.
  Stream& accept(Pattern expected);
  /// True if no connection waits to be accepted.
  [[nodiscard]] bool nobody_waits() const;
  /// Waits until all streams have ended; false if they do not.
  [[nodiscard]] bool wait_for_ends();

 private:
  void serve();
  static void step(Stream& stream);

  Listener listener_;
  std::mutex lock_;
  std::deque<Stream> streams_;  ///< grows under lock_
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

/// A mirror that accepts and never reads. It keeps its last `keeps` connections and resets older
/// ones, so that any number can come. Younger ones than `for_at_least` are not reset.
class StuckServer {
 public:
  explicit StuckServer(std::size_t keeps, std::chrono::milliseconds for_at_least = {});
  ~StuckServer();
  StuckServer(const StuckServer&) = delete;
  StuckServer& operator=(const StuckServer&) = delete;

  [[nodiscard]] std::string address() const;
  [[nodiscard]] std::uint64_t accepted() const { return accepted_; }
  /// Closes all that it keeps, and stops listening.
  void stop();

 private:
  void serve();

  std::size_t keeps_;
  std::chrono::milliseconds for_at_least_;
  Listener listener_;
  std::atomic<std::uint64_t> accepted_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace sluice::test
