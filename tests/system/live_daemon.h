#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/json/json.h"
#include "tests/support/daemon.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"
#include "tests/system/http.h"

namespace sluice::test {

/// How a reload or a takeover was answered.
struct Answered {
  int status = 0;
  json::value body = {};
  /// "applied", "taken" and so on; of a problem, its detail.
  [[nodiscard]] std::string result() const;
};

/// A daemon whose configuration file a test changes while it runs, and which may be replaced. It
/// has an admin address and a takeover socket.
class LiveDaemon {
 public:
  /// `routes`: the routes of the file, with `listeners` addresses. `defaults`: keys of [defaults].
  LiveDaemon(const std::string& routes, std::size_t listeners, std::string defaults = {},
             DaemonOptions options = {});
  /// Kills all of them that still run.
  ~LiveDaemon();
  LiveDaemon(const LiveDaemon&) = delete;
  LiveDaemon& operator=(const LiveDaemon&) = delete;

  /// Writes the file; nobody reads it yet.
  void write(const std::string& routes) const;
  void set_defaults(std::string defaults) { defaults_ = std::move(defaults); }

  [[nodiscard]] Answered reload(bool dry_run = false) const;
  /// By SIGHUP: the result that /v1/status then tells.
  [[nodiscard]] std::string reload_by_signal();
  /// Lets the installed program take over.
  [[nodiscard]] Answered take_over();
  /// Starts a process that asks to take over.
  [[nodiscard]] std::unique_ptr<Process> start_successor() const;
  /// One that start_successor() has started, or the daemon itself, is in charge now.
  void adopt(std::unique_ptr<Process> successor);
  void adopt(pid_t successor) { successors_.push_back(successor); }
  /// SIGTERM to who is in charge, once nobody has a connection. The first exit status of any of
  /// them that is not 0, or 0; nothing if one does not end.
  [[nodiscard]] std::optional<int> terminate();
  [[nodiscard]] json::value get(std::string_view path) const;
  /// The value of a metric, with its labels; -1 if it is not there.
  [[nodiscard]] double metric(std::string_view name) const;
  /// Who answers at the admin address.
  [[nodiscard]] pid_t pid() const;
  [[nodiscard]] const std::string& admin_path() const { return admin_path_; }
  [[nodiscard]] const std::string& file() const { return file_; }
  [[nodiscard]] const TempDir& folder() const { return folder_; }
  /// The first one.
  [[nodiscard]] Daemon& daemon() { return *daemon_; }
  [[nodiscard]] const std::string& log_file() const { return log_; }
  /// What all of them have logged, from a byte on.
  [[nodiscard]] std::string log(std::size_t from = 0) const;
  [[nodiscard]] std::size_t log_bytes() const;

 private:
  TempDir folder_;
  std::string admin_path_ = folder_.file("admin.sock");
  std::string log_ = folder_.file("log");
  std::string file_ = folder_.file("sluice.toml");
  std::string defaults_;
  std::optional<Daemon> daemon_;
  std::vector<std::unique_ptr<Process>> started_;  ///< successors that the test has started
  std::vector<pid_t> successors_;                  ///< those that the daemon has
};

/// Whether a process has this file open.
[[nodiscard]] bool has_open(pid_t pid, const std::string& path);
/// Open descriptors of a process but for pipes, and its own memory, in bytes.
[[nodiscard]] std::size_t descriptors_of(pid_t pid);
[[nodiscard]] std::uint64_t memory_of(pid_t pid);

}  // namespace sluice::test
