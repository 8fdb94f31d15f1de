// What a session does on a route to file:, see Session.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "iolib/base/endpoint.h"
#include "iolib/pipe/splice.h"
#include "proxy/serve/file_thread.h"
#include "proxy/serve/session.h"
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
// What one that copies reads at a time, and how often it looks whether the recording lets it go on.
constexpr std::size_t kCopiedPartBytes = 256 << 10;
constexpr Duration kTapPause = std::chrono::milliseconds(1);

// Of `sent` bytes, those that the far end's TCP has confirmed.
std::uint64_t acknowledged_bytes(int fd, std::uint64_t sent) {
  return sent - std::min(sent, send_queue_bytes(fd));
}

// Whether a slow reader has taken something since the last look, which found `queued`; the first
// look is for any that is left.
constexpr std::uint64_t kNotLooked = ~std::uint64_t{0};
bool drains(int fd, std::uint64_t& queued) {
  const std::uint64_t before = std::exchange(queued, send_queue_bytes(fd));
  return before == kNotLooked ? queued > 0 : queued < before;
}

// A failed sendfile is the socket's doing or the file's.
SessionEnd failed_send(int error) {
  return error == EIO || error == ESTALE ? SessionEnd::file_failed : SessionEnd::client_reset;
}

}  // namespace

// Sends the file and FIN, then waits for the client's own end.
Task<> Session::send_file(OwnedFd& client, const FileEndpoint& endpoint) {
  FileThread::Errand errand(worker_->files(*route_));
  const auto file = std::make_shared<OpenedFile>(endpoint.path);
  SessionEnd end = SessionEnd::file_failed;
  const Result<> opened = co_await open_file(errand, file);
  capture::Recording* const recording = opened.has_value() ? begin_recording() : nullptr;
  capture::SideTap* tap = nullptr;
  if (recording != nullptr && recording->records(capture::Side::upstream)) {
    tap = &recording->tap(capture::Side::upstream);
    end = co_await send_copied(client.get(), errand, file, tap);
    if (end == SessionEnd::closed && !stopped_) {
      tap->eof(to_client_);
    } else {
      tap->reset(tap->seen_bytes());
    }
  } else if (opened.has_value()) {
    end = co_await send_opened(client.get(), errand, file);
  }
  if (opened.has_error() && !stopped_) worker_->upstream_failed(*route_, opened.error());
  if (end == SessionEnd::closed && !stopped_) {
    static_cast<void>(::shutdown(client.get(), SHUT_WR));
    end = co_await await_end(client.get());
  }
  if (!stopped_) end_ = end;
  if (tap != nullptr) {
    tap->closed({tap->seen_bytes(), to_client_, acknowledged_bytes(client.get(), to_client_)});
  }
  if (recording != nullptr) recording->close(to_string(end_));
  worker_->reactor().forget(errand.done_fd());
  worker_->reactor().forget(client.get());
  if (end_ == SessionEnd::closed) {
    client.reset();
  } else {
    close_with_reset(client);
  }
}

Task<Result<>> Session::open_file(FileThread::Errand& errand,
                                  const std::shared_ptr<OpenedFile>& file) {
  if (errand.done_fd() < 0) co_return Error{EMFILE, "eventfd"};
  errand.begin([file] { file->open(); }, FileThread::Errand::Place::first);
  const TimePoint deadline = worker_->reactor().now() + route_->config.connect_timeout;
  const int waited = co_await done(errand, deadline);
  if (waited < 0) co_return Error{-waited, "open " + file->path};
  if (file->error) co_return *file->error;
  co_return Result<>();
}

// By sendfile, as far as the size that the file had leads; what else there is, and what refuses
// sendfile, is copied.
Task<SessionEnd> Session::send_opened(int client, FileThread::Errand& errand,
                                      const std::shared_ptr<OpenedFile>& file) {
  std::uint64_t read_in = 0;
  while (to_client_ < file->size_bytes && !stopped_) {
    if (read_in == to_client_) {
      const auto turn = std::min<std::uint64_t>(kFileTurnBytes, file->size_bytes - to_client_);
      read_in += turn;
      const int brought = co_await bring_in(errand, file, turn);
      if (stopped_) break;
      if (brought < 0) co_return SessionEnd::file_failed;
    }
    const Transfer sent =
        sluice::send_file(client, file->fd.get(), to_client_, read_in - to_client_);
    if (sent.status == Transfer::Status::end) co_return ended_early(*file);
    if (sent.status == Transfer::Status::failed && sent.error == EINVAL) {
      co_return co_await send_copied(client, errand, file, nullptr);
    }
    if (sent.status == Transfer::Status::failed) co_return failed_send(sent.error);
    to_client_ += sent.bytes;
    spliced_to_client_ += sent.bytes;
    if (to_client_ == file->size_bytes) break;
    const int ready = co_await await_writable(client);
    if (ready == -ETIMEDOUT) co_return SessionEnd::idle_timeout;
  }
  const bool more = file->size_bytes == 0 || file->size_now() > to_client_;
  if (more && !stopped_) co_return co_await send_copied(client, errand, file, nullptr);
  co_return SessionEnd::closed;
}

// The file ends before the size that it had: it has been cut short, or its size says nothing, as in
// /sys.
SessionEnd Session::ended_early(const OpenedFile& file) {
  if (file.size_now() >= file.size_bytes) return SessionEnd::closed;
  worker_->upstream_failed(*route_, Error{0, file.path + " has become shorter"});
  return SessionEnd::file_failed;
}

// Has the next `bytes` of the file in the page cache; negative if that cannot be.
Task<int> Session::bring_in(FileThread::Errand& errand, const std::shared_ptr<OpenedFile>& file,
                            std::size_t bytes) {
  const FileRange range{file->fd.get(), to_client_, bytes};
  if (in_page_cache(range)) co_return 0;
  errand.begin([file, range] { read_through(range); }, FileThread::Errand::Place::last);
  const int waited = co_await done(errand, idle_deadline());
  if (waited < 0 && !stopped_) {
    worker_->upstream_failed(*route_, Error{-waited, "read " + file->path});
  }
  co_return waited;
}

// Waits until the file thread is done: positive, or -errno if it is not.
Task<int> Session::done(FileThread::Errand& errand, TimePoint deadline) {
  Reactor::Wait finished = worker_->reactor().readable(errand.done_fd(), deadline);
  pending_ = &finished;
  const int result = co_await finished;
  pending_ = nullptr;
  if (result > 0) errand.finish();
  co_return result;
}

TimePoint Session::idle_deadline() const {
  const Duration idle = route_->config.idle_timeout;
  return idle > Duration::zero() ? worker_->reactor().now() + idle : TimePoint::max();
}

// Reads and throws away what the client sends until it ends: closing with unread data would destroy
// what it has not yet acknowledged.
Task<SessionEnd> Session::await_end(int client) {
  Reactor& reactor = worker_->reactor();
  std::array<std::byte, 4096> waste;
  const Duration limit = route_->config.half_close_timeout;
  std::uint64_t queued = kNotLooked;
  while (!stopped_) {
    const ssize_t got = ::recv(client, waste.data(), waste.size(), MSG_DONTWAIT);
    if (got == 0) break;
    if (got < 0 && errno != EAGAIN && errno != EINTR) co_return SessionEnd::client_reset;
    const TimePoint deadline = limit > Duration::zero() ? reactor.now() + limit : TimePoint::max();
    Reactor::Wait readable = reactor.readable(client, deadline);
    pending_ = &readable;
    const int ready = co_await readable;
    pending_ = nullptr;
    if (ready == -ETIMEDOUT && !drains(client, queued)) co_return SessionEnd::half_close_timeout;
  }
  co_return SessionEnd::closed;
}

Task<int> Session::await_writable(int client) {
  std::uint64_t queued = kNotLooked;
  int ready = 0;
  do {
    Reactor::Wait writable = worker_->reactor().writable(client, idle_deadline());
    pending_ = &writable;
    ready = co_await writable;
    pending_ = nullptr;
  } while (ready == -ETIMEDOUT && drains(client, queued));
  co_return ready;
}

// Reads the file to its end, shows it to the tap if there is one, and sends what was read: a
// sendfile passes no tap.
Task<SessionEnd> Session::send_copied(int client, FileThread::Errand& errand,
                                      const std::shared_ptr<OpenedFile>& file,
                                      capture::SideTap* tap) {
  Reactor& reactor = worker_->reactor();
  SessionEnd end = SessionEnd::closed;
  while (end == SessionEnd::closed && !stopped_) {
    const std::size_t wanted =
        std::min(kCopiedPartBytes, tap ? tap->allowance() : kCopiedPartBytes);
    if (wanted == 0) {
      co_await reactor.sleep_until(reactor.now() + kTapPause);
      continue;
    }
    const int got = co_await read_part(errand, file, wanted);
    if (stopped_) break;
    if (got < 0) co_return SessionEnd::file_failed;
    const std::span<const std::byte> part = file->part;
    if (part.empty()) co_return to_client_ < file->size_bytes ? ended_early(*file) : end;
    if (tap != nullptr) tap->append(to_client_, part);
    while (tap != nullptr && tap->watermark() < to_client_ + part.size() && !stopped_) {
      co_await reactor.sleep_until(reactor.now() + kTapPause);
    }
    end = co_await send_all(client, part);
  }
  co_return end;
}

// Has the file's next part read; negative if that cannot be.
Task<int> Session::read_part(FileThread::Errand& errand, const std::shared_ptr<OpenedFile>& file,
                             std::size_t most_bytes) {
  const bool sized = to_client_ < file->size_bytes;
  const std::uint64_t left = sized ? file->size_bytes - to_client_ : most_bytes;
  const FileRange range{file->fd.get(), to_client_, std::min<std::uint64_t>(most_bytes, left)};
  int waited = 0;
  if (sized && in_page_cache(range)) {
    file->read(range);
  } else {
    errand.begin([file, range] { file->read(range); }, FileThread::Errand::Place::last);
    waited = co_await done(errand, idle_deadline());
  }
  // After a time-out the thread may be at it still.
  const std::optional<Error> error =
      waited < 0 ? std::optional<Error>(Error{-waited, "read " + file->path}) : file->error;
  if (error && !stopped_) worker_->upstream_failed(*route_, *error);
  co_return error ? -EIO : 0;
}

Task<SessionEnd> Session::send_all(int client, std::span<const std::byte> bytes) {
  while (!bytes.empty() && !stopped_) {
    const ssize_t sent = ::send(client, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) {
      to_client_ += static_cast<std::uint64_t>(sent);
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      const int ready = co_await await_writable(client);
      if (ready == -ETIMEDOUT) co_return SessionEnd::idle_timeout;
    } else if (errno != EINTR) {
      co_return SessionEnd::client_reset;
    }
  }
  co_return SessionEnd::closed;
}

}  // namespace sluice
