#include "iolib/base/address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace sluice {
namespace {

ListenAddress listen_on(std::string_view text) {
  const auto result = parse_listen_address(text);
  EXPECT_TRUE(result.has_value()) << text << ": " << result.error().to_string();
  return result.has_value() ? *result : ListenAddress{};
}
TargetAddress target(std::string_view text) {
  const auto result = parse_target_address(text);
  EXPECT_TRUE(result.has_value()) << text << ": " << result.error().to_string();
  return result.has_value() ? *result : TargetAddress{};
}
std::string listen_error(std::string_view text) {
  const auto result = parse_listen_address(text);
  return result ? "no error" : result.error().to_string();
}
std::string target_error(std::string_view text) {
  const auto result = parse_target_address(text);
  return result ? "no error" : result.error().to_string();
}
SocketAddress numeric(const std::string& host, std::uint16_t port) {
  const auto result = numeric_address({host, port});
  EXPECT_TRUE(result.has_value()) << host;
  return result.has_value() ? *result : SocketAddress{};
}

constexpr std::string_view kListenForm = "expected HOST:PORT, [IPV6]:PORT, :PORT or unix:/path";

TEST(ListenAddress, TakesNamesAndNumbers) {
  EXPECT_EQ(listen_on("0.0.0.0:5432"), ListenAddress(HostPort{"0.0.0.0", 5432}));
  EXPECT_EQ(listen_on("db-1.example_net.org:80"),
            ListenAddress(HostPort{"db-1.example_net.org", 80}));
  EXPECT_EQ(listen_on("example.org.:80"), ListenAddress(HostPort{"example.org.", 80}));
  EXPECT_EQ(listen_on("[::1]:80"), ListenAddress(HostPort{"::1", 80}));
  EXPECT_EQ(listen_on("[fe80::1%eth0]:80"), ListenAddress(HostPort{"fe80::1%eth0", 80}));
  EXPECT_EQ(listen_on(":80"), ListenAddress(HostPort{"", 80}));
  EXPECT_EQ(listen_on("unix:/run/orders.sock"), ListenAddress(UnixEndpoint{"/run/orders.sock"}));
}

TEST(ListenAddress, AcceptsEveryPortAndZero) {
  EXPECT_EQ(listen_on("a:0"), ListenAddress(HostPort{"a", 0}));
  EXPECT_EQ(listen_on("a:65535"), ListenAddress(HostPort{"a", 65'535}));
}

TEST(ListenAddress, APortOutsideItsBoundsIsRefused) {
  EXPECT_EQ(listen_error("a:65536"),
            "port \"65536\" in \"a:65536\": expected a number of 0 to 65535");
  for (const char* text : {"a:", "a:-1", "a:+1", "a:1x", "a: 1", "a:99999999999999999999",
                           "[::]:", "a:http", "http://a:1"}) {
    EXPECT_EQ(listen_error(text).substr(0, 6), "port \"") << text << " " << listen_error(text);
  }
}

TEST(ListenAddress, AMissingPortIsNamed) {
  for (const char* text : {"", "localhost", "127.0.0.1", "5432", "[::1]", "[::1]80"}) {
    EXPECT_EQ(listen_error(text),
              "missing port in \"" + std::string(text) + "\": " + std::string(kListenForm));
  }
}

TEST(ListenAddress, IPv6WithoutBracketsIsNotGuessedAt) {
  for (const char* text : {"::1", "::1:80", "::", "fe80::1:80"}) {
    EXPECT_EQ(listen_error(text), "IPv6 address without brackets in \"" + std::string(text) +
                                      "\": " + std::string(kListenForm));
  }
}

TEST(ListenAddress, BracketsHoldAnIPv6AddressOnly) {
  EXPECT_EQ(listen_error("[::1:80"),
            "no closing bracket in \"[::1:80\": " + std::string(kListenForm));
  for (const char* text : {"[]:1", "[127.0.0.1]:1", "[:::]:1", "[host]:1"}) {
    EXPECT_EQ(listen_error(text).substr(0, 13), "IPv6 address ") << text;
  }
  for (const char* text : {"[::1%]:1", "[::1%a/b]:1", "[::1%a b]:1", "[::1%abcdefghijklmnop]:1"}) {
    EXPECT_EQ(listen_error(text).substr(0, 7), "scope \"") << text;
  }
}

TEST(ListenAddress, AHostOfDigitsIsAnIPv4AddressOrAMistake) {
  for (const char* text : {"999.1.1.1:80", "1.2.3:80", "80:80", "10.0.0.1.2:80", "a.1:80"}) {
    EXPECT_EQ(listen_error(text).substr(0, 14), "IPv4 address \"") << text;
  }
  EXPECT_EQ(listen_on("1a.example:80"), ListenAddress(HostPort{"1a.example", 80}));
}

TEST(ListenAddress, AHostThatCannotBeANameIsRefused) {
  for (const char* text : {"a b:80", "a/b:80", "*:80", "a..b:80", ".a:80", "a@b:80"}) {
    EXPECT_EQ(listen_error(text).substr(0, 6), "host \"") << text;
  }
  const std::string label(63, 'a');
  EXPECT_EQ(listen_on(label + ":1"), ListenAddress(HostPort{label, 1}));
  EXPECT_EQ(listen_error(label + "a:1").substr(0, 6), "host \"");
  const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'a');
  EXPECT_EQ(listen_on(longest + ":1"), ListenAddress(HostPort{longest, 1}));
  EXPECT_EQ(listen_error(longest + "a:1").substr(0, 17), "host of 254 bytes");
}

TEST(ListenAddress, AUnixPathIsAbsoluteAndFitsTheKernel) {
  const std::string longest = "/" + std::string(106, 'p');
  EXPECT_EQ(listen_on("unix:" + longest), ListenAddress(UnixEndpoint{longest}));
  EXPECT_EQ(listen_error("unix:" + longest + "p"),
            "path of 108 bytes in \"unix:" + longest + "p\": expected at most 107");
  for (const char* text : {"unix:", "unix:run/a", "unix: @a", "unix:80"}) {
    EXPECT_EQ(listen_error(text), "no absolute path in \"" + std::string(text) +
                                      "\": expected unix:/path or unix:@name");
  }
  EXPECT_EQ(listen_error(std::string_view("unix:/a\0b", 9)),
            "NUL byte in the path in \"unix:/a\\x00b\": expected a path without one");
}

TEST(ListenAddress, AnAbstractNameIsAnyBytesThatFitTheKernel) {
  const std::string longest = "@" + std::string(107, 'n');
  for (const std::string& name :
       {std::string("@a"), std::string("@@"), std::string("@/a b"), longest}) {
    EXPECT_EQ(listen_on("unix:" + name), ListenAddress(UnixEndpoint{name}));
    EXPECT_EQ(target("unix:" + name), TargetAddress(UnixEndpoint{name}));
    EXPECT_TRUE(std::get<UnixEndpoint>(listen_on("unix:" + name)).is_abstract());
  }
  EXPECT_FALSE(std::get<UnixEndpoint>(listen_on("unix:/@a")).is_abstract());
  EXPECT_EQ(listen_error("unix:" + longest + "n"),
            "name of 108 bytes in \"unix:" + longest + "n\": expected 1 to 107");
  EXPECT_EQ(target_error("unix:@"), "name of 0 bytes in \"unix:@\": expected 1 to 107");
  EXPECT_EQ(listen_error(std::string_view("unix:@a\0b", 9)),
            "NUL byte in the name in \"unix:@a\\x00b\": expected a name without one");
}

TEST(ListenAddress, ATargetIsNothingToListenOn) {
  for (const char* text : {"file:/etc/motd", "discard:", "echo:"}) {
    EXPECT_EQ(listen_error(text), "a target, not a listen address, in \"" + std::string(text) +
                                      "\": " + std::string(kListenForm));
  }
}

TEST(ListenAddress, AHiddenNulIsRefused) {
  EXPECT_EQ(listen_error(std::string_view("a\0b:80", 6)).substr(0, 6), "host \"");
  EXPECT_EQ(listen_error(std::string_view("[::1\0]:80", 9)).substr(0, 13), "IPv6 address ");
  EXPECT_EQ(listen_error(std::string_view("a:80\0", 5)).substr(0, 6), "port \"");
}

TEST(TargetAddress, TakesWhatListensAndFiveMore) {
  EXPECT_EQ(target("10.0.0.2:5432"), TargetAddress(HostPort{"10.0.0.2", 5432}));
  EXPECT_EQ(target("[::1]:80"), TargetAddress(HostPort{"::1", 80}));
  EXPECT_EQ(target(":80"), TargetAddress(HostPort{"", 80}));
  EXPECT_EQ(target("unix:/run/a"), TargetAddress(UnixEndpoint{"/run/a"}));
  EXPECT_EQ(target("file:/srv/a b"), TargetAddress(FileEndpoint{"/srv/a b"}));
  EXPECT_EQ(target("discard:"), TargetAddress(DiscardEndpoint{}));
  EXPECT_EQ(target("echo:"), TargetAddress(EchoEndpoint{}));
  EXPECT_EQ(target("dns:db.test:5432"), TargetAddress(DnsName{"db.test", 5432}));
  EXPECT_EQ(target("srv:_web._tcp.a.test"), TargetAddress(SrvName{"_web._tcp.a.test"}));
}

TEST(TargetAddress, ANameOfServersIsAName) {
  for (const char* text : {"dns:10.0.0.1:80", "dns:[::1]:80", "dns:[fe80::1%none]:80", "dns::80"}) {
    EXPECT_EQ(target_error(text),
              "no name in \"" + std::string(text) + "\": expected dns:HOST:PORT with a name");
    EXPECT_NE(listen_error(text), "");
  }
  EXPECT_EQ(target_error("dns:a"), "missing port in \"a\": expected dns:HOST:PORT with a name");
  EXPECT_EQ(target_error("dns:a:0"),
            "port 0 in \"dns:a:0\": expected a number of 1 to 65535 to connect to");
  for (const char* text : {"srv:a", "srv:_._tcp.a", "srv:_a._udp.a", "srv:_a._tcp", "srv:_a._tcp.",
                           "srv:a._tcp.b", "srv:_a.b._tcp.c"}) {
    EXPECT_EQ(target_error(text), "no name of a service in \"" + std::string(text) +
                                      "\": expected srv:_NAME._tcp.DOMAIN");
  }
  EXPECT_EQ(target_error("srv:_a._tcp.b c").substr(0, 5), "host ");
  EXPECT_EQ(listen_error("srv:_a._tcp.b").substr(0, 28), "a target, not a listen addre");
}

TEST(TargetAddress, AHostMayBeCalledDns) {
  EXPECT_EQ(target("dns:53"), TargetAddress(HostPort{"dns", 53}));
  EXPECT_EQ(target("srv:80"), TargetAddress(HostPort{"srv", 80}));
  EXPECT_EQ(listen_on("dns:53"), ListenAddress(HostPort{"dns", 53}));
}

TEST(TargetAddress, AHostMayBeCalledEcho) {
  EXPECT_EQ(target("echo:7"), TargetAddress(HostPort{"echo", 7}));
  EXPECT_EQ(target("discard:9"), TargetAddress(HostPort{"discard", 9}));
  EXPECT_EQ(target_error("echo:/x").substr(0, 9), "port \"/x\"");
}

TEST(TargetAddress, PortZeroCannotBeConnectedTo) {
  EXPECT_EQ(target_error("a:0"),
            "port 0 in \"a:0\": expected a number of 1 to 65535 to connect to");
  EXPECT_EQ(target_error(":0").substr(0, 6), "port 0");
}

TEST(TargetAddress, AFilePathIsAbsoluteAndBounded) {
  EXPECT_EQ(target_error("file:etc/motd"),
            "no absolute path in \"file:etc/motd\": expected file:/path");
  EXPECT_EQ(target("file:/" + std::string(4'094, 'f')),
            TargetAddress(FileEndpoint{"/" + std::string(4'094, 'f')}));
  EXPECT_EQ(target_error("file:/" + std::string(4'095, 'f')).substr(0, 18), "path of 4096 bytes");
  EXPECT_EQ(target_error("unix:/" + std::string(107, 'u')).substr(0, 17), "path of 108 bytes");
}

TEST(TargetAddress, AMistakeIsToldWithEveryForm) {
  EXPECT_EQ(target_error("upstream"),
            "missing port in \"upstream\": expected HOST:PORT, [IPV6]:PORT, :PORT, dns:HOST:PORT, "
            "srv:_NAME._tcp.DOMAIN, unix:/path, file:/path, discard: or echo:");
}

TEST(AddressText, IsWrittenAsItIsParsed) {
  for (const char* text : {"0.0.0.0:0", "name:80", "[::1]:80", "[fe80::1%eth0]:80", ":80",
                           "unix:/run/a.sock", "unix:@a"}) {
    EXPECT_EQ(to_string(listen_on(text)), text);
  }
  for (const char* text :
       {"name:80", "[::1]:80", ":80", "unix:/run/a.sock", "unix:@a", "file:/srv/x",
        "discard:", "echo:", "dns:name:80", "srv:_web._tcp.a.test."}) {
    EXPECT_EQ(to_string(target(text)), text);
  }
}

TEST(NumericAddress, MakesWhatTheKernelTakes) {
  const SocketAddress v4 = numeric("127.0.0.1", 80);
  EXPECT_EQ(v4.family(), AF_INET);
  EXPECT_EQ(v4.port(), 80);
  EXPECT_EQ(v4.size_bytes(), sizeof(sockaddr_in));
  EXPECT_EQ(v4.to_string(), "127.0.0.1:80");
  sockaddr_in raw{};
  std::memcpy(&raw, v4.data(), sizeof raw);
  EXPECT_EQ(raw.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
  EXPECT_EQ(raw.sin_port, htons(80));

  const SocketAddress v6 = numeric("::1", 8080);
  EXPECT_EQ(v6.family(), AF_INET6);
  EXPECT_EQ(v6.port(), 8080);
  EXPECT_EQ(v6.size_bytes(), sizeof(sockaddr_in6));
  EXPECT_EQ(v6.to_string(), "[::1]:8080");
}

TEST(NumericAddress, ANameIsAnErrorAndNoHostAsWell) {
  EXPECT_FALSE(numeric_address({"localhost", 80}));
  EXPECT_FALSE(numeric_address({"", 80}));
  EXPECT_EQ(numeric_address({"localhost", 80}).error().to_string(),
            "a name in \"localhost\": expected a numeric address");
}

TEST(NumericAddress, AScopeIsANumberOrAnInterface) {
  EXPECT_EQ(numeric("fe80::1%7", 80).to_string(), "[fe80::1%7]:80");
  // Every machine has the loopback interface, and it is the first.
  EXPECT_EQ(numeric("fe80::1%lo", 80), numeric("fe80::1%1", 80));
  const auto missing = numeric_address({"fe80::1%no-such-if", 80});
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().code, 0);
  EXPECT_EQ(missing.error().to_string().substr(0, 28), "if_nametoindex \"no-such-if\":");
}

TEST(SocketAddress, IsUnnamedByDefault) {
  const SocketAddress none{};
  EXPECT_EQ(none.family(), AF_UNSPEC);
  EXPECT_EQ(none.size_bytes(), 0u);
  EXPECT_EQ(none.port(), 0);
  EXPECT_EQ(none.to_string(), "-");
}

TEST(SocketAddress, IsTakenFromTheKernelsForm) {
  const SocketAddress v4 = numeric("192.0.2.1", 9);
  EXPECT_EQ(SocketAddress::from(v4.data(), v4.size_bytes()), v4);
  const SocketAddress v6 = numeric("2001:db8::1", 9);
  EXPECT_EQ(SocketAddress::from(v6.data(), v6.size_bytes()), v6);
}

TEST(SocketAddress, AnotherFamilyOrAShortFormIsUnnamed) {
  sockaddr_storage raw{};
  raw.ss_family = AF_UNIX;
  const auto* address = static_cast<const sockaddr*>(static_cast<const void*>(&raw));
  EXPECT_EQ(SocketAddress::from(address, sizeof(sa_family_t)), SocketAddress{});
  raw.ss_family = AF_INET6;
  EXPECT_EQ(SocketAddress::from(address, sizeof(sockaddr_in6) - 1), SocketAddress{});
  EXPECT_EQ(SocketAddress::from(address, 0), SocketAddress{});
  EXPECT_EQ(SocketAddress::from(nullptr, 0), SocketAddress{});
}

TEST(SocketAddress, DiffersByFamilyAddressPortAndScope) {
  EXPECT_EQ(numeric("127.0.0.1", 1), numeric("127.0.0.1", 1));
  EXPECT_NE(numeric("127.0.0.1", 1), numeric("127.0.0.1", 2));
  EXPECT_NE(numeric("127.0.0.1", 1), numeric("127.0.0.2", 1));
  EXPECT_NE(numeric("127.0.0.1", 1), numeric("::ffff:127.0.0.1", 1));
  EXPECT_NE(numeric("fe80::1%1", 1), numeric("fe80::1%2", 1));
  EXPECT_NE(numeric("::1", 1), numeric("::2", 1));
}

}  // namespace
}  // namespace sluice
