#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "iolib/reactor/reactor.h"

namespace sluice {

/// A Reactor on Boost.Asio over epoll, for hosts without a usable io_uring. Same semantics.
class AsioReactor final : public Reactor {
 public:
  [[nodiscard]] static Result<std::unique_ptr<AsioReactor>> create();
  ~AsioReactor() override;

  void receive(int fd, Operation& operation, std::size_t max_bytes) override;
  void wait_readable(int fd, Operation& operation) override;
  void wait_writable(int fd, Operation& operation) override;
  void watch_errors(int fd, Operation& operation) override;
  void accept(int listener, Operation& operation) override;
  void accept_one(int listener, Operation& operation) override;
  void cancel(Operation& operation) override;
  void forget(int fd) override;

 private:
  using Stream = boost::asio::posix::stream_descriptor;

  // The requests on one descriptor. A wait that Asio has begun always runs to its end, even if no
  // request needs it any more: cancelling it would end every wait on the descriptor.
  struct Descriptor {
    explicit Descriptor(Stream opened) : stream(std::move(opened)) {}
    Stream stream;
    Operation* reader = nullptr;
    Operation* writer = nullptr;
    Operation* watcher = nullptr;
    bool reading = false;  ///< Asio waits for reading
    bool writing = false;
    std::uint64_t serial = 0;  ///< distinguishes descriptors that had the same number
  };

  // What an operation waits for.
  enum Kind : std::uint8_t { kReceive, kReadable, kWritable, kWatch, kAccept, kAcceptOne };

  AsioReactor();
  [[nodiscard]] Result<> open();
  [[nodiscard]] bool turn(std::optional<TimePoint> deadline) override;
  [[nodiscard]] Descriptor* find(int fd, std::uint64_t serial);
  [[nodiscard]] Descriptor* descriptor_of(int fd, Operation& operation);
  void begin_reading(int fd, Operation& operation, std::uint8_t kind);
  void await_reading(Descriptor& descriptor, int fd);
  void await_writing(Descriptor& descriptor, int fd);
  void await_errors();
  void wake_at(TimePoint deadline);
  void read_ready(int fd, std::uint64_t serial);
  void write_ready(int fd, std::uint64_t serial);
  void errors_ready();
  void receive_ready(Descriptor& descriptor, int fd);
  void accept_ready(int fd, std::uint64_t serial);
  void finish_later(Operation& operation, int result);

  boost::asio::io_context context_{1};                    // used by one thread
  std::vector<std::unique_ptr<Descriptor>> descriptors_;  ///< indexed by descriptor number
  std::uint64_t serials_ = 0;
  /// An epoll instance for error watches alone: edge-triggered, with errors as its only events.
  /// Asio's own wait for errors also asks for EPOLLPRI, and would complete forever after one urgent
  /// byte.
  OwnedFd watches_;
  std::unique_ptr<Stream> watches_stream_;
  /// Ends a wait at its deadline with Asio's timerfd, because epoll_wait counts in whole
  /// milliseconds.
  boost::asio::steady_timer alarm_{context_};
  std::optional<TimePoint> alarm_at_;  ///< at the deadline or earlier; empty: not set
  std::vector<std::byte> buffer_;
};

}  // namespace sluice
