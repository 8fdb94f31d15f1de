#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <string>

#include "iolib/base/address.h"
#include "iolib/base/endpoint.h"
#include "iolib/base/owned_fd.h"
#include "tests/support/sockets.h"
#include "tests/support/temp_dir.h"

namespace sluice::test {

[[nodiscard]] inline Endpoint endpoint_of(const Listener& listener) {
  return make_endpoint(*numeric_address({"127.0.0.1", listener.port}));
}

/// Of a port that refuses.
[[nodiscard]] inline Endpoint refusing() {
  static const Listener bound = bind_tcp();
  return endpoint_of(bound);
}

/// A listener with no room, until somebody is accepted. The kernel answers no SYN then.
class BlackHole {
 public:
  [[nodiscard]] Endpoint endpoint() const { return endpoint_of(listener_); }
  /// The connection that comes next, once there is room and the kernel has sent its SYN again.
  [[nodiscard]] OwnedFd accept_next() const {
    static_cast<void>(accept_from(listener_.fd.get()));
    return accept_from(listener_.fd.get());
  }

 private:
  Listener listener_ = listen_tcp(0);
  OwnedFd filler_ = connect_tcp(listener_.port);
};

/// A unix socket whose backlog is full, until somebody is accepted.
class FullBacklog {
 public:
  FullBacklog() { EXPECT_EQ(::listen(listener_.get(), 0), 0); }
  [[nodiscard]] Endpoint endpoint() const { return make_endpoint(UnixEndpoint{path_}); }
  void make_room() const { static_cast<void>(accept_from(listener_.get())); }

 private:
  TempDir folder_;
  std::string path_ = folder_.file("listener");
  OwnedFd listener_ = listen_unix(path_);
  OwnedFd filler_ = connect_unix(path_);
};

}  // namespace sluice::test
