#include "iolib/base/endpoint.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

#include "tests/support/sockets.h"

namespace sluice {
namespace {

Endpoint loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return make_endpoint(SocketAddress(address));
}

TEST(EndpointTest, SocketThatIsItsOwnPeerIsFoundOut) {
  // The listener is gone, and the source port is the same.
  const std::uint16_t port = test::listen_tcp().port;
  const Endpoint to = loopback(port);
  const OwnedFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(fd.get(), to.data(), to.size_bytes), 0);
  EXPECT_EQ(begin_connect(fd.get(), to), ECONNREFUSED);
  EXPECT_EQ(connect_outcome(fd.get(), to), ECONNREFUSED);
}

TEST(EndpointTest, SocketWithAnotherPeerIsNotItsOwn) {
  const test::Listener listener = test::listen_tcp();
  const OwnedFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const Endpoint to = loopback(listener.port);
  EXPECT_EQ(begin_connect(fd.get(), to), 0);
  EXPECT_EQ(connect_outcome(fd.get(), to), 0);
}

// The kernel counts every byte of an abstract name: with one more NUL it is another name.
TEST(EndpointTest, AnAbstractNameEndsWhereItsLengthSays) {
  const Endpoint endpoint = make_endpoint(UnixEndpoint{"@ab"});
  sockaddr_un name{};
  std::memcpy(&name, &endpoint.address, sizeof name);
  EXPECT_EQ(endpoint.size_bytes, offsetof(sockaddr_un, sun_path) + 3);
  EXPECT_EQ(std::string_view(name.sun_path, 4), std::string_view("\0ab\0", 4));
  EXPECT_EQ(endpoint.text, "unix:@ab");
  const Endpoint longest = make_endpoint(UnixEndpoint{"@" + std::string(107, 'n')});
  EXPECT_EQ(longest.size_bytes, sizeof name);
}

}  // namespace
}  // namespace sluice
