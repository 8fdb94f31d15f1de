#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "proxy/admin/commands.h"
#include "proxy/admin/endpoints.h"
#include "proxy/admin/http_server.h"
#include "proxy/admin/source.h"
#include "proxy/config/config.h"
#include "proxy/listen/listen_sockets.h"

namespace sluice::admin {

/// The thread that answers HTTP requests about the daemon. It does nothing else, and waits for no
/// other thread.
class AdminThread {
 public:
  /// Borrows all of them.
  AdminThread(const Config& config, const AdminSource& source, AdminCommands& commands)
      : config_(config), source_(source), commands_(commands) {}
  ~AdminThread() { end(); }
  AdminThread(const AdminThread&) = delete;
  AdminThread& operator=(const AdminThread&) = delete;

  /// Reads the token, listens at the configured addresses and starts the thread. No effect if there
  /// is no address, or after remove_unix_paths(). Takes its addresses' sockets from `inherited`.
  /// `accepts`: at once; otherwise from release() on.
  [[nodiscard]] Result<> start(InheritedSockets& inherited, bool accepts = true);
  /// See HttpServer. Any thread, between start() and end(). No effect if there is no address.
  void hold();
  void release();
  /// See ListenSockets. Control thread.
  void own_paths(const std::vector<SocketPath>& paths);
  [[nodiscard]] std::vector<SocketPath> paths() const;
  /// Also forgets the paths of its unix sockets, which another process owns from now on.
  void let_go();
  /// Copies of its listening sockets. Control thread, before let_go().
  [[nodiscard]] Result<std::vector<OwnedFd>> copy_sockets() const;
  /// Where it listens, and which addresses it passed over. Valid after start(); the thread has the
  /// sockets.
  [[nodiscard]] const ListenSockets& listeners() const { return listeners_; }
  /// Runs `task` on the thread. At once, and on the caller's, if no address is configured.
  void post(std::function<void()> task);
  /// Ends the thread, after remove_unix_paths(). From then on it uses nothing that it borrows.
  void end();
  /// Removes the paths of its unix sockets, for good, because the process is about to end. Any
  /// thread.
  void remove_unix_paths();

 private:
  const Config& config_;
  const AdminSource& source_;
  AdminCommands& commands_;
  std::unique_ptr<HttpServer> server_;
  std::unique_ptr<Endpoints> endpoints_;
  std::vector<int> sockets_;  ///< the server's; they stay open until let_go()
  mutable std::mutex
      mutex_;  ///< guards the rest while start() and remove_unix_paths() may both run
  ListenSockets listeners_;
  bool ended_ = false;
  std::thread thread_;
};

/// Checks what start() reads and finds out about this machine, except for its addresses.
[[nodiscard]] Result<> probe_admin(const Config& config);

}  // namespace sluice::admin
