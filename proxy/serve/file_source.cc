#include "proxy/serve/file_source.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "iolib/base/endpoint.h"
#include "iolib/base/send_queue.h"
#include "iolib/pipe/splice.h"
#include "proxy/serve/worker.h"

namespace sluice {

/// The file that a route sends. The file thread may use it for longer than the session exists.
struct OpenedFile {
  explicit OpenedFile(std::string its_path) : path(std::move(its_path)) {}
  void open();
  void read(const FileRange& range);
  [[nodiscard]] std::uint64_t size_now() const;

  std::string path;
  OwnedFd fd;
  std::uint64_t size_bytes = 0;  ///< at open; also 0 if unknown, as in /proc
  std::vector<std::byte> part;   ///< what read() returned; empty at the end of the file
  std::optional<Error> error;
};

// May block on a disk or a network filesystem, but not on a FIFO's writer.
void OpenedFile::open() {
  fd = OwnedFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  struct stat about {};
  if (!fd || ::fstat(fd.get(), &about) != 0) {
    error = errno_error("open " + path);
  } else if (!S_ISREG(about.st_mode)) {
    error = Error{0, path + " is not a regular file"};
  }
  size_bytes = static_cast<std::uint64_t>(about.st_size);
}

// May find data after the previous end of the file, which may have grown.
void OpenedFile::read(const FileRange& range) {
  part.resize(range.size_bytes);
  ssize_t got = 0;
  do {
    got = ::pread(range.file, part.data(), part.size(), static_cast<off_t>(range.offset));
  } while (got < 0 && errno == EINTR);
  if (got < 0) error = errno_error("read " + path);
  part.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
}

std::uint64_t OpenedFile::size_now() const {
  struct stat about {};
  return ::fstat(fd.get(), &about) == 0 ? static_cast<std::uint64_t>(about.st_size) : size_bytes;
}

namespace {

// The bytes that a file route reads ahead and sends before other connections get their turn.
constexpr std::size_t kFileTurnBytes = 1 << 20;
// The bytes that a copying route reads at a time.
constexpr std::size_t kCopiedPartBytes = 256 << 10;

// The bytes, of `sent`, that the peer's TCP has acknowledged.
std::uint64_t acknowledged_bytes(int fd, std::uint64_t sent) {
  return sent - std::min(sent, send_queue_bytes(fd));
}

// Tells whether the file or the socket made a sendfile fail.
EndReason failed_send(int error) {
  return error == EIO || error == ESTALE ? EndReason::file_failed : EndReason::client_reset;
}

}  // namespace

FileSource::FileSource(Worker& worker, const Route& route, int client)
    : worker_(worker),
      route_(route),
      client_(client),
      errand_(*route.files),
      file_(std::make_shared<OpenedFile>(std::get<FileEndpoint>(route.config.target()).path)),
      throttle_(throttle_to_client(route)) {}

FileSource::~FileSource() { worker_.reactor().forget(errand_.done_fd()); }

Task<EndReason> FileSource::open() {
  if (errand_.done_fd() < 0) co_return failed(Error{EMFILE, "eventfd"});
  errand_.begin([file = file_] { file->open(); }, FileThread::Errand::Place::first);
  const int waited = co_await done(route_.config.connect_timeout);
  if (waited < 0) co_return failed(Error{-waited, "open " + file_->path});
  co_return file_->error ? failed(*file_->error) : EndReason::none;
}

Task<EndReason> FileSource::send(capture::SideTap* tap) {
  tap_ = tap;
  copies_ = tap_ != nullptr;  // a tap does not see what sendfile sends
  if (tap_ != nullptr) tap_->set_wake([this] { wake(); });
  EndReason end = co_await send_parts();
  const bool whole = end == EndReason::closed;
  if (tap_ != nullptr) whole ? tap_->eof(sent_) : tap_->reset(tap_->seen_bytes());
  if (whole) {
    static_cast<void>(::shutdown(client_, SHUT_WR));
    end = co_await await_end();
  }
  if (tap_ != nullptr) {
    tap_->set_wake(nullptr);
    tap_->closed({tap_->seen_bytes(), sent_, acknowledged_bytes(client_, sent_)});
  }
  co_return end;
}

// Sends the file part by part. Before each send but the first, it waits until the socket is
// writable; then other connections get their turn.
Task<EndReason> FileSource::send_parts() {
  std::uint64_t at_hand = 0;  // bytes before this offset can be sent without blocking
  for (bool waits = false; !stopped(); waits = true) {
    if (at_hand == sent_) {
      if (!copies_ && is_whole()) co_return EndReason::closed;
      const FileRange part = next_part();
      if (part.size_bytes == 0) {
        co_await hold();
        continue;
      }
      int waited = 0;
      if (!brings_in_now(part)) waited = co_await bring_in(part);
      if (waited < 0) co_return failed(Error{-waited, "read " + file_->path});
      if (file_->error) co_return failed(*file_->error);
      if (copies_ && file_->part.empty()) co_return ended();
      at_hand += copies_ ? file_->part.size() : part.size_bytes;
      if (tap_ != nullptr) co_await show();
    }
    if (waits) {
      const int room = co_await ready(client_, For::writing, route_.config.idle_timeout);
      if (room == -ETIMEDOUT) co_return EndReason::idle_timeout;
    }
    const std::size_t most = throttle_ ? co_await allowed(at_hand - sent_) : at_hand - sent_;
    if (stopped()) break;
    const Transfer sent = send_some(at_hand - sent_, most);
    if (throttle_) throttle_->spend(worker_.reactor().now(), sent.bytes);
    if (sent.status == Transfer::Status::end) co_return ended();
    if (sent.status == Transfer::Status::failed) {
      if (copies_ || sent.error != EINVAL) co_return failed_send(sent.error);
      copies_ = true;
      at_hand = sent_;
    }
    count(sent.bytes);
  }
  co_return EndReason::none;
}

void FileSource::count(std::size_t bytes) {
  Moved& moved = worker_.traffic(route_).to_client;
  sent_ += bytes;
  moved.forwarded_bytes.add(bytes);
  if (copies_) return;
  spliced_ += bytes;
  moved.spliced_bytes.add(bytes);
}

// Whether all of the file is sent and nothing was appended meanwhile.
bool FileSource::is_whole() const {
  return sent_ > 0 && sent_ == file_->size_bytes && file_->size_now() <= sent_;
}

// The next part to send. Sendfile sends up to the size that the file had at open; what follows is
// copied. Empty if the tap takes nothing now.
FileRange FileSource::next_part() {
  const bool sized = sent_ < file_->size_bytes;
  if (!sized) copies_ = true;
  std::uint64_t most = copies_ ? kCopiedPartBytes : kFileTurnBytes;
  if (tap_ != nullptr) most = std::min<std::uint64_t>(most, tap_->allowance());
  if (sized) most = std::min(most, file_->size_bytes - sent_);
  return {file_->fd.get(), sent_, most};
}

// Gets the part into the page cache or, to be copied, into memory, if that does not block. Returns
// false otherwise.
bool FileSource::brings_in_now(const FileRange& part) {
  if (sent_ >= file_->size_bytes || !in_page_cache(part)) return false;
  if (copies_) file_->read(part);
  return true;
}

// Does the same on the file thread. Returns -errno if that fails.
Task<int> FileSource::bring_in(FileRange part) {
  errand_.begin(
      [file = file_, part, copies = copies_] { copies ? file->read(part) : read_through(part); },
      FileThread::Errand::Place::last);
  co_return co_await done(route_.config.idle_timeout);
}

// Shows the tap what was read, then waits until the tap lets it be sent.
Task<> FileSource::show() {
  tap_->append(sent_, file_->part);
  while (tap_->watermark() < sent_ + file_->part.size() && !stopped()) co_await hold();
}

// Waits until the limit on bandwidth lets some of the `bytes` go, and returns how many. The file
// thread has no work then, so only stop() ends a wait early.
Task<std::size_t> FileSource::allowed(std::size_t bytes) {
  while (!stopped()) {
    const TimePoint now = worker_.reactor().now();
    const std::size_t most = throttle_->ask(now, bytes);
    if (most > 0) co_return most;
    Reactor::Wait wait(worker_.reactor(), errand_.done_fd(), For::reading,
                       throttle_->next_look(now));
    pending_ = &wait;
    static_cast<void>(co_await wait);
    pending_ = nullptr;
  }
  co_return 0;
}

// Sends at most `most` of the last `bytes` that were read.
Transfer FileSource::send_some(std::size_t bytes, std::size_t most) {
  if (!copies_) return send_file(client_, file_->fd.get(), sent_, most);
  return send_bytes(client_, std::span(file_->part).last(bytes).first(most));
}

// The file has no more data. An end before the size at open is an error if the file has been
// truncated, but normal if its size means nothing, as in /sys.
EndReason FileSource::ended() {
  if (sent_ >= file_->size_bytes || file_->size_now() >= file_->size_bytes) {
    return EndReason::closed;
  }
  return failed(Error{0, file_->path + " became shorter"});
}

EndReason FileSource::failed(const Error& error) {
  if (!stopped()) worker_.upstream_failed(route_, nullptr, error);
  return EndReason::file_failed;
}

// Reads and discards what the client sends until it ends. Closing with unread data would send a
// reset, which discards what the client has not acknowledged yet.
Task<EndReason> FileSource::await_end() {
  std::array<std::byte, 4096> waste;
  while (!stopped()) {
    const ssize_t got = ::recv(client_, waste.data(), waste.size(), MSG_DONTWAIT);
    if (got == 0) break;
    if (got < 0 && errno != EAGAIN && errno != EINTR) co_return EndReason::client_reset;
    const int input = co_await ready(client_, For::reading, route_.config.half_close_timeout);
    if (input == -ETIMEDOUT) co_return EndReason::half_close_timeout;
  }
  co_return EndReason::closed;
}

// --- Waiting ---

// Waits until the file thread is done. Returns a positive value, or -errno if it is not done in
// time.
Task<int> FileSource::done(Duration limit) {
  const int result = co_await ready(errand_.done_fd(), For::reading, limit);
  if (result > 0) errand_.finish();
  co_return result;
}

// Waits for the tap, without a deadline, because this is not idleness of the client. The file
// thread has no work then, so only wake() and stop() end the wait.
Task<> FileSource::hold() {
  assert(!stopped());
  state_ = State::held;
  static_cast<void>(co_await ready(errand_.done_fd(), For::reading, Duration::zero()));
}

void FileSource::wake() {
  if (state_ == State::held) end_wait(State::running);
}
void FileSource::stop() { end_wait(State::stopped); }

void FileSource::end_wait(State state) {
  state_ = state;
  if (pending_ != nullptr) worker_.reactor().cancel(*pending_);
}

// Waits until `fd` is ready, at most for `limit` (0: no limit). Returns poll events, or -errno.
// While the client still takes what was sent, the limit begins anew.
Task<int> FileSource::ready(int fd, For what, Duration limit) {
  SendQueueWatch queue;
  int result = 0;
  do {
    if (stopped()) co_return -ECANCELED;
    const TimePoint deadline =
        limit > Duration::zero() ? worker_.reactor().now() + limit : TimePoint::max();
    Reactor::Wait wait(worker_.reactor(), fd, what, deadline);
    pending_ = &wait;
    result = co_await wait;
    pending_ = nullptr;
  } while (result == -ETIMEDOUT && queue.drains(send_queue_bytes(client_)));
  co_return stopped() ? -ECANCELED : result;
}

}  // namespace sluice
