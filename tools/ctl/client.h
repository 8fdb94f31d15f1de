#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/base/endpoint.h"
#include "tools/ctl/failure.h"

namespace sluice::ctl {

/// The longest that a request and its answer usually may take.
inline constexpr Duration kPatience = std::chrono::seconds(10);
/// The largest header and the largest body of an answer that is accepted.
inline constexpr std::size_t kMostHeaderBytes = 16 << 10;
inline constexpr std::size_t kMostBodyBytes = 32 << 20;

struct Request {
  std::string method = "GET";
  std::string target;             ///< the path and the query, percent-encoded
  std::string body = {};          ///< JSON; empty: none
  Duration patience = kPatience;  ///< the longest that it and its answer may take
};

struct Answer {
  unsigned status = 0;
  std::string content_type;
  std::string body;
};

/// Waits until `events` (of poll(2)) are there at `fd`, or an error; false if `deadline` passes
/// first. What it throws ends the request.
using Wait = std::function<bool(int fd, short events, TimePoint deadline)>;

/// Waits by poll(2), and for nothing else.
[[nodiscard]] bool wait_for(int fd, short events, TimePoint deadline);

/// Sends HTTP requests to the admin address of a daemon, each on a connection of its own. One
/// thread.
class Client {
 public:
  /// `address` is one that resolve_target() accepts, `token` goes into each request unless it is
  /// empty. Throws Failure if the address cannot be resolved; a look-up of a name is not bounded by
  /// kPatience.
  Client(std::string address, std::string token);

  /// Sets how to wait for the daemon. The default is wait_for().
  void set_wait(Wait wait) { wait_ = std::move(wait); }

  /// Sends `request` and returns the answer, whatever its status is. Throws Failure if there is no
  /// complete answer within its patience.
  [[nodiscard]] Answer ask(const Request& request) const;

  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  [[nodiscard]] OwnedFd connect(TimePoint deadline) const;
  [[nodiscard]] int connect_to(const Endpoint& endpoint, OwnedFd& fd, TimePoint deadline) const;
  void send(int fd, const Request& request, TimePoint deadline) const;
  [[nodiscard]] Answer receive(int fd, Duration patience, TimePoint deadline) const;
  [[nodiscard]] std::string header_of(const Request& request) const;
  [[noreturn]] void fail_to_connect(int error) const;

  std::string address_;
  std::string token_;
  std::vector<Endpoint> endpoints_;
  Wait wait_ = wait_for;
};

}  // namespace sluice::ctl
