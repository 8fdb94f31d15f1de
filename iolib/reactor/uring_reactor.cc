#include "iolib/reactor/uring_reactor.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <functional>
#include <utility>

#include "iolib/base/sanitizers.h"

namespace sluice {
namespace {

// Requests that fit in the queue; beyond that, a turn submits early. A busy worker queues one or
// two for each ready connection in a turn.
constexpr unsigned kSubmissionEntries = 1024;
// Completions that fit in the ring. More go to the kernel's overflow list, which is correct but
// slow.
constexpr unsigned kCompletionEntries = 8192;
// A buffer is in use while its completion is handled, and until the next turn if bytes of it are
// being sent. So one turn can complete half as many receives before some must be made again. A
// power of two.
constexpr unsigned kBuffers = 128;
constexpr unsigned short kBufferGroup = 0;
// Marks a send in the user data of its completion; other requests have a pointer there.
constexpr std::uint64_t kSendMark = 1;
// The most completions for which a queued send waits.
constexpr std::size_t kMostBetweenSubmits = 64;
// SOCKET_URING_OP_SETSOCKOPT of Linux 6.7, which Debian 12's headers lack. Level, option, size and
// address of the value are in the fields addr (lower and upper half), splice_fd_in and addr3.
constexpr std::uint64_t kSetSocketOption = 3;
// The pause before a refused request is made again: see is_refused().
constexpr Duration kRetryPause = std::chrono::milliseconds(10);

std::size_t buffer_ring_bytes() { return kBuffers * sizeof(io_uring_buf); }

}  // namespace

Result<std::unique_ptr<UringReactor>> UringReactor::create() {
  std::unique_ptr<UringReactor> reactor(new UringReactor);
  if (Result<> opened = reactor->open(); opened.has_error()) return opened.error();
  return reactor;
}

Result<> UringReactor::open() {
  if (Result<> mailbox = check_mailbox(); mailbox.has_error()) return mailbox;
  io_uring_params params{};
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP |
                 IORING_SETUP_SUBMIT_ALL;
  params.cq_entries = kCompletionEntries;
  if (int error = io_uring_queue_init_params(kSubmissionEntries, &ring_, &params); error < 0) {
    return Error{-error, "io_uring_setup"};
  }
  ring_open_ = true;
  // Saves a descriptor look-up in each io_uring_enter. Optional, so failure is ignored.
  static_cast<void>(io_uring_register_ring_fd(&ring_));
  sets_flags_ = can_set_flags();
  return provide_buffers();
}

Result<> UringReactor::provide_buffers() {
  void* mapped = ::mmap(nullptr, buffer_ring_bytes(), PROT_READ | PROT_WRITE,
                        MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
  if (mapped == MAP_FAILED) return errno_error("mmap");
  buffers_ = static_cast<io_uring_buf_ring*>(mapped);
  io_uring_buf_ring_init(buffers_);
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uint64_t>(buffers_);
  registration.ring_entries = kBuffers;
  registration.bgid = kBufferGroup;
  if (int error = io_uring_register_buf_ring(&ring_, &registration, 0); error < 0) {
    return Error{-error, "io_uring_register_buf_ring"};
  }
  buffer_bytes_.resize(kBuffers * kReceiveBytes);
  loans_.resize(kBuffers);
  for (unsigned buffer = 0; buffer < kBuffers; ++buffer) recycle(buffer);
  return {};
}

// Whether the kernel sets socket options through a ring: Linux 6.7 or newer.
bool UringReactor::can_set_flags() {
  const OwnedFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return false;
  queue_flag(socket.get(), SOL_SOCKET, SO_KEEPALIVE);
  io_uring_cqe* outcome = nullptr;
  if (io_uring_submit_and_wait(&ring_, 1) < 0 || io_uring_peek_cqe(&ring_, &outcome) != 0) {
    return false;
  }
  const bool set = outcome->res == 0;
  io_uring_cqe_seen(&ring_, outcome);
  return set;
}

UringReactor::~UringReactor() {
  if (ring_open_) io_uring_queue_exit(&ring_);
  if (buffers_ != nullptr) ::munmap(buffers_, buffer_ring_bytes());
}

void UringReactor::recycle(unsigned buffer) {
  io_uring_buf_ring_add(buffers_, &buffer_bytes_[buffer * kReceiveBytes], kReceiveBytes,
                        static_cast<unsigned short>(buffer), io_uring_buf_ring_mask(kBuffers), 0);
  io_uring_buf_ring_advance(buffers_, 1);
}

// Ends one use of the buffer.
void UringReactor::give_back(unsigned buffer) {
  if (--loans_[buffer] == 0) recycle(buffer);
}

bool UringReactor::is_shared(const std::byte* bytes) const {
  const std::less<> before;
  const std::byte* const begin = buffer_bytes_.data();
  return !before(bytes, begin) && before(bytes, begin + buffer_bytes_.size());
}

unsigned UringReactor::buffer_of(const std::byte* bytes) const {
  return static_cast<unsigned>((bytes - buffer_bytes_.data()) /
                               static_cast<std::ptrdiff_t>(kReceiveBytes));
}

io_uring_sqe* UringReactor::next_sqe(Operation* operation) {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  while (sqe == nullptr) {
    // The queue is full: submit it. The kernel takes all of it, or reports EBUSY or EAGAIN for a
    // moment.
    io_uring_submit(&ring_);
    sqe = io_uring_get_sqe(&ring_);
  }
  io_uring_sqe_set_data(sqe, operation);
  return sqe;
}

void UringReactor::receive(int fd, Operation& operation, std::size_t max_bytes) {
  prepare(operation, fd, kReceive);
  operation.max_bytes_ = static_cast<std::uint32_t>(max_bytes);
  io_uring_sqe* sqe = next_sqe(&operation);
  io_uring_prep_recv(sqe, fd, nullptr, max_bytes, 0);
  io_uring_sqe_set_data(sqe, &operation);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = kBufferGroup;
  // Most receives wait for the next message, so a first try on the empty socket would be wasted.
  sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
}

// The kernel carries out the send before io_uring_enter returns. It posts a completion only if the
// send failed or was short. MSG_WAITALL makes a short send count as failed; without it, a short
// send would be a success without a completion.
bool UringReactor::send_own(int fd, std::span<const std::byte> bytes, Sender& sender) {
  assert(!sender.sending_);
  sender.sending_ = true;
  io_uring_sqe* sqe = next_sqe(nullptr);
  io_uring_prep_send(sqe, fd, bytes.data(), bytes.size(),
                     MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL);
  io_uring_sqe_set_data64(sqe, sends_.size() << 1 | kSendMark);
  sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
  sends_.push_back({&sender, bytes});
  return true;
}

bool UringReactor::send(int fd, std::span<const std::byte> bytes, Sender& sender) {
  if (!is_shared(bytes.data())) return false;
  std::uint16_t& loans = loans_[buffer_of(bytes.data())];
  assert(loans > 0);  // the completion's own
  ++loans;
  return send_own(fd, bytes, sender);
}

void UringReactor::poll(int fd, Operation& operation, unsigned events) {
  prepare(operation, fd, kPoll);
  io_uring_sqe* sqe = next_sqe(&operation);
  io_uring_prep_poll_add(sqe, fd, events);
  io_uring_sqe_set_data(sqe, &operation);
  operation.max_bytes_ = events;
}

// After the peer's FIN, every io_uring poll completes at once with POLLRDHUP, even if the caller
// did not ask for it (IO_POLL_UNMASK in io_uring/poll.c). A one-shot poll would do so again and
// again. A multishot poll completes only on changes; it stands until it is ended.
void UringReactor::poll_for_change(Operation& operation) {
  end(operation);
  prepare(operation, operation.fd_, kEdgePoll);
  operation.events_ = 0;
  io_uring_sqe* sqe = next_sqe(&operation);
  io_uring_prep_poll_multishot(sqe, operation.fd_, operation.max_bytes_);
  io_uring_sqe_set_data(sqe, &operation);
}

// Handles a poll's completion. Returns false if the events are not yet those that the caller waits
// for.
bool UringReactor::take_poll(Operation& operation, Completion& completion) {
  const int wanted = static_cast<int>(operation.max_bytes_) | POLLERR | POLLHUP;
  const bool found = completion.result < 0 || (completion.result & wanted) != 0;
  if (completion.more) {
    if (found && operation.events_ == 0) {
      operation.events_ = static_cast<std::uint16_t>(completion.result);
      end_request(operation);
    }
    return false;
  }
  if (operation.kind_ == kEdgePoll && operation.events_ != 0) {
    completion.result = operation.events_;
  } else if (operation.cancelled_ && !found) {
    completion.result = -ECANCELED;
  } else if (!found) {
    poll_for_change(operation);
    return false;
  }
  return true;
}

void UringReactor::wait_readable(int fd, Operation& operation) { poll(fd, operation, POLLIN); }
void UringReactor::wait_end(int fd, Operation& operation) { poll(fd, operation, POLLRDHUP); }
void UringReactor::wait_writable(int fd, Operation& operation) { poll(fd, operation, POLLOUT); }

void UringReactor::watch_errors(int fd, Operation& operation) {
  prepare(operation, fd, kWatch);
  io_uring_sqe* sqe = next_sqe(&operation);
  // Multishot, because a one-shot poll for errors alone completes at once, again and again, on a
  // socket with unread data.
  io_uring_prep_poll_multishot(sqe, fd, 0);
  io_uring_sqe_set_data(sqe, &operation);
}

void UringReactor::accept(int listener, Operation& operation) {
  prepare(operation, listener, kAccept);
  io_uring_sqe* sqe = next_sqe(&operation);
  io_uring_prep_multishot_accept(sqe, listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  io_uring_sqe_set_data(sqe, &operation);
}

void UringReactor::accept_one(int listener, Operation& operation) {
  prepare(operation, listener, kAccept);
  io_uring_sqe* sqe = next_sqe(&operation);
  io_uring_prep_accept(sqe, listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  io_uring_sqe_set_data(sqe, &operation);
}

// A registered buffer can have at most 1 GiB (io_uring_register(2)).
void UringReactor::register_buffer(std::span<std::byte> buffer) {
  constexpr std::size_t kMostBytes = 1 << 30;
  if (buffer.size() > kMostBytes || !file_buffer_.empty()) return;
  const iovec whole{buffer.data(), buffer.size()};
  if (io_uring_register_buffers(&ring_, &whole, 1) == 0) file_buffer_ = buffer;
}

void UringReactor::unregister_buffer(std::span<std::byte> buffer) {
  if (file_buffer_.empty() || buffer.data() != file_buffer_.data()) return;
  file_buffer_ = {};
  static_cast<void>(io_uring_unregister_buffers(&ring_));
}

void UringReactor::write_file(int file, std::span<const std::byte> bytes, std::uint64_t offset,
                              bool durable, Operation& operation) {
  prepare(operation, file, kFile);
  io_uring_sqe* sqe = next_sqe(&operation);
  const auto size = static_cast<unsigned>(bytes.size());
  const std::less_equal<> before;
  if (!file_buffer_.empty() && before(file_buffer_.data(), bytes.data()) &&
      before(bytes.data() + bytes.size(), file_buffer_.data() + file_buffer_.size())) {
    io_uring_prep_write_fixed(sqe, file, bytes.data(), size, offset, 0);
  } else {
    io_uring_prep_write(sqe, file, bytes.data(), size, offset);
  }
  io_uring_sqe_set_data(sqe, &operation);
  if (durable) sqe->rw_flags = RWF_DSYNC;
}

void UringReactor::sync_file(int file, Operation& operation) {
  prepare(operation, file, kFile);
  io_uring_sqe* sqe = next_sqe(&operation);
  io_uring_prep_fsync(sqe, file, IORING_FSYNC_DATASYNC);
  io_uring_sqe_set_data(sqe, &operation);
}

// ThreadSanitizer sees no close in the ring. It would take the next file with this number, which
// another thread may open, for the same file. So its builds close after what is queued.
void UringReactor::close(OwnedFd fd) {
  if (!fd) return;
  if constexpr (kThreadSanitizer) {
    carry_out();
    return;
  }
  io_uring_sqe* sqe = next_sqe(nullptr);
  io_uring_prep_close(sqe, fd.release());
  io_uring_sqe_set_data(sqe, nullptr);
  sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

io_uring_sqe& UringReactor::queue_flag(int fd, int level, int option) {
  // The kernel reads it when it carries out the request.
  static const int on = 1;
  io_uring_sqe* sqe = next_sqe(nullptr);
  io_uring_prep_rw(IORING_OP_URING_CMD, sqe, fd, nullptr, 0, kSetSocketOption);
  sqe->addr = static_cast<std::uint64_t>(option) << 32 | static_cast<std::uint32_t>(level);
  sqe->splice_fd_in = sizeof on;
  sqe->addr3 = reinterpret_cast<std::uint64_t>(&on);
  io_uring_sqe_set_data(sqe, nullptr);
  return *sqe;
}

void UringReactor::set_flag(int fd, int level, int option) {
  if (!sets_flags_) return Reactor::set_flag(fd, level, option);
  queue_flag(fd, level, option).flags |= IOSQE_CQE_SKIP_SUCCESS;
}

// Short of memory, the kernel may take only some of the queue.
void UringReactor::carry_out() {
  do {
    io_uring_submit(&ring_);
  } while (!sends_.empty() && io_uring_sq_ready(&ring_) > 0);
}

void UringReactor::cancel(Operation& operation) {
  if (!operation.in_flight_ || operation.cancelled_) return;
  operation.cancelled_ = true;
  end_request(operation);
}

void UringReactor::end_request(Operation& operation) {
  io_uring_sqe* sqe = next_sqe(nullptr);
  io_uring_prep_cancel64(sqe, reinterpret_cast<std::uint64_t>(&operation), 0);
  io_uring_sqe_set_data(sqe, nullptr);
  sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

void UringReactor::wait(std::optional<TimePoint> deadline) {
  using std::chrono::nanoseconds;
  // With completions ready, liburing's wait only submits. It then does not run the kernel's
  // deferred work, which would wait forever while more than a batch of streams are always ready.
  if (io_uring_cq_ready(&ring_) > 0) {
    io_uring_submit_and_get_events(&ring_);
    return;
  }
  if (finds_busily(deadline)) return;
  __kernel_timespec timeout{};
  if (deadline) {
    const nanoseconds left = std::max(nanoseconds(0), nanoseconds(*deadline - Clock::now()));
    timeout.tv_sec = left / std::chrono::seconds(1);
    timeout.tv_nsec = (left % std::chrono::seconds(1)).count();
  }
  io_uring_cqe* first = nullptr;
  // The result adds nothing to the completion queue: timed out, interrupted, or ready.
  io_uring_submit_and_wait_timeout(&ring_, &first, 1, deadline ? &timeout : nullptr, nullptr);
}

// Submits the queue, then looks at the ring's flags, which needs no system call.
bool UringReactor::finds_busily(std::optional<TimePoint> deadline) {
  bool submitted = false;
  return look_busily(deadline, [&] {
    if (!submitted || has_more()) io_uring_submit_and_get_events(&ring_);
    submitted = true;
    return io_uring_cq_ready(&ring_) > 0;
  });
}

bool UringReactor::turn(std::optional<TimePoint> deadline) {
  wait(deadline);
  // report_sends() needs all sends to be submitted.
  if (!sends_.empty() && io_uring_sq_ready(&ring_) > 0) carry_out();
  refresh_now();
  collect();
  report_sends();
  std::size_t dispatched = 0;
  for (const io_uring_cqe& cqe : completions_) {
    dispatch(cqe);
    // Sends do not wait for the end of a long turn.
    if (++dispatched % kMostBetweenSubmits == 0 && !sends_.empty()) io_uring_submit(&ring_);
  }
  const bool starved = !starved_.empty();
  // The buffers of this turn are free now or in the next turn, so receives that found none are made
  // again.
  starved_.run([this](Operation& operation) { make_again(operation); });
  return starved || has_more();
}

// Takes all completions that are ready. Failures of this turn's sends are among them, before the
// completions of the requests that were waited for.
void UringReactor::collect() {
  completions_.clear();
  for (;;) {
    unsigned head = 0;
    unsigned count = 0;
    io_uring_cqe* cqe = nullptr;
    io_uring_for_each_cqe(&ring_, head, cqe) {
      completions_.push_back(*cqe);
      ++count;
    }
    io_uring_cq_advance(&ring_, count);
    if (!io_uring_cq_has_overflow(&ring_)) return;
    io_uring_get_events(&ring_);
  }
}

// A send without a completion has succeeded. Senders may queue others meanwhile.
void UringReactor::report_sends() {
  if (sends_.empty()) return;
  reported_.swap(sends_);
  for (const io_uring_cqe& cqe : completions_) {
    if ((cqe.user_data & kSendMark) == 0) continue;
    report(std::exchange(reported_[cqe.user_data >> 1], {}), cqe.res);
  }
  for (const Send& send : reported_) {
    if (send.sender != nullptr) report(send, static_cast<int>(send.bytes.size()));
  }
  reported_.clear();
}

void UringReactor::report(const Send& send, int result) {
  send.sender->sending_ = false;
  send.sender->sent(result, send.bytes);
  if (is_shared(send.bytes.data())) give_back(buffer_of(send.bytes.data()));
}

// Whether completions are ready, or the kernel has deferred work until the next call.
bool UringReactor::has_more() const {
  const unsigned flags = __atomic_load_n(ring_.sq.kflags, __ATOMIC_RELAXED);
  return io_uring_cq_ready(&ring_) > 0 ||
         (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

void UringReactor::dispatch(const io_uring_cqe& cqe) {
  auto* operation = static_cast<Operation*>(io_uring_cqe_get_data(&cqe));
  if (operation == nullptr || (cqe.user_data & kSendMark) != 0) return;
  Completion completion{cqe.res, (cqe.flags & IORING_CQE_F_MORE) != 0, {}};
  if (operation->kind_ == kReceive && cqe.res == -ENOBUFS) {
    starved_.add(*operation);
    return;
  }
  if (is_refused(*operation, cqe.res)) {
    refused_.add(*operation);
    if (!retry_.is_set()) set_timer(retry_, now() + kRetryPause);
    return;
  }
  // A multishot poll also reports ends of streams, which the readers handle.
  if (operation->kind_ == kWatch && completion.more && (cqe.res & (POLLERR | POLLHUP)) == 0) return;
  if ((operation->kind_ == kPoll || operation->kind_ == kEdgePoll) &&
      !take_poll(*operation, completion)) {
    return;
  }
  const bool has_buffer = (cqe.flags & IORING_CQE_F_BUFFER) != 0;
  const unsigned buffer = cqe.flags >> IORING_CQE_BUFFER_SHIFT;
  if (has_buffer && cqe.res > 0) {
    completion.data = {&buffer_bytes_[buffer * kReceiveBytes], static_cast<std::size_t>(cqe.res)};
  }
  if (has_buffer) loans_[buffer] = 1;
  completion.more ? operation->complete(completion) : finish(*operation, completion);
  if (has_buffer) give_back(buffer);
}

// Whether the kernel ended the request unasked, for lack of memory or of a thread. That says
// nothing about the descriptor, so the request is made again. False for accepts, whose callers
// pause and try again anyway, and for file writes, whose caller has another way.
bool UringReactor::is_refused(const Operation& operation, int result) {
  if (operation.cancelled_ || operation.kind_ == kAccept || operation.kind_ == kFile) return false;
  // take_poll() ended it, after it had found its events.
  if (operation.kind_ == kEdgePoll && operation.events_ != 0) return false;
  return result == -ECANCELED || result == -EAGAIN || result == -ENOMEM;
}

void UringReactor::make_again(Operation& operation) {
  if (operation.cancelled_) return finish(operation, {-ECANCELED, false, {}});
  end(operation);
  switch (operation.kind_) {
    case kReceive:
      return receive(operation.fd_, operation, operation.max_bytes_);
    case kWatch:
      return watch_errors(operation.fd_, operation);
    default:
      return poll(operation.fd_, operation, operation.max_bytes_);
  }
}

}  // namespace sluice
