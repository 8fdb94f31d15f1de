#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"

namespace sluice::bench {

/// The program that counts system calls. perf(1) hardly slows down what it counts; strace(1) makes
/// it several times slower.
enum class CallTool : std::uint8_t { none, perf, strace };

/// The first of perf and strace that is installed and allowed to count another process's system
/// calls. The error says in one line why neither can. Forks, so the caller has no other threads.
[[nodiscard]] Result<CallTool> find_call_tool();
/// "perf" or "strace".
[[nodiscard]] const char* name_of(CallTool tool);

/// Counts the system calls of processes, of all their threads and of the children that they start.
class CallCounter {
 public:
  /// Starts a process that becomes the tool. For a moment it holds copies of all descriptors, which
  /// keeps closed sockets in their epoll sets: no Loop has connections yet. Throws Failure.
  explicit CallCounter(CallTool tool);
  /// Kills the tool.
  ~CallCounter();
  CallCounter(const CallCounter&) = delete;
  CallCounter& operator=(const CallCounter&) = delete;

  /// Returns when counting has begun. Throws Failure with the tool's own words, and Interrupted.
  void begin(const std::vector<pid_t>& processes);
  /// Ends counting, and returns the number of calls. Throws Failure.
  [[nodiscard]] std::uint64_t end();

 private:
  void wait_until_traced(const std::vector<pid_t>& processes);
  void send_line(const std::string& line) const;
  void request(const std::string& what);
  [[nodiscard]] bool ended();
  void kill_tool();
  [[nodiscard]] std::string output() const;
  [[noreturn]] void fail() const;

  CallTool tool_;
  OwnedFd output_;  ///< a memory file: what the tool has written
  /// Takes the tool's command line, then perf's requests with their answers (perf-stat(1),
  /// --control).
  OwnedFd control_;
  pid_t pid_ = 0;  ///< 0: it has ended
};

/// Parses the number of calls from the output of `perf stat -x,` or `strace -c`; nothing if there
/// is none.
[[nodiscard]] std::optional<std::uint64_t> parse_calls(CallTool tool, const std::string& output);

}  // namespace sluice::bench
