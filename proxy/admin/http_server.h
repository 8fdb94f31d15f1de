#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "iolib/base/owned_fd.h"
#include "proxy/admin/http.h"

namespace sluice::admin {

/// Why a connection was closed, or a request not passed on.
enum class Rejection : std::uint8_t {
  replaced,   ///< it waited longest, and another peer came
  busy,       ///< there is no memory to watch its socket
  timeout,    ///< no complete request, or the response was not read, in time
  malformed,  ///< no valid HTTP
  too_large,  ///< its header or body
};
inline constexpr std::size_t kRejections = 5;
inline constexpr std::array<std::string_view, kRejections> kRejectionNames = {
    "replaced", "busy", "timeout", "malformed", "too_large"};

/// Serves HTTP/1.1 and 1.0 on one thread, within fixed bounds on connections, sizes and times: see
/// kMost... in http_server.cc. Once a peer is over a bound it waits for nobody.
class HttpServer {
 public:
  /// Takes the response, once, before the server is destroyed. Any thread.
  using Reply = std::function<void(HttpResponse)>;
  /// Is called for each request, on the thread of run(). It must not block, and must see to it that
  /// the reply is called soon, at once or later. Only as the server ends may it never be called.
  using Handler = std::function<void(HttpRequest, Reply)>;

  explicit HttpServer(Handler handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// Accepts from a listening socket. Call it before run().
  void accept_from(OwnedFd listener, Peer peer);
  /// From a later turn on, accepts nobody; peers stay queued in the kernel. Any thread. So are the
  /// next two.
  void hold();
  /// Accepts again after hold().
  void release();
  /// Closes the listeners for good, and each connection once its request is answered.
  void let_go();
  /// Serves until stop().
  void run();
  /// Lets run() return; connections are left as they are, and close with the server. Any thread.
  void stop();

  /// Runs `task` in a later turn of run(). Any thread.
  void post(std::function<void()> task);
  /// Runs `task` on the thread of run() about once in `interval`. Call it before run().
  void repeat(std::chrono::nanoseconds interval, std::function<void()> task);

  /// How often something was rejected. On the thread of run() only.
  [[nodiscard]] std::uint64_t rejected(Rejection why) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::admin
