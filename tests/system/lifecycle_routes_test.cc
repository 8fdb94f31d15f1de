// Every kind of address, to listen on and to forward to; several routes in one file; time-outs.

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "tests/support/regex.h"
#include "tests/support/socket_pair.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/outcome.h"

namespace sluice::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kStreamBytes = 4 << 20;

/// Sends both ways, then ends both in order. Empty, or the problem.
std::string exchange(Forwarded pair) {
  std::string wrong = transfer(pair.client.get(), pair.upstream.get(), Pattern(1), kStreamBytes) +
                      transfer(pair.upstream.get(), pair.client.get(), Pattern(2), kStreamBytes);
  finish_sending(pair.client.get());
  if (ending_of(pair.upstream.get()) != Ending::eof) wrong += "no end at the upstream";
  finish_sending(pair.upstream.get());
  if (ending_of(pair.client.get()) != Ending::eof) wrong += "no end at the client";
  return wrong;
}

class RouteTest : public testing::TestWithParam<Mode> {
 protected:
  void SetUp() override {
    if (GetParam().engine == "uring" && !io_uring_available()) {
      GTEST_SKIP() << "the kernel refuses io_uring here";
    }
  }
  /// Arguments of a daemon that listens at `listen` and forwards to `to`.
  [[nodiscard]] std::vector<std::string> arguments(
      const std::string& listen, const std::string& to,
      const std::vector<std::string>& more = {}) const {
    std::vector<std::string> result = route_arguments(GetParam(), to, more);
    result.at(1) = listen;
    return result;
  }
  [[nodiscard]] std::vector<std::string> arguments(const std::string& to) const {
    return arguments("127.0.0.1:0", to);
  }
};

TEST_P(RouteTest, UnixToUnix) {
  const TempDir folder;
  const std::string path = folder.file("listen.sock");
  const std::string upstream_path = folder.file("upstream.sock");
  const OwnedFd upstream = listen_unix(upstream_path);
  Daemon daemon(arguments("unix:" + path, "unix:" + upstream_path));
  Forwarded pair;
  pair.client = connect_unix(path);
  pair.upstream = accept_from(upstream.get());
  EXPECT_EQ(exchange(std::move(pair)), "");
  const auto ends = daemon.wait_for_ends(1, kLate);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].client, "unix:");
  EXPECT_EQ(ends[0].upstream, "unix:" + upstream_path);
  EXPECT_EQ(ends[0].to_upstream, kStreamBytes);
  EXPECT_EQ(ends[0].to_client, kStreamBytes);
  EXPECT_EQ(ends[0].reason, "closed");
  EXPECT_EQ(daemon.terminate(kLate), 0);
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_TRUE(std::filesystem::exists(upstream_path)) << "that one is not the daemon's";
}

// They would be lost: only bytes are forwarded.
TEST_P(RouteTest, WhoPassesADescriptorOverAUnixSocketIsRefused) {
  const TempDir folder;
  const std::string path = folder.file("listen.sock");
  const std::string upstream_path = folder.file("upstream.sock");
  const OwnedFd upstream = listen_unix(upstream_path);
  constexpr int kPassRights = 83;  // SO_PASSRIGHTS
  int passes = 0;
  socklen_t size = sizeof passes;
  if (::getsockopt(upstream.get(), SOL_SOCKET, kPassRights, &passes, &size) != 0) {
    GTEST_SKIP() << "this kernel cannot refuse descriptors: Linux 6.16 is the first that can";
  }
  Daemon daemon(arguments("unix:" + path, "unix:" + upstream_path));
  Forwarded pair;
  pair.client = connect_unix(path);
  pair.upstream = accept_from(upstream.get());
  for (const OwnedFd* end : {&pair.client, &pair.upstream}) {
    try {
      send_descriptor(end->get(), std::byte{'!'}, upstream.get());
      ADD_FAILURE() << "it was passed";
    } catch (const std::system_error& refused) {
      EXPECT_EQ(refused.code().value(), EPERM);
    }
  }
  EXPECT_EQ(exchange(std::move(pair)), "") << "no byte came of it";
}

TEST_P(RouteTest, Ipv6ToIpv6) {
  if (!has_ipv6()) GTEST_SKIP() << "this machine has no IPv6";
  const Listener upstream = listen_tcp(128, {}, AF_INET6);
  const std::string to = "[::1]:" + std::to_string(upstream.port);
  Daemon daemon(arguments("[::1]:0", to));
  EXPECT_NE(daemon.port(), 0);
  EXPECT_EQ(daemon.listening().at(0).address, "[::1]:" + std::to_string(daemon.port()));
  Forwarded pair;
  pair.client = connect_tcp(daemon.port(), {}, AF_INET6);
  const std::string client = "[::1]:" + std::to_string(local_port(pair.client.get()));
  pair.upstream = accept_from(upstream.fd.get());
  EXPECT_EQ(exchange(std::move(pair)), "");
  const auto ends = daemon.wait_for_ends(1, kLate);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].client, client);
  EXPECT_EQ(ends[0].upstream, to);
  EXPECT_EQ(daemon.terminate(kLate), 0);
}

TEST_P(RouteTest, PortAloneIsBothFamiliesAndLoopback) {
  const Listener upstream = listen_tcp();
  // As a target it means loopback, in the family that has a listener.
  Daemon daemon(arguments(":0", ":" + std::to_string(upstream.port)));
  std::size_t connections = 0;
  for (const int family : {AF_INET, AF_INET6}) {
    if (family == AF_INET6 && !has_ipv6()) continue;
    Forwarded pair;
    pair.client = connect_tcp(daemon.port(), {}, family);
    pair.upstream = accept_from(upstream.fd.get());
    const std::string port = std::to_string(local_port(pair.client.get()));
    EXPECT_EQ(exchange(std::move(pair)), "");
    const auto ends = daemon.wait_for_ends(++connections, kLate);
    ASSERT_EQ(ends.size(), connections);
    // One socket serves both families, and reports an IPv4 peer in its own form.
    const std::string client = family == AF_INET ? "127.0.0.1]?:" : "\\[::1\\]:";
    EXPECT_TRUE(Regex(client + port + '$').is_in(ends.back().client)) << ends.back().line;
    EXPECT_EQ(ends.back().upstream, loopback_address(upstream.port));
  }
  EXPECT_EQ(daemon.terminate(kLate), 0);
}

TEST_P(RouteTest, SeveralListenersOfOneRoute) {
  const TempDir folder;
  const std::string path = folder.file("listen.sock");
  const Listener upstream = listen_tcp();
  DaemonOptions options;
  options.listeners = 3;
  Daemon daemon(arguments("127.0.0.1:0", loopback_address(upstream.port),
                          {"--listen", "127.0.0.1:0", "--listen", "unix:" + path}),
                options);
  ASSERT_EQ(daemon.listening().size(), 3U);
  EXPECT_NE(daemon.port(0), daemon.port(1));
  for (const std::size_t index : {0U, 1U}) {
    ASSERT_NE(daemon.port(index), 0);
    EXPECT_EQ(exchange(forward(daemon.port(index), upstream.fd.get())), "");
  }
  Forwarded pair;
  pair.client = connect_unix(path);
  pair.upstream = accept_from(upstream.fd.get());
  EXPECT_EQ(exchange(std::move(pair)), "");
  EXPECT_EQ(daemon.terminate(kLate), 0);
}

TEST_P(RouteTest, EchoSendsBackAllAndThenItsEnd) {
  Daemon daemon(arguments("echo:"));
  const OwnedFd client = connect_tcp(daemon.port());
  {
    const std::jthread sender([&] {
      EXPECT_TRUE(send_pattern(client.get(), Pattern(1), 0, kStreamBytes));
      finish_sending(client.get());
    });
    PatternChecker received{Pattern(1)};
    EXPECT_EQ(read_pattern(client.get(), received, {.timeout = kLate}), Ending::eof);
    EXPECT_EQ(received.received_bytes(), kStreamBytes);
    EXPECT_FALSE(received.mismatch().has_value());
  }
  const auto ends = daemon.wait_for_ends(1, kLate);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].upstream, "echo:");
  EXPECT_EQ(ends[0].to_upstream, kStreamBytes);
  EXPECT_EQ(ends[0].to_client, kStreamBytes);
  EXPECT_EQ(ends[0].reason, "closed");
}

TEST_P(RouteTest, DiscardTakesAllAndCountsIt) {
  Daemon daemon(arguments("discard:"));
  OwnedFd client = connect_tcp(daemon.port());
  EXPECT_TRUE(send_pattern(client.get(), Pattern(1), 0, 8 * kStreamBytes));
  EXPECT_FALSE(readable_within(client.get(), milliseconds(100))) << "an answer";
  finish_sending(client.get());
  EXPECT_EQ(ending_of(client.get()), Ending::eof);
  const auto ends = daemon.wait_for_ends(1, kLate);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].upstream, "discard:");
  EXPECT_EQ(ends[0].to_upstream, 8 * kStreamBytes);
  EXPECT_EQ(ends[0].to_client, 0U);
  EXPECT_EQ(ends[0].reason, "closed");
  if (GetParam().zero_copy == "always") {
    EXPECT_EQ(ends[0].spliced_to_upstream, 8 * kStreamBytes);
  }
  if (GetParam().zero_copy == "never") {
    EXPECT_EQ(ends[0].spliced_to_upstream, 0U);
  }
}

INSTANTIATE_TEST_SUITE_P(EveryMode, RouteTest, testing::ValuesIn(every_mode()), name_of_mode);

/// A script that runs `program` with a different /etc/hosts.
std::string with_hosts(const TempDir& folder, const std::string& hosts,
                       const std::string& program) {
  const std::string name = "with-hosts-" + std::filesystem::path(program).filename().string();
  const std::string path =
      folder.write(name, "#!/bin/sh\nexec unshare -m sh -c 'mount --bind " + hosts +
                             " /etc/hosts && exec \"$@\"' sh " + program + " \"$@\"\n");
  std::filesystem::permissions(path, std::filesystem::perms{0755});
  return path;
}

class HostsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "only root can give the daemon a hosts file of its own";
    SLUICE_NEEDS_PROGRAM("unshare");
  }
  [[nodiscard]] DaemonOptions options_with(const std::string& hosts) const {
    DaemonOptions options;
    options.binary = with_hosts(folder_, hosts, daemon_binary());
    return options;
  }

  TempDir folder_;
};

/// A name with two addresses; only one has a listener.
TEST_F(HostsTest, AddressesOfANameAreTriedInTurn) {
  const std::string hosts =
      folder_.write("hosts", "127.0.0.1 localhost\n::1 twofold.test\n127.0.0.1 twofold.test\n");
  // As the resolver sees it: it omits families in which the machine has no address.
  Process lookup({with_hosts(folder_, hosts, "getent"), "ahosts", "twofold.test"});
  static_cast<void>(lookup.wait(kLate));
  if (lookup.standard_output().find("::1") == std::string::npos ||
      lookup.standard_output().find("127.0.0.1") == std::string::npos) {
    GTEST_SKIP() << "no name has two addresses here: " << lookup.standard_error();
  }
  for (const int family : {AF_INET, AF_INET6}) {
    const Listener upstream = listen_tcp(128, {}, family);
    const std::string port = std::to_string(upstream.port);
    const Daemon daemon({"--listen", "127.0.0.1:0", "--to", "twofold.test:" + port},
                        options_with(hosts));
    for (std::size_t count = 1; count < 4; ++count) {
      EXPECT_EQ(exchange(forward(daemon.port(), upstream.fd.get())), "");
      const auto ends = daemon.wait_for_ends(count, kLate);
      ASSERT_EQ(ends.size(), count);
      EXPECT_EQ(ends.back().upstream, (family == AF_INET ? "127.0.0.1:" : "[::1]:") + port);
      EXPECT_EQ(ends.back().reason, "closed");
    }
  }
}

/// Hosts files often list an address twice, or ::1 where IPv6 is off.
TEST_F(HostsTest, AListeningNameIsServedOnTheAddressesThatThisMachineHas) {
  const std::string hosts =
      folder_.write("hosts", "127.0.0.1 some.test\n192.0.2.1 some.test\n127.0.0.1 some.test\n");
  const std::string port = std::to_string(free_port());
  const std::vector<std::string> arguments{"--listen", "some.test:" + port, "--to", "echo:"};
  Daemon daemon(arguments, options_with(hosts));
  ASSERT_EQ(daemon.listening().size(), 1U);
  EXPECT_EQ(daemon.listening()[0].address, "127.0.0.1:" + port);
  EXPECT_TRUE(echoes(connect_tcp(daemon.port()).get()));
  EXPECT_EQ(daemon.terminate(), 0);
  EXPECT_EQ(count_lines(daemon.log(),
                        Regex("address_passed_over .*name=some.test:" + port + " .*192.0.2.1")),
            1U)
      << daemon.log();
  EXPECT_EQ(count_lines(daemon.log(), Regex(" listening ")), 1U) << daemon.log();

  std::vector<std::string> check{with_hosts(folder_, hosts, daemon_binary())};
  check.insert(check.end(), arguments.begin(), arguments.end());
  check.emplace_back("--check");
  Process checked(check);
  EXPECT_EQ(checked.wait(kLate), 0) << checked.standard_error();
  EXPECT_EQ(count_lines(checked.standard_output(), Regex("listen: some.test.*192.0.2.1")), 1U)
      << checked.standard_output();
}

/// No address would be left.
TEST_F(HostsTest, AListeningNameWithoutAnAddressOfThisMachineIsRefused) {
  const std::string hosts = folder_.write("hosts", "192.0.2.1 none.test\n203.0.113.1 none.test\n");
  for (const char* more : {"--log-level=info", "--check"}) {
    Process refused({with_hosts(folder_, hosts, daemon_binary()), "--listen", "none.test:0", "--to",
                     "echo:", more});
    EXPECT_EQ(refused.wait(kLate), 1) << more;
    EXPECT_NE(refused.standard_error().find("Cannot assign"), std::string::npos) << more;
  }
}

TEST_F(HostsTest, ANameIsResolvedAgainWhenConnectingFails) {
  const std::string hosts = folder_.write("hosts", "127.0.0.2 moved.test\n");
  const Listener upstream = listen_tcp();
  const std::string port = std::to_string(upstream.port);
  const Daemon daemon({"--listen", "127.0.0.1:0", "--to", "moved.test:" + port},
                      options_with(hosts));
  const OwnedFd refused = connect_tcp(daemon.port());
  EXPECT_EQ(ending_of(refused.get()), Ending::reset);
  const auto ends = daemon.wait_for_ends(1, kLate);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].reason, "connect_refused");

  static_cast<void>(folder_.write("hosts", "127.0.0.1 moved.test\n"));
  ASSERT_TRUE(wait_until(
      [&] {
        const OwnedFd client = connect_tcp(daemon.port());
        return readable_within(upstream.fd.get(), milliseconds(100));
      },
      kLate));
  // The daemon may have connected late for some of them.
  while (readable_within(upstream.fd.get(), milliseconds(300))) {
    static_cast<void>(accept_from(upstream.fd.get()));
  }
  EXPECT_EQ(exchange(forward(daemon.port(), upstream.fd.get())), "");
  EXPECT_EQ(count_lines(daemon.log(), Regex("resolved route=default upstream=127.0.0.1:" + port)),
            1U);
}

TEST_F(HostsTest, AMirrorsNameMayBeFoundLater) {
  const std::string hosts = folder_.write("hosts", "127.0.0.2 other.test\n");
  const Listener upstream = listen_tcp();
  const Listener mirror = listen_tcp();
  const std::string port = std::to_string(mirror.port);
  DaemonOptions options = options_with(hosts);
  options.process.environment = brief_lookups().environment;
  const Daemon daemon({"--listen", "127.0.0.1:0", "--to", loopback_address(upstream.port),
                       "--mirror", "late.invalid:" + port, "--workers", "1"},
                      options);
  EXPECT_TRUE(daemon.wait_for_log(Regex("mirror_unresolved route=default mirror=late.invalid:" +
                                        port + " reason=\"resolve late"),
                                  kLate));
  EXPECT_EQ(exchange(forward(daemon.port(), upstream.fd.get())), "");
  EXPECT_TRUE(daemon.wait_for_log(Regex("mirror .*state=open reason=\"its name"), kLate));

  static_cast<void>(folder_.write("hosts", "127.0.0.1 late.invalid\n"));
  ASSERT_TRUE(wait_until(
      [&] {
        EXPECT_EQ(exchange(forward(daemon.port(), upstream.fd.get())), "");
        return readable_within(mirror.fd.get(), milliseconds(100));
      },
      kLate));
  EXPECT_TRUE(daemon.wait_for_log(Regex("resolved route=default mirror=127.0.0.1:" + port), kLate));
  EXPECT_TRUE(daemon.wait_for_log(Regex("mirror .*state=closed"), kLate));
}

// Otherwise each connection would cause another.
TEST_F(HostsTest, ANameOfAListenerIsNoMirrorAndNoUpstream) {
  const std::string hosts = folder_.write("hosts", "127.0.0.1 here.test\n");
  const std::string port = std::to_string(free_port());
  const std::string itself = "here.test:" + port;
  const Daemon daemon({"--listen", "127.0.0.1:" + port, "--to", "discard:", "--mirror", itself},
                      options_with(hosts));
  EXPECT_TRUE(daemon.wait_for_log(Regex("mirror_unresolved route=default mirror=" + itself +
                                        " reason=\"resolve here.test: 127.0.0.1:" + port +
                                        " is one of sluice's own listeners\"")));
  Process refused({with_hosts(folder_, hosts, daemon_binary()), "--listen", ":" + port, "--to",
                   itself, "--check"});
  EXPECT_EQ(refused.wait(kLate), 1);
  EXPECT_NE(refused.standard_error().find("leads back to a listener of the route"),
            std::string::npos);
  // Through another route.
  const std::string file =
      folder_.write("sluice.toml",
                    "[[route]]\nname = \"one\"\nlisten = \"127.0.0.1:1\"\nto = \"here.test:2\"\n"
                    "[[route]]\nname = \"two\"\nlisten = \":2\"\nto = \"127.0.0.1:1\"\n");
  Process circle({with_hosts(folder_, hosts, daemon_binary()), "--config", file, "--check"});
  EXPECT_EQ(circle.wait(kLate), 1);
  EXPECT_NE(
      circle.standard_error().find("route \"one\": resolve here.test: 127.0.0.1:2 leads back"),
      std::string::npos)
      << circle.standard_error();
}

/// Two routes. The first has the short idle time-out of [defaults], the second a long one.
class TwoRoutesTest : public testing::Test {
 protected:
  void start(const std::vector<std::string>& more = {}) {
    const std::string path = folder_.write(
        "sluice.toml",
        "[defaults]\nworkers = 2\nidle-timeout = \"500ms\"\n"
        "[[route]]\nname = \"short\"\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\nto = \"" +
            loopback_address(upstream_.port) +
            "\"\n[[route]]\nname = \"long\"\nlisten = \"127.0.0.1:0\"\nidle-timeout = \"1h\"\n"
            "to = \"echo:\"\n");
    std::vector<std::string> arguments{"--config", path};
    arguments.insert(arguments.end(), more.begin(), more.end());
    DaemonOptions options;
    options.listeners = 3;
    daemon_ = std::make_unique<Daemon>(arguments, options);
  }

  TempDir folder_;
  Listener upstream_ = listen_tcp();
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(TwoRoutesTest, RouteBeatsDefaults) {
  start();
  EXPECT_TRUE(daemon_->wait_for_log(Regex("started workers=2 ")));
  const OwnedFd long_lived = connect_tcp(daemon_->port_of("long"));
  ASSERT_TRUE(echoes(long_lived.get()));
  const Forwarded short_lived = forward(daemon_->port_of("short"), upstream_.fd.get());
  EXPECT_EQ(ending_of(short_lived.client.get()), Ending::reset);
  EXPECT_EQ(ending_of(short_lived.upstream.get()), Ending::reset);
  std::this_thread::sleep_for(seconds(1));
  EXPECT_TRUE(echoes(long_lived.get()));
  const auto ends = daemon_->wait_for_ends(1, kLate);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].route, "short");
  EXPECT_EQ(ends[0].upstream, loopback_address(upstream_.port));
  EXPECT_EQ(ends[0].reason, "idle_timeout");
}

TEST_F(TwoRoutesTest, CommandLineBeatsBoth) {
  start({"--idle-timeout", "300ms", "--workers", "1"});
  EXPECT_TRUE(daemon_->wait_for_log(Regex("started workers=1 ")));
  const OwnedFd client = connect_tcp(daemon_->port_of("long"));
  EXPECT_EQ(ending_of(client.get()), Ending::reset);
  const auto ends = daemon_->wait_for_ends(1, kLate);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].route, "long");
  EXPECT_EQ(ends[0].upstream, "echo:");
  EXPECT_EQ(ends[0].reason, "idle_timeout");
}

}  // namespace
}  // namespace sluice::test
