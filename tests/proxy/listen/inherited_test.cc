#include "proxy/listen/inherited.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "iolib/base/endpoint.h"
#include "proxy/config/config.h"
#include "proxy/listen/listen_sockets.h"
#include "tests/support/sockets.h"
#include "tests/support/temp_dir.h"

namespace sluice {
namespace {

using Texts = std::vector<std::string>;
using Counts = std::vector<int>;

enum class Families { one, both };
enum class Reuse : bool { no, yes };

/// Listens as another process does: blocking, and inherited by programs.
OwnedFd listen_elsewhere(const SocketAddress& address, Reuse reuse = Reuse::no,
                         Families families = Families::one) {
  OwnedFd fd(::socket(address.family(), SOCK_STREAM, 0));
  if (reuse == Reuse::yes) set_flag(fd.get(), SOL_SOCKET, SO_REUSEPORT);
  const int v6_only = families == Families::one ? 1 : 0;
  if (address.family() == AF_INET6) {
    EXPECT_EQ(::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof v6_only), 0);
  }
  EXPECT_EQ(::bind(fd.get(), address.data(), address.size_bytes()), 0);
  EXPECT_EQ(::listen(fd.get(), SOMAXCONN), 0);
  return fd;
}

SocketAddress numeric(const std::string& host, std::uint16_t port) {
  return *numeric_address(HostPort{host, port});
}

Config config_of(const ListenAddress& address) {
  Config config;
  RouteConfig& route = config.routes.emplace_back();
  route.listen = {address};
  route.to = {{DiscardEndpoint{}}};
  return config;
}

/// How many of the sockets each worker has.
std::vector<int> per_worker(const ListenSockets& listeners, std::size_t workers) {
  std::vector<int> counts(workers);
  for (const ListenSocket& each : listeners.sockets) ++counts[each.worker];
  return counts;
}

TEST(InheritedSocketsTest, AllSocketsOfAnAddressAreTakenInTheirOrder) {
  OwnedFd first = listen_elsewhere(numeric("127.0.0.1", 0), Reuse::yes);
  const SocketAddress address = local_name(first.get());
  OwnedFd second = listen_elsewhere(address, Reuse::yes);
  OwnedFd other = listen_elsewhere(numeric("127.0.0.1", 0));
  const std::string other_name = local_name(other.get()).to_string();
  const std::vector<int> expected{first.get(), second.get()};
  InheritedSockets inherited;
  for (OwnedFd* each : {&first, &other, &second}) inherited.add(std::move(*each));
  const std::vector<OwnedFd> taken = inherited.take(address, false);
  ASSERT_EQ(taken.size(), expected.size());
  EXPECT_EQ(taken[0].get(), expected[0]);
  EXPECT_EQ(taken[1].get(), expected[1]);
  for (const OwnedFd& each : taken) {
    EXPECT_NE(::fcntl(each.get(), F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_NE(::fcntl(each.get(), F_GETFL) & O_NONBLOCK, 0);
  }
  EXPECT_TRUE(inherited.take(address, false).empty()) << "each is taken once";
  EXPECT_EQ(inherited.left(), Texts{other_name});
}

TEST(InheritedSocketsTest, AWildcardAddressMatchesWithItsFamiliesOnly) {
  const OwnedFd probe(::socket(AF_INET6, SOCK_STREAM, 0));
  const SocketAddress loopback = numeric("::1", 0);
  if (::bind(probe.get(), loopback.data(), loopback.size_bytes()) != 0) {
    GTEST_SKIP() << "no IPv6 here";
  }
  OwnedFd both = listen_elsewhere(numeric("::", 0), Reuse::no, Families::both);
  const SocketAddress of_both = local_name(both.get());
  OwnedFd v6 = listen_elsewhere(numeric("::", 0));
  const SocketAddress of_v6 = local_name(v6.get());
  OwnedFd one = listen_elsewhere(numeric("::1", 0), Reuse::no, Families::both);
  const SocketAddress of_one = local_name(one.get());
  InheritedSockets inherited;
  for (OwnedFd* each : {&both, &v6, &one}) inherited.add(std::move(*each));
  EXPECT_EQ(inherited.left(),
            (Texts{":" + std::to_string(of_both.port()), "[::]:" + std::to_string(of_v6.port()),
                   "[::1]:" + std::to_string(of_one.port())}));
  EXPECT_TRUE(inherited.take(of_both, false).empty());
  EXPECT_TRUE(inherited.take(of_v6, true).empty());
  EXPECT_EQ(inherited.take(of_both, true).size(), 1U);
  EXPECT_EQ(inherited.take(of_v6, false).size(), 1U);
  EXPECT_EQ(inherited.take(of_one, false).size(), 1U) << "no wildcard, so one family anyway";
  EXPECT_TRUE(inherited.empty());
}

TEST(InheritedSocketsTest, UnixSocketsMatchByPathAndByName) {
  const test::TempDir folder;
  const UnixEndpoint path{folder.file("socket")};
  const UnixEndpoint name{"@" + folder.path()};
  InheritedSockets inherited;
  inherited.add(test::listen_unix(path.path));
  inherited.add(test::listen_unix(name.path));
  EXPECT_TRUE(inherited.take(UnixEndpoint{folder.file("other")}).empty());
  EXPECT_EQ(inherited.take(name).size(), 1U);
  EXPECT_EQ(inherited.take(path).size(), 1U);
  EXPECT_TRUE(inherited.empty());
}

TEST(InheritedSocketsTest, WhatIsNoListeningStreamSocketIsNamedAndNeverTaken) {
  const test::Listener bound = test::bind_tcp();
  const SocketAddress address = local_name(bound.fd.get());
  InheritedSockets inherited;
  inherited.add(OwnedFd(::dup(bound.fd.get())));
  OwnedFd file(::open("/dev/null", O_RDONLY));
  const std::string number = "descriptor " + std::to_string(file.get());
  inherited.add(std::move(file));
  OwnedFd datagrams(::socket(AF_INET, SOCK_DGRAM, 0));
  ASSERT_EQ(::bind(datagrams.get(), address.data(), address.size_bytes()), 0);
  inherited.add(std::move(datagrams));
  OwnedFd netlink(::socket(AF_NETLINK, SOCK_RAW, 0));
  const std::string netlink_number = "descriptor " + std::to_string(netlink.get());
  inherited.add(std::move(netlink));
  EXPECT_TRUE(inherited.take(address, false).empty());
  EXPECT_EQ(inherited.left(),
            (Texts{address.to_string() + " (does not listen)", number + " (no socket)",
                   address.to_string() + " (no stream socket)",
                   netlink_number + " (neither TCP nor a unix socket)"}));
}

TEST(InheritedListenersTest, ASocketThatCannotBeSharedServesAlone) {
  OwnedFd socket = listen_elsewhere(numeric("127.0.0.1", 0));
  const SocketAddress address = local_name(socket.get());
  const OwnedFd client = test::connect_tcp(address.port());
  InheritedSockets inherited;
  inherited.add(std::move(socket));
  auto listeners = open_listeners(config_of(HostPort{"127.0.0.1", address.port()}), 3, inherited);
  ASSERT_TRUE(listeners.has_value()) << listeners.error().to_string();
  EXPECT_EQ(per_worker(*listeners, 3), (Counts{1, 0, 0}));
  ASSERT_TRUE(listeners->listen({0, 1, 2}).has_value());
  EXPECT_TRUE(test::accept_from(listeners->sockets.front().fd.get())) << "the queue is kept";
  ASSERT_EQ(listeners->bound.size(), 1U);
  EXPECT_EQ(listeners->bound.front().address, address.to_string());
}

TEST(InheritedListenersTest, OptionsStayAsTheOtherProcessHasThemUntilThisOneListens) {
  OwnedFd socket = listen_elsewhere(numeric("127.0.0.1", 0));
  const OwnedFd of_other(::dup(socket.get()));
  const SocketAddress address = local_name(socket.get());
  InheritedSockets inherited;
  inherited.add(std::move(socket));
  Config config = config_of(HostPort{"127.0.0.1", address.port()});
  config.routes.front().capture = "/nowhere";
  auto listeners = open_listeners(config, 1, inherited);
  ASSERT_TRUE(listeners.has_value()) << listeners.error().to_string();
  EXPECT_FALSE(accepted_options(of_other.get()).resets);
  const OwnedFd queued = test::connect_tcp(address.port());
  ASSERT_TRUE(listeners->listen({}).has_value());
  EXPECT_TRUE(accepted_options(of_other.get()).resets) << "a sink confirms nothing by closing";
  EXPECT_EQ(listeners->sockets.front().reset_clients, true) << "for those that are queued";
}

TEST(InheritedListenersTest, FewerThanWorkersGetCompanyWhereTheyCanBeShared) {
  OwnedFd socket = listen_elsewhere(numeric("127.0.0.1", 0), Reuse::yes);
  const SocketAddress address = local_name(socket.get());
  InheritedSockets inherited;
  inherited.add(std::move(socket));
  auto listeners = open_listeners(config_of(HostPort{"127.0.0.1", address.port()}), 3, inherited);
  ASSERT_TRUE(listeners.has_value()) << listeners.error().to_string();
  EXPECT_EQ(per_worker(*listeners, 3), (Counts{1, 1, 1}));
  ASSERT_TRUE(listeners->listen({0, 1, 2}).has_value());
  for (const ListenSocket& each : listeners->sockets) EXPECT_NE(each.steering, nullptr);
}

TEST(InheritedListenersTest, MoreThanWorkersAreSpreadAndNotSteered) {
  InheritedSockets inherited;
  SocketAddress address = numeric("127.0.0.1", 0);
  for (int i = 0; i < 5; ++i) {
    OwnedFd socket = listen_elsewhere(address, Reuse::yes);
    address = local_name(socket.get());
    inherited.add(std::move(socket));
  }
  Config config = config_of(HostPort{"127.0.0.1", address.port()});
  config.routes.front().listen.push_back(HostPort{"127.0.0.1", 0});
  auto listeners = open_listeners(config, 2, inherited);
  ASSERT_TRUE(listeners.has_value()) << listeners.error().to_string();
  EXPECT_EQ(per_worker(*listeners, 2), (Counts{4, 3})) << "two of them of the other address";
  ASSERT_TRUE(listeners->listen({0, 1}).has_value());
  for (const ListenSocket& each : listeners->sockets) {
    EXPECT_EQ(each.steering == nullptr, each.inherited);
  }
}

TEST(InheritedListenersTest, AnAddressThatAnotherProcessHasIsStillAnError) {
  const OwnedFd socket = listen_elsewhere(numeric("127.0.0.1", 0));
  const std::uint16_t port = local_name(socket.get()).port();
  InheritedSockets inherited;
  inherited.add(listen_elsewhere(numeric("127.0.0.1", 0)));
  const auto listeners = open_listeners(config_of(HostPort{"127.0.0.1", port}), 1, inherited);
  ASSERT_TRUE(listeners.has_error());
  EXPECT_EQ(listeners.error().code, EADDRINUSE);
  EXPECT_FALSE(inherited.empty());
}

TEST(InheritedListenersTest, PathsOfTheOtherProcessStay) {
  const test::TempDir folder;
  const UnixEndpoint path{folder.file("route")};
  const UnixEndpoint admin{folder.file("admin")};
  InheritedSockets inherited;
  inherited.add(test::listen_unix(admin.path));
  inherited.add(test::listen_unix(path.path));
  Config config = config_of(path);
  config.admin = {admin};
  auto of_admin = open_admin_listeners(config, inherited);
  auto of_routes = open_listeners(config, 2, inherited);
  ASSERT_TRUE(of_admin.has_value());
  ASSERT_TRUE(of_routes.has_value());
  EXPECT_TRUE(inherited.empty());
  for (ListenSockets* each : {&*of_admin, &*of_routes}) {
    ASSERT_TRUE(each->listen({}).has_value());
    each->remove_unix_paths();
  }
  const OwnedFd client = test::connect_unix(path.path);
  const OwnedFd admin_client = test::connect_unix(admin.path);
  EXPECT_TRUE(test::accept_from(of_routes->sockets.front().fd.get()));
  EXPECT_TRUE(test::accept_from(of_admin->sockets.front().fd.get()));
}

}  // namespace
}  // namespace sluice
