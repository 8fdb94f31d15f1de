#pragma once

#include <sys/epoll.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <memory_resource>
#include <optional>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "iolib/reactor/reactor.h"

namespace sluice {

/// A Reactor on Boost.Asio over epoll, for hosts without a usable io_uring. Same semantics.
///
/// All descriptors are in one edge-triggered epoll set, because each wait on a descriptor of Asio's
/// costs a system call. When a deadline is near, Asio waits for the set, since its timer is exact.
class AsioReactor final : public Reactor {
 public:
  [[nodiscard]] static Result<std::unique_ptr<AsioReactor>> create();
  ~AsioReactor() override;

  void receive(int fd, Operation& operation, std::size_t max_bytes) override;
  void wait_readable(int fd, Operation& operation) override;
  void wait_end(int fd, Operation& operation) override;
  void wait_writable(int fd, Operation& operation) override;
  void watch_errors(int fd, Operation& operation) override;
  void accept(int listener, Operation& operation) override;
  void accept_one(int listener, Operation& operation) override;
  void cancel(Operation& operation) override;
  void forget(int fd) override;
  void close(OwnedFd fd) override;

 private:
  // What may wait to be read.
  enum class Input : std::uint8_t {
    none,   ///< nothing; an event will report the next input
    bytes,  ///< bytes or connections
    mixed,  ///< also an end, an error or an urgent byte, before which a receive may stop
  };

  // The requests on one descriptor.
  struct Descriptor {
    Operation* reader = nullptr;
    Operation* writer = nullptr;
    Operation* watcher = nullptr;
    std::uint32_t serial = 0;  ///< distinguishes descriptors that had the same number; 0: not used
    Input input = Input::none;
  };

  // What an operation waits for.
  enum Kind : std::uint8_t { kReceive, kReadable, kEnd, kWritable, kWatch, kAccept, kAcceptOne };

  AsioReactor();
  [[nodiscard]] Result<> open();
  [[nodiscard]] bool turn(std::optional<TimePoint> deadline) override;
  [[nodiscard]] std::size_t wait(std::optional<TimePoint> deadline);
  [[nodiscard]] std::size_t collect(std::chrono::milliseconds longest_wait);
  void await_events();
  void wake_at(TimePoint deadline);
  void request(int fd, Operation& operation, Kind kind);
  [[nodiscard]] int begin(Operation& operation);
  void serve(Operation& operation);
  void dispatch(const epoll_event& event);
  [[nodiscard]] static Operation*& place_of(const Operation& operation, Descriptor& descriptor);
  [[nodiscard]] Descriptor* find(int fd, std::uint32_t serial);
  void read_ready(Descriptor& descriptor, int fd);
  void receive_ready(Descriptor& descriptor, int fd);
  void accept_ready(int fd, std::uint32_t serial);

  std::pmr::unsynchronized_pool_resource handlers_;  ///< memory of Asio's handlers
  boost::asio::io_context context_{1};               // used by one thread
  OwnedFd set_;                                      ///< the epoll instance with all descriptors
  boost::asio::posix::stream_descriptor set_stream_{context_};  ///< Asio's view of set_
  bool awaiting_ = false;                                       ///< Asio waits for set_
  std::array<epoll_event, 128> events_;                         ///< of this turn
  std::vector<Descriptor> descriptors_;                         ///< indexed by number
  std::uint32_t serials_ = 0;
  OperationQueue later_;  ///< to try, or to complete, in the next turn
  /// Ends a wait at its deadline.
  boost::asio::steady_timer alarm_{context_};
  std::optional<TimePoint> alarm_at_;  ///< at the deadline or earlier; empty: not set
  std::vector<std::byte> buffer_;
};

}  // namespace sluice
