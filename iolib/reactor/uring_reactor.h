#pragma once

#include <liburing.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/reactor/file_ring.h"
#include "iolib/reactor/reactor.h"

namespace sluice {

/// A Reactor on io_uring (Linux 6.1 or newer: DEFER_TASKRUN, provided buffer rings, multishot
/// accept).
///
/// The requests of a turn are queued. One system call hands them to the kernel and waits for the
/// next completion.
class UringReactor final : public Reactor, public FileRing {
 public:
  /// Creates a reactor for the calling thread. Fails if io_uring is not available: EPERM under a
  /// seccomp filter or kernel.io_uring_disabled, EINVAL on an older kernel, ENOMEM.
  [[nodiscard]] static Result<std::unique_ptr<UringReactor>> create();
  ~UringReactor() override;

  void receive(int fd, Operation& operation, std::size_t max_bytes) override;
  [[nodiscard]] bool send(int fd, std::span<const std::byte> bytes, Sender& sender) override;
  [[nodiscard]] bool send_own(int fd, std::span<const std::byte> bytes, Sender& sender) override;
  void carry_out() override;
  void wait_readable(int fd, Operation& operation) override;
  void wait_end(int fd, Operation& operation) override;
  void wait_writable(int fd, Operation& operation) override;
  void watch_errors(int fd, Operation& operation) override;
  void accept(int listener, Operation& operation) override;
  void accept_one(int listener, Operation& operation) override;
  void cancel(Operation& operation) override;
  void forget(int /*fd*/) override {}
  void close(OwnedFd fd) override;
  void set_flag(int fd, int level, int option) override;

  // FileRing.

  void write_file(int file, std::span<const std::byte> bytes, std::uint64_t offset, bool durable,
                  Operation& operation) override;
  void sync_file(int file, Operation& operation) override;
  void register_buffer(std::span<std::byte> buffer) override;
  void unregister_buffer(std::span<std::byte> buffer) override;

 private:
  // What an operation waits for.
  enum Kind : std::uint8_t { kReceive, kPoll, kEdgePoll, kWatch, kAccept, kFile };
  // A send whose outcome is not reported yet.
  struct Send {
    Sender* sender;
    std::span<const std::byte> bytes;
  };
  class Retry final : public Timer {
   public:
    explicit Retry(UringReactor& reactor) : reactor_(reactor) {}

   private:
    void expired() override {
      reactor_.refused_.run([this](Operation& operation) { reactor_.make_again(operation); });
    }
    UringReactor& reactor_;
  };

  UringReactor() = default;
  [[nodiscard]] Result<> open();
  [[nodiscard]] Result<> provide_buffers();
  [[nodiscard]] bool can_set_flags();
  io_uring_sqe& queue_flag(int fd, int level, int option);
  [[nodiscard]] bool turn(std::optional<TimePoint> deadline) override;
  void wait(std::optional<TimePoint> deadline);
  [[nodiscard]] bool finds_busily(std::optional<TimePoint> deadline);
  [[nodiscard]] bool has_more() const;
  void collect();
  void dispatch(const io_uring_cqe& cqe);
  void report_sends();
  void report(const Send& send, int result);
  [[nodiscard]] bool is_shared(const std::byte* bytes) const;
  void recycle(unsigned buffer);
  void give_back(unsigned buffer);
  [[nodiscard]] unsigned buffer_of(const std::byte* bytes) const;
  void make_again(Operation& operation);
  [[nodiscard]] static bool is_refused(const Operation& operation, int result);
  [[nodiscard]] io_uring_sqe* next_sqe(Operation* operation);
  void poll(int fd, Operation& operation, unsigned events);
  void poll_for_change(Operation& operation);
  [[nodiscard]] bool take_poll(Operation& operation, Completion& completion);
  void end_request(Operation& operation);

  io_uring ring_{};
  bool ring_open_ = false;
  bool sets_flags_ = false;               ///< see can_set_flags()
  io_uring_buf_ring* buffers_ = nullptr;  ///< ring of free buffers, shared with the kernel
  std::vector<std::byte> buffer_bytes_;
  std::vector<std::uint16_t> loans_;       ///< uses of each buffer: its receive, and its send
  std::vector<Send> sends_;                ///< of this turn
  std::vector<Send> reported_;             ///< of the turn before, while they are reported
  std::vector<io_uring_cqe> completions_;  ///< of this turn
  std::span<std::byte> file_buffer_;       ///< registered
  OperationQueue starved_;                 ///< receives that found no free buffer
  OperationQueue refused_;                 ///< requests that the kernel refused: see is_refused()
  Retry retry_{*this};
};

}  // namespace sluice
