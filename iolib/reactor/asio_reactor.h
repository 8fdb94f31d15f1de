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

/// A Reactor on Boost.Asio over epoll, for where io_uring is not to be had; the same semantics.
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

  // What is wanted of one descriptor. A wait at Asio, once begun, is left to finish whoever still
  // wants it: cancelling at Asio would hit every wait on the descriptor.
  struct Descriptor {
    explicit Descriptor(Stream opened) : stream(std::move(opened)) {}
    Stream stream;
    Operation* reader = nullptr;
    Operation* writer = nullptr;
    Operation* watcher = nullptr;
    bool reading = false;  ///< a wait for reading is under way at Asio
    bool writing = false;
    std::uint64_t serial = 0;  ///< tells this descriptor from an earlier one of the same number
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

  boost::asio::io_context context_{1};                    // one thread
  std::vector<std::unique_ptr<Descriptor>> descriptors_;  ///< by number
  std::uint64_t serials_ = 0;
  /// Error watches live in an epoll of their own, edge-triggered and for no events but errors:
  /// Asio's own wait for errors also asks for EPOLLPRI, and spins behind one urgent byte.
  OwnedFd watches_;
  std::unique_ptr<Stream> watches_stream_;
  /// Ends a wait at its deadline, by Asio's timerfd: epoll_wait knows whole milliseconds only.
  boost::asio::steady_timer alarm_{context_};
  std::optional<TimePoint> alarm_at_;  ///< not later than the deadline; nothing: it is not set
  std::vector<std::byte> buffer_;
};

}  // namespace sluice
