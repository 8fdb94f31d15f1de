#include "proxy/log/log.h"

#include <fcntl.h>
#include <poll.h>
#include <spdlog/async.h>
#include <spdlog/async_logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/sink.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "iolib/base/clock.h"
#include "iolib/base/owned_fd.h"
#include "iolib/base/text.h"
#include "proxy/log/journal.h"
#include "proxy/log/lines.h"
#include "proxy/log/repeated.h"

namespace sluice::log {
namespace {

// The most lines that wait for the writing thread: about a second of short connections, 4 MiB at
// most.
constexpr std::size_t kQueuedLines = 16'384;
// While more lines are queued, the thread collects up to this many bytes for one write.
constexpr std::size_t kWriteBytes = 32 << 10;
// The pause of the writing thread after it has written all queued lines. Waking it for each line
// would cost more than forwarding a short connection.
constexpr std::chrono::milliseconds kRest(10);
// The longest that flush() waits for the queue to drain.
constexpr std::chrono::milliseconds kFlushTime(50);
// The longest that close() waits for the queued lines: a write to a hanging disk may never return.
constexpr std::chrono::seconds kCloseTime(1);
// How long a write waits for the reader of the log. After one such wait fails, later writes do not
// wait until a write succeeds.
constexpr int kWritePatienceMs = 100;

// Opens without blocking: a FIFO without a reader is an error, and a reader that stops never blocks
// the writing thread.
Result<OwnedFd> open_file(const std::string& path) {
  const int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  OwnedFd opened(::open(path.c_str(), flags, 0640));
  if (opened) return opened;
  const Error error = errno_error("open " + path);
  struct stat about {};
  const bool fifo = ::stat(path.c_str(), &about) == 0 && S_ISFIFO(about.st_mode);
  if (error.code == ENXIO && fifo) return Error{0, "open " + path + ": no process reads this FIFO"};
  return error;
}

void queue(LogLevel level, std::string_view event, Fields fields);

constexpr std::string_view kStdout = "-";

bool goes_to_journal(const std::string& log_file) {
  return log_file.empty() && stderr_is_journal();
}

// Writes to stderr, stdout, a file that can be reopened, or the journal behind stderr. Belongs to
// the writing thread, except for the members that say otherwise.
class DescriptorSink final : public spdlog::sinks::sink {
 public:
  DescriptorSink(std::string path, const std::string& pattern)
      : path_(std::move(path)), formatter_(std::make_unique<spdlog::pattern_formatter>(pattern)) {}
  ~DescriptorSink() override { write_out(); }
  DescriptorSink(const DescriptorSink&) = delete;
  DescriptorSink& operator=(const DescriptorSink&) = delete;

  /// Opens the file, if there is one. Call it before the writing thread exists.
  [[nodiscard]] Result<> open() {
    if (goes_to_journal(path_)) journal_.emplace();
    if (path_.empty() || path_ == kStdout) return {};
    Result<OwnedFd> opened = open_file(path_);
    if (opened.has_error()) return opened.error();
    file_ = std::move(*opened);
    return {};
  }
  /// Sets the queue that feeds this sink. Borrowed; it lives until its thread has ended.
  void set_pool(spdlog::details::thread_pool* pool) { pool_ = pool; }

  void log(const spdlog::details::log_msg& message) override {
    if (reopen_.exchange(false)) reopen();
    take(message);
    const bool more = pool_->queue_size() > 0;
    if (more && waiting_.size() < kWriteBytes) return;
    const bool whole = write_out();
    if (more) return;
    if (whole) tell_lost_lines();
    look_at_end();
    std::this_thread::sleep_for(kRest);
  }
  void flush() override {
    if (reopen_.exchange(false)) reopen();
    write_out();
    look_at_end();
  }
  // open() chooses the pattern once, before there is a second thread.
  void set_pattern(const std::string& /*pattern*/) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter> /*formatter*/) override {}

  /// Requests for the writing thread, each followed by a flush: reopen the file, or set written()
  /// once all lines are written. Any thread.
  void ask_to_reopen() { reopen_ = true; }
  void ask_to_end() { closing_ = true; }
  [[nodiscard]] bool written() const { return written_; }
  /// Lines dropped from the queue or not written. Any thread.
  [[nodiscard]] std::uint64_t lost_lines() const { return pool_->overrun_counter() + lost_lines_; }

 private:
  // Hands the message to the journal, or collects its line.
  void take(const spdlog::details::log_msg& message) {
    if (!journal_) return formatter_->format(message, waiting_);
    const std::string_view entry(message.payload.data(), message.payload.size());
    if (journal_->send(entry)) return;
    // Its stream on stderr keeps at least the line.
    const std::string line = line_of_entry(entry) + '\n';
    waiting_.append(line.data(), line.data() + line.size());
  }

  // Checks the queue as well: this thread can have queued lines after the flush.
  void look_at_end() {
    if (closing_ && pool_->queue_size() == 0) written_ = true;
  }

  // Logs how many lines were lost. Called once writing works again.
  void tell_lost_lines() {
    const std::uint64_t lost = lost_lines();
    if (lost == told_lost_) return;
    const auto lines = losses_.happened(Clock::now(), lost - std::exchange(told_lost_, lost));
    if (!lines || !enabled(LogLevel::warn)) return;
    const Field count{"lines", *lines};
    queue(LogLevel::warn, "log_lines_dropped", {&count, 1});
  }

  void reopen() {
    write_out();
    const Result<> opened = open();
    if (opened.has_value()) return;
    const std::string reason = opened.error().to_string();
    const Field why{"reason", reason};
    queue(LogLevel::error, "log_reopen_failed", {&why, 1});
  }

  // Writes the collected lines. Lines that cannot be written soon (full disk, stopped reader) are
  // lost and counted, because a log must delay neither traffic nor the program's end. False if any
  // were lost.
  bool write_out() {
    const int standard = path_ == kStdout ? STDOUT_FILENO : STDERR_FILENO;
    const int fd = file_ ? file_.get() : standard;
    const char* next = waiting_.data();
    const char* end = next + waiting_.size();
    while (next < end) {
      pollfd writable{fd, POLLOUT, 0};
      if (::poll(&writable, 1, patience_ms_) == 0) {
        patience_ms_ = 0;
        break;
      }
      // A pipe takes this much as a whole, so the write does not block.
      const auto ask = std::min<std::size_t>(static_cast<std::size_t>(end - next), PIPE_BUF);
      const ssize_t wrote = ::write(fd, next, ask);
      if (wrote < 0 && errno != EINTR) {
        tell_refused(fd, errno);
        break;
      }
      if (wrote > 0) {
        next += wrote;
        patience_ms_ = kWritePatienceMs;
        refused_ = false;
      }
    }
    const bool whole = next == end;
    lost_lines_ += static_cast<std::uint64_t>(std::count(next, end, '\n'));
    waiting_.clear();
    return whole;
  }

  // Reports a failed write of the log on stderr, once until a write succeeds again.
  void tell_refused(int fd, int error) {
    pollfd writable{STDERR_FILENO, POLLOUT, 0};
    if (std::exchange(refused_, true) || fd == STDERR_FILENO) return;
    if (::poll(&writable, 1, 0) != 1) return;
    const std::string text = "sluice: " + one_line(Error{error, "write " + path_}.to_string()) +
                             ": log lines are lost\n";
    const auto most = std::min<std::size_t>(text.size(), PIPE_BUF);
    [[maybe_unused]] const ssize_t wrote = ::write(STDERR_FILENO, text.data(), most);
  }

  std::string path_;
  OwnedFd file_;
  std::optional<Journal> journal_;
  std::unique_ptr<spdlog::formatter> formatter_;
  spdlog::details::thread_pool* pool_ = nullptr;
  spdlog::memory_buf_t waiting_;
  int patience_ms_ = kWritePatienceMs;
  bool refused_ = false;  ///< the last write failed, and stderr has the message
  Repeated losses_;
  std::uint64_t told_lost_ = 0;
  std::atomic<bool> reopen_{false};
  std::atomic<bool> closing_{false};
  std::atomic<bool> written_{false};
  std::atomic<std::uint64_t> lost_lines_{0};
};

struct State {
  std::shared_ptr<DescriptorSink> sink;
  std::shared_ptr<spdlog::details::thread_pool> pool;
  std::shared_ptr<spdlog::async_logger> logger;
  LogFormat format = LogFormat::text;
  bool journal = false;  ///< entries of the journal are queued instead of lines
};
State state;  // written by open() before other threads log, and by close() after
std::atomic<LogLevel> lowest_level{LogLevel::off};  // stays as it is once the log is closed

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::trace:
      return spdlog::level::trace;
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warn:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
    case LogLevel::off:
      break;
  }
  return spdlog::level::off;
}

void queue(LogLevel level, std::string_view event, Fields fields) {
  const bool json = state.format == LogFormat::json;
  std::string line = json ? format_json(event, fields) : format_text(event, fields);
  if (state.journal) {
    line = format_journal(level, json ? "{" + line + "}" : line, event, fields);
  }
  state.logger->log(spdlog_level(level), line);
}

}  // namespace

Result<> open(const Config& config) {
  auto sink = std::make_shared<DescriptorSink>(
      config.log_file, config.log_format == LogFormat::json
                           ? R"({"time":"%Y-%m-%dT%H:%M:%S.%f%z","level":"%l",%v})"
                           : "%Y-%m-%dT%H:%M:%S.%f%z %l %v");
  if (Result<> opened = sink->open(); opened.has_error()) return opened.error();
  state.sink = sink;
  state.format = config.log_format;
  state.journal = goes_to_journal(config.log_file);
  try {
    state.pool = std::make_shared<spdlog::details::thread_pool>(kQueuedLines, 1);
  } catch (const std::system_error& error) {
    return Error{error.code().value(), "start a thread"};
  }
  sink->set_pool(state.pool.get());
  state.logger = std::make_shared<spdlog::async_logger>(
      "sluice", sink, state.pool, spdlog::async_overflow_policy::overrun_oldest);
  set_level(config.log_level);
  state.logger->set_level(spdlog::level::trace);  // enabled() filters by level
  return {};
}

void reopen() {
  if (!state.logger) return;
  state.sink->ask_to_reopen();
  state.logger->flush();
}

void flush() {
  const auto deadline = std::chrono::steady_clock::now() + kFlushTime;
  while (state.pool && state.pool->queue_size() > 0 &&
         std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(kRest / 10);
  }
}

bool close() {
  if (!state.logger) return true;
  state.sink->ask_to_end();
  state.logger->flush();
  const auto deadline = std::chrono::steady_clock::now() + kCloseTime;
  while (!state.sink->written()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(kRest / 10);
  }
  // Waits until the queue is written and the thread has ended. The sink reads the queue until then.
  // The writing thread must not destroy the logger: ThreadSanitizer does not see the library's
  // reference counts.
  state.pool.reset();
  state = State{};
  return true;
}

std::uint64_t dropped_lines() { return state.sink ? state.sink->lost_lines() : 0; }

Result<> probe(const Config& config) {
  const std::string& path = config.log_file;
  if (path == kStdout) return {};
  struct stat about {};
  if (::stat(path.c_str(), &about) == 0 && S_ISDIR(about.st_mode)) {
    return Error{EISDIR, "open " + path};
  }
  if (path.empty() || ::access(path.c_str(), W_OK) == 0) return {};
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  if (errno == ENOENT && ::access(folder.c_str(), W_OK | X_OK) == 0) return {};
  return errno_error("open " + path);
}

bool enabled(LogLevel level) { return state.logger && level >= log::level(); }

LogLevel level() { return lowest_level.load(std::memory_order_relaxed); }

void set_level(LogLevel level) { lowest_level.store(level, std::memory_order_relaxed); }

void write(LogLevel level, std::string_view event, Fields fields) {
  if (enabled(level)) queue(level, event, fields);
}

void print(std::string_view event, Fields fields) {
  if (state.logger) queue(LogLevel::info, event, fields);
}

}  // namespace sluice::log
