#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/base/owned_fd.h"
#include "tests/support/daemon.h"
#include "tests/support/temp_dir.h"
#include "tests/system/outcome.h"

namespace sluice::test {

struct HttpAnswer {
  int status = 0;  ///< 0: the connection ended before a whole header had come
  std::string header;
  std::string body;
  [[nodiscard]] bool has(std::string_view text) const { return header.find(text) != header.npos; }
};

/// "METHOD PATH HTTP/1.1", `Host: localhost`, and `fields`, each with its line break.
[[nodiscard]] std::string http_request(std::string_view method, std::string_view path,
                                       std::string_view fields = {}, std::string_view body = {});
/// A request of http_request() that may change something.
[[nodiscard]] std::string change_request(std::string_view method, std::string_view path,
                                         std::string_view body = {});
/// The next answer of a connection. `with_body`: false for HEAD.
[[nodiscard]] HttpAnswer receive_answer(int fd, bool with_body = true,
                                        std::chrono::nanoseconds timeout = kLate);
/// Sends `request` and returns the first answer.
[[nodiscard]] HttpAnswer exchange(int fd, std::string_view request);

/// A daemon that echoes, with admin addresses: a unix socket, one of loopback, and one of all
/// addresses.
class AdminDaemon {
 public:
  /// `more`: further arguments.
  explicit AdminDaemon(const std::vector<std::string>& more = {});

  [[nodiscard]] Daemon& daemon() { return daemon_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::uint16_t port() const { return daemon_.port(2); }
  [[nodiscard]] std::uint16_t remote_port() const { return daemon_.port(3); }
  /// The answer at the unix socket, and at the address of loopback.
  [[nodiscard]] HttpAnswer ask_unix(std::string_view request) const;
  [[nodiscard]] HttpAnswer ask_tcp(std::string_view request) const;
  /// The value of a metric, with its labels.
  [[nodiscard]] std::optional<double> metric(const std::string& name) const;

 private:
  TempDir folder_;
  std::string path_ = folder_.file("admin.sock");
  Daemon daemon_;
};

}  // namespace sluice::test
