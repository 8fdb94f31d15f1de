#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "iolib/base/owned_fd.h"
#include "tests/support/regex.h"
#include "tests/support/settings.h"

namespace sluice::test {

/// What a child gets, besides its arguments.
struct ProcessOptions {
  std::string working_directory;         ///< empty: inherited
  std::vector<std::string> environment;  ///< "NAME=value", beside what is inherited
  int standard_input = -1;               ///< borrowed; -1: /dev/null
  int standard_output = -1;              ///< borrowed; -1: captured
  int standard_error = -1;               ///< the same
  std::optional<rlim_t> max_open_files;  ///< the soft and the hard limit
  std::optional<std::string> user;       ///< its name; needs root
  bool forbid_io_uring = false;          ///< a seccomp filter answers io_uring_setup with EPERM
};

/// A child process, killed and reaped by the destructor, or by the kernel if this thread ends
/// first.
class Process {
 public:
  /// Starts `argv[0]`, found in find_program's folders; throws if it cannot be executed.
  explicit Process(std::vector<std::string> argv, const ProcessOptions& options = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  void signal(int number) const;

  /// The exit status, or minus the signal that ended it, or nothing if it still runs.
  [[nodiscard]] std::optional<int> wait(std::chrono::nanoseconds timeout = kPatience);
  [[nodiscard]] bool running() { return !wait(std::chrono::nanoseconds(0)).has_value(); }

  /// What was written so far, and everything once wait() has returned a status.
  [[nodiscard]] std::string standard_output() const { return text(output_); }
  [[nodiscard]] std::string standard_error() const { return text(error_); }

  /// The first whole line on stdout or stderr from byte `from` on in which `pattern` is found.
  [[nodiscard]] std::optional<std::string> wait_for_output_line(
      const Regex& pattern, std::size_t from = 0,
      std::chrono::nanoseconds timeout = kPatience) const {
    return wait_for_line(output_, pattern, from, timeout);
  }
  [[nodiscard]] std::optional<std::string> wait_for_error_line(
      const Regex& pattern, std::size_t from = 0,
      std::chrono::nanoseconds timeout = kPatience) const {
    return wait_for_line(error_, pattern, from, timeout);
  }

 private:
  struct Stream {
    OwnedFd fd;
    std::string text;
  };

  void capture();
  [[nodiscard]] std::string text(const Stream& stream) const;
  [[nodiscard]] std::optional<std::string> wait_for_line(const Stream& stream, const Regex& pattern,
                                                         std::size_t from,
                                                         std::chrono::nanoseconds timeout) const;

  pid_t pid_ = -1;
  OwnedFd pid_fd_;
  OwnedFd stop_;  ///< an eventfd: ends the capture even if a grandchild holds the pipes open
  std::optional<int> status_;
  Stream output_;
  Stream error_;
  mutable std::mutex mutex_;  ///< guards both texts and `captured_`
  mutable std::condition_variable changed_;
  bool captured_ = false;
  std::thread reader_;
};

/// The program's path, from $PATH and the folders where Debian keeps other programs; empty if
/// missing.
[[nodiscard]] std::string find_program(std::string_view name);

/// The lines of `text` in which `pattern` is found, and their number.
[[nodiscard]] std::vector<std::string> lines_with(const std::string& text, const Regex& pattern);
[[nodiscard]] std::size_t count_lines(const std::string& text, const Regex& pattern);

/// Empty where strace may trace here, else its message.
[[nodiscard]] std::string tracing_refused();

}  // namespace sluice::test

/// Skips the test, with the reason, if a program that it needs is not installed.
#define SLUICE_NEEDS_PROGRAM(name)                    \
  if (::sluice::test::find_program(name).empty()) {   \
    GTEST_SKIP() << "not installed here: " << (name); \
  }                                                   \
  static_assert(true, "a semicolon may follow the call")

/// The same if strace is missing or may not trace.
#define SLUICE_NEEDS_STRACE()                                                            \
  SLUICE_NEEDS_PROGRAM("strace");                                                        \
  if (const std::string refused = ::sluice::test::tracing_refused(); !refused.empty()) { \
    GTEST_SKIP() << "strace may not trace here: " << refused;                            \
  }                                                                                      \
  static_assert(true, "a semicolon may follow the call")
