#include "proxy/serve/file_source.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
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

/// What a file route sends. The file thread may be busy with it longer than the session is.
struct OpenedFile {
  explicit OpenedFile(std::string its_path) : path(std::move(its_path)) {}
  void open();
  void read(const FileRange& range);
  [[nodiscard]] std::uint64_t size_now() const;

  std::string path;
  OwnedFd fd;
  std::uint64_t size_bytes = 0;  ///< when it was opened; 0 as well where nobody knows, as in /proc
  std::vector<std::byte> part;   ///< what read() found, none of it at the end
  std::optional<Error> error;
};

// May wait for a disk or a network filesystem; does not wait for a FIFO's writer.
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

// Behind the end of a file there may be more by now.
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

// What a file route reads ahead and then sends before another connection has its turn.
constexpr std::size_t kFileTurnBytes = 1 << 20;
// What one that copies reads at a time.
constexpr std::size_t kCopiedPartBytes = 256 << 10;

// Of `sent` bytes, those that the far end's TCP has confirmed.
std::uint64_t acknowledged_bytes(int fd, std::uint64_t sent) {
  return sent - std::min(sent, send_queue_bytes(fd));
}

// A failed sendfile is the socket's doing or the file's.
EndReason failed_send(int error) {
  return error == EIO || error == ESTALE ? EndReason::file_failed : EndReason::client_reset;
}

}  // namespace

FileSource::FileSource(Worker& worker, const Route& route, int client)
    : worker_(worker),
      reactor_(worker.reactor()),
      route_(route),
      client_(client),
      errand_(worker.files(route)),
      file_(std::make_shared<OpenedFile>(std::get<FileEndpoint>(route.config.to).path)) {}

FileSource::~FileSource() { reactor_.forget(errand_.done_fd()); }

void FileSource::stop() {
  stopped_ = true;
  if (pending_ != nullptr) reactor_.cancel(*pending_);
  wake();
}

Task<Result<>> FileSource::open() {
  if (errand_.done_fd() < 0) co_return Error{EMFILE, "eventfd"};
  errand_.begin([file = file_] { file->open(); }, FileThread::Errand::Place::first);
  const int waited = co_await done(reactor_.now() + route_.config.connect_timeout);
  if (waited < 0) co_return Error{-waited, "open " + file_->path};
  if (file_->error) co_return *file_->error;
  co_return Result<>();
}

Task<EndReason> FileSource::send(capture::SideTap* tap) {
  tap_ = tap;
  if (tap_ != nullptr) tap_->set_wake([this] { wake(); });
  EndReason end = EndReason::closed;
  if (tap_ != nullptr) {
    end = co_await send_copied();
  } else {
    end = co_await send_opened();
  }
  const bool whole = end == EndReason::closed && !stopped_;
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

// By sendfile, as far as the size that the file had leads; what else there is, and what refuses
// sendfile, is copied.
Task<EndReason> FileSource::send_opened() {
  std::uint64_t read_in = 0;
  while (sent_ < file_->size_bytes && !stopped_) {
    if (read_in == sent_) {
      const auto turn = std::min<std::uint64_t>(kFileTurnBytes, file_->size_bytes - sent_);
      read_in += turn;
      if (const FileRange next{file_->fd.get(), sent_, turn}; !in_page_cache(next)) {
        const int brought = co_await bring_in(next);
        if (stopped_) break;
        if (brought < 0) co_return EndReason::file_failed;
      }
    }
    const Transfer sent = sluice::send_file(client_, file_->fd.get(), sent_, read_in - sent_);
    if (sent.status == Transfer::Status::end) co_return ended_early();
    if (sent.status == Transfer::Status::failed && sent.error == EINVAL) {
      co_return co_await send_copied();
    }
    if (sent.status == Transfer::Status::failed) co_return failed_send(sent.error);
    sent_ += sent.bytes;
    spliced_ += sent.bytes;
    if (sent_ == file_->size_bytes) break;
    const int ready = co_await await_writable();
    if (ready == -ETIMEDOUT) co_return EndReason::idle_timeout;
  }
  const bool more = file_->size_bytes == 0 || file_->size_now() > sent_;
  if (more && !stopped_) co_return co_await send_copied();
  co_return EndReason::closed;
}

// The file ends before the size that it had: it has been cut short, or its size says nothing, as in
// /sys.
EndReason FileSource::ended_early() {
  if (file_->size_now() >= file_->size_bytes) return EndReason::closed;
  failed(Error{0, file_->path + " has become shorter"});
  return EndReason::file_failed;
}

void FileSource::failed(const Error& error) {
  if (!stopped_) worker_.upstream_failed(route_, error);
}

// Has `range` in the page cache; negative if that cannot be.
Task<int> FileSource::bring_in(FileRange range) {
  errand_.begin([file = file_, range] { read_through(range); }, FileThread::Errand::Place::last);
  const int waited = co_await done(idle_deadline());
  if (waited < 0) failed(Error{-waited, "read " + file_->path});
  co_return waited;
}

// Waits until the file thread is done: positive, or -errno if it is not.
Task<int> FileSource::done(TimePoint deadline) {
  Reactor::Wait finished = reactor_.readable(errand_.done_fd(), deadline);
  pending_ = &finished;
  const int result = co_await finished;
  pending_ = nullptr;
  if (result > 0) errand_.finish();
  co_return result;
}

// A limit of 0 is none.
TimePoint FileSource::deadline_after(Duration limit) const {
  return limit > Duration::zero() ? reactor_.now() + limit : TimePoint::max();
}

TimePoint FileSource::idle_deadline() const { return deadline_after(route_.config.idle_timeout); }

// Reads and throws away what the client sends until it ends: closing with unread data would destroy
// what it has not yet acknowledged.
Task<EndReason> FileSource::await_end() {
  std::array<std::byte, 4096> waste;
  SendQueueWatch queue;
  while (!stopped_) {
    const ssize_t got = ::recv(client_, waste.data(), waste.size(), MSG_DONTWAIT);
    if (got == 0) break;
    if (got < 0 && errno != EAGAIN && errno != EINTR) co_return EndReason::client_reset;
    Reactor::Wait readable =
        reactor_.readable(client_, deadline_after(route_.config.half_close_timeout));
    pending_ = &readable;
    const int ready = co_await readable;
    pending_ = nullptr;
    if (ready == -ETIMEDOUT && !queue.drains(send_queue_bytes(client_)))
      co_return EndReason::half_close_timeout;
  }
  co_return EndReason::closed;
}

Task<int> FileSource::await_writable() {
  SendQueueWatch queue;
  int ready = 0;
  do {
    Reactor::Wait writable = reactor_.writable(client_, idle_deadline());
    pending_ = &writable;
    ready = co_await writable;
    pending_ = nullptr;
  } while (ready == -ETIMEDOUT && !stopped_ && queue.drains(send_queue_bytes(client_)));
  co_return ready;
}

// Until the tap, which holds it up, wakes it. There is no deadline: that is not idle.
struct FileSource::Hold {
  FileSource& source;
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter) const { source.held_ = waiter; }
  void await_resume() const noexcept {}
};

// Not from within the recorder's turn.
void FileSource::wake() {
  if (held_) reactor_.defer(*this);
}

// Reads the file to its end, shows it to the tap if there is one, and sends what was read: a
// sendfile passes no tap.
Task<EndReason> FileSource::send_copied() {
  EndReason end = EndReason::closed;
  while (end == EndReason::closed && !stopped_) {
    const std::size_t wanted =
        std::min(kCopiedPartBytes, tap_ != nullptr ? tap_->allowance() : kCopiedPartBytes);
    if (wanted == 0) {
      co_await Hold{*this};
      continue;
    }
    const int got = co_await read_part(wanted);
    if (stopped_) break;
    if (got < 0) co_return EndReason::file_failed;
    const std::span<const std::byte> part = file_->part;
    if (part.empty()) co_return sent_ < file_->size_bytes ? ended_early() : end;
    if (tap_ != nullptr) tap_->append(sent_, part);
    while (tap_ != nullptr && tap_->watermark() < sent_ + part.size() && !stopped_) {
      co_await Hold{*this};
    }
    end = co_await send_all(part);
  }
  co_return end;
}

// Has the file's next part read; negative if that cannot be.
Task<int> FileSource::read_part(std::size_t most_bytes) {
  const bool sized = sent_ < file_->size_bytes;
  const std::uint64_t left = sized ? file_->size_bytes - sent_ : most_bytes;
  const FileRange range{file_->fd.get(), sent_, std::min<std::uint64_t>(most_bytes, left)};
  int waited = 0;
  if (sized && in_page_cache(range)) {
    file_->read(range);
  } else {
    errand_.begin([file = file_, range] { file->read(range); }, FileThread::Errand::Place::last);
    waited = co_await done(idle_deadline());
  }
  // After a time-out the thread may be at it still.
  const std::optional<Error> error =
      waited < 0 ? std::optional<Error>(Error{-waited, "read " + file_->path}) : file_->error;
  if (error) failed(*error);
  co_return error ? -EIO : 0;
}

Task<EndReason> FileSource::send_all(std::span<const std::byte> bytes) {
  while (!bytes.empty() && !stopped_) {
    const ssize_t sent = ::send(client_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) {
      sent_ += static_cast<std::uint64_t>(sent);
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      const int ready = co_await await_writable();
      if (ready == -ETIMEDOUT) co_return EndReason::idle_timeout;
    } else if (errno != EINTR) {
      co_return EndReason::client_reset;
    }
  }
  co_return EndReason::closed;
}

}  // namespace sluice
