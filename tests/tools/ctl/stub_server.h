#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "iolib/base/owned_fd.h"
#include "tests/support/sockets.h"
#include "tests/support/temp_dir.h"

namespace sluice::test {

/// What the stub does with a request: it sends `bytes` as they are.
struct StubReply {
  enum class Then : std::uint8_t {
    close,  ///< ends the connection
    hold,   ///< leaves it open, and sends nothing more
    drip,   ///< sends a space every 100 ms
  };
  std::string bytes;
  Then then = Then::close;
};

[[nodiscard]] StubReply stub_json(std::string body, const std::string& status = "200 OK");
/// A problem (RFC 9457).
[[nodiscard]] StubReply stub_problem(int status, const std::string& detail);
/// `body` in chunks of a few bytes.
[[nodiscard]] StubReply stub_chunked(const std::string& body);

/// An admin address whose answers a test chooses: a unix socket, and a port of loopback.
class StubServer {
 public:
  /// Is called for each request, with its first line, header and body, on the stub's thread.
  using Handler = std::function<StubReply(const std::string& request)>;

  explicit StubServer(Handler handler);
  ~StubServer();
  StubServer(const StubServer&) = delete;
  StubServer& operator=(const StubServer&) = delete;

  [[nodiscard]] std::string path() const { return folder_.file("admin.sock"); }
  [[nodiscard]] std::uint16_t port() const { return tcp_.port; }
  /// The requests so far, whole.
  [[nodiscard]] std::vector<std::string> requests() const;
  /// Their first lines, without the version: "GET /v1/status".
  [[nodiscard]] std::vector<std::string> lines() const;

 private:
  void serve(const std::stop_token& stop);
  void answer(OwnedFd fd);

  const Handler handler_;
  TempDir folder_;
  OwnedFd unix_ = listen_unix(path());
  Listener tcp_ = listen_tcp();
  mutable std::mutex mutex_;  // guards `requests_`
  std::vector<std::string> requests_;
  std::vector<OwnedFd> held_, dripping_;
  std::jthread thread_;
};

}  // namespace sluice::test
