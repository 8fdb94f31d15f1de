// Routes that are chosen by what clients say first.

#include <gtest/gtest.h>
#include <poll.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "iolib/base/readiness.h"
#include "iolib/wire/proxy_header.h"
#include "tests/support/client_hello.h"
#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/outcome.h"
#include "tests/system/recorded.h"
#include "tests/system/servers.h"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;

/// What OpenSSL sends for `-servername web.example`, shortened to the name.
std::string hello_for(const std::string& name) {
  return in_tls_records(client_hello_with(server_name_extension(name)));
}

/// Server 0 is for web.example, server 1 for ssh, server 2 for those that no match fits.
class RoutingTest : public ServersTest {
 protected:
  void start_edge(const std::string& more = "", bool has_default = true,
                  const std::string& of_web = "") {
    add_servers(3);
    const std::string file = folder_.write(
        "edge.toml",
        "[defaults]\nworkers = 2\nengine = \"" + GetParam() +
            "\"\ndrain-timeout = \"0\"\n[[route]]\nname = \"edge\"\nlisten = \"127.0.0.1:0\"\n" +
            (has_default ? "to = \"" + address(2) + "\"\n" : std::string()) + more +
            "[[route.match]]\nprotocol = \"ssh\"\nroute = \"ssh\"\n"
            "[[route.match]]\nsni = [\"web.example\", \"*.web.example\"]\nroute = \"web\"\n"
            "[[route]]\nname = \"web\"\nto = \"" +
            address(0) + "\"\n" + of_web + "[[route]]\nname = \"ssh\"\nto = \"" + address(1) +
            "\"\n");
    daemon_ = std::make_unique<Daemon>(std::vector<std::string>{"--config", file});
  }
  [[nodiscard]] OwnedFd say(std::string_view bytes) {
    OwnedFd client = connect_tcp(daemon_->port());
    EXPECT_TRUE(send_all(client.get(), bytes));
    return client;
  }
  /// Whether the server gets these bytes, and its answer arrives.
  void expect_served(std::size_t server, const OwnedFd& client, const std::string& bytes) {
    const OwnedFd accepted = accept_from(servers_[server].fd.get());
    EXPECT_EQ(receive_text(accepted.get(), bytes.size()), bytes);
    ASSERT_TRUE(send_all(accepted.get(), std::string_view("answer")));
    EXPECT_EQ(receive_text(client.get(), 6), "answer");
  }
  [[nodiscard]] LogFields last_end(std::size_t count) {
    EXPECT_EQ(daemon_->wait_for_ends(count).size(), count);
    return parse_text_line(line_of(daemon_->log(), " connection id="));
  }
};

TEST_P(RoutingTest, EachClientComesToItsServerWithAllItsBytes) {
  start_edge();
  const std::string web = hello_for("www.Web.example") + "more";
  expect_served(0, say(web), web);
  const LogFields of_web = last_end(1);
  EXPECT_EQ(of_web.at("route"), "web");
  EXPECT_EQ(of_web.at("sni"), "www.web.example");
  EXPECT_EQ(of_web.at("to_upstream"), std::to_string(web.size()));
  expect_served(1, say("SSH-2.0-OpenSSH_9\r\n"), "SSH-2.0-OpenSSH_9\r\n");
  const LogFields of_ssh = last_end(2);
  EXPECT_EQ(of_ssh.at("route"), "ssh");
  EXPECT_FALSE(of_ssh.contains("sni"));
  expect_served(2, say("GET / HTTP/1.1\r\n"), "GET / HTTP/1.1\r\n");
  EXPECT_EQ(last_end(3).at("route"), "edge");
  const std::string other = hello_for("other.example");
  expect_served(2, say(other), other);
  EXPECT_EQ(last_end(4).at("sni"), "other.example");
}

TEST_P(RoutingTest, AHelloMayBeCutAtEveryByte) {
  start_edge();
  const std::string web = hello_for("web.example");
  for (std::size_t cut = 1; cut < web.size(); ++cut) {
    const OwnedFd client = say(web.substr(0, cut));
    std::this_thread::sleep_for(1ms);
    ASSERT_TRUE(send_all(client.get(), web.substr(cut)));
    expect_served(0, client, web);
  }
}

TEST_P(RoutingTest, AHelloMayComeByteForByteInRecordsOfOneByte) {
  start_edge();
  const std::string whole = hello_for("web.example");
  std::string records;
  for (const char byte : whole.substr(5)) records += std::string("\x16\x03\x01\x00\x01", 5) + byte;
  const OwnedFd client = connect_tcp(daemon_->port());
  std::jthread drip([&] {
    for (const char byte : records) ASSERT_TRUE(send_all(client.get(), {&byte, 1}));
  });
  expect_served(0, client, records);
}

/// Their servers may speak first.
TEST_P(RoutingTest, SilentClientsFitNoMatchAfterTheirTime) {
  start_edge("peek-timeout = \"100ms\"\n");
  const OwnedFd client = connect_tcp(daemon_->port());
  const OwnedFd accepted = accept_from(servers_[2].fd.get());
  ASSERT_TRUE(send_all(accepted.get(), std::string_view("220 hello")));
  EXPECT_EQ(receive_text(client.get(), 9), "220 hello");
  // One that begins like SSH and stops is no SSH.
  expect_served(2, say("SS"), "SS");
  // One that ends its stream says no more.
  const OwnedFd ended = say("SSH");
  finish_sending(ended.get());
  expect_served(2, ended, "SSH");
}

/// Its first byte shows that it fits no match. The time is an hour, so it is not waited for.
TEST_P(RoutingTest, AShortFirstMessageIsNotKeptWaiting) {
  start_edge("peek-timeout = \"1h\"\n");
  const std::string ssl_request("\x00\x00\x00\x08\x04\xd2\x16\x2f", 8);  // of PostgreSQL
  for (const std::string& message :
       {ssl_request, std::string("PING\r\n"), std::string("\x05\x01\x00", 3), std::string("X"),
        std::string("SX")}) {
    expect_served(2, say(message), message);
  }
}

TEST_P(RoutingTest, AHelloThatStopsIsCutAtItsTime) {
  start_edge("peek-timeout = \"200ms\"\n");
  const std::string web = hello_for("web.example");
  const OwnedFd begun = say(web.substr(0, 40));
  const OwnedFd slow = connect_tcp(daemon_->port());
  Drip drip(slow.get(), web);
  EXPECT_EQ(ending_of(begun.get()), Ending::reset);
  EXPECT_EQ(drip.ending(), Ending::reset);
  EXPECT_EQ(last_end(2).at("reason"), "peek_timeout");
  for (const Listener& server : servers_) EXPECT_EQ(ready_events(server.fd.get(), POLLIN), 0);
}

/// No memory is held for it, and it is forwarded.
TEST_P(RoutingTest, AHelloThatIsTooLongFitsNoMatch) {
  start_edge();
  const std::string begin("\x16\x03\x01\x40\x00\x01\x0f\xff\xff", 9);  // of a megabyte
  const std::string much = begin + std::string(1 << 20, 'x');
  const OwnedFd client = connect_tcp(daemon_->port());
  std::jthread sends([&] { static_cast<void>(send_all(client.get(), much)); });
  expect_served(2, client, much);
}

TEST_P(RoutingTest, WithoutATargetWhatFitsNoMatchEnds) {
  start_edge("", false);
  EXPECT_EQ(ending_of(say("GET / HTTP/1.1\r\n").get()), Ending::reset);
  EXPECT_EQ(last_end(1).at("reason"), "no_route");
  EXPECT_EQ(counters_of(*daemon_).at("refused"), "1");
  const std::string web = hello_for("web.example");
  expect_served(0, say(web), web);
}

/// The recorded route has a worker chosen for it elsewhere; the placement must not go wrong.
TEST_P(RoutingTest, AChosenRouteMayBeRecordedAndToldOfTheClient) {
  start_edge("proxy-in = \"trusted\"\nproxy-trust = \"127.0.0.1\"\n", true,
             "capture = \"" + folder_.file("capture") +
                 "\"\nproxy-out = \"v2\"\nproxy-tlvs = \"authority\"\n");
  const std::string header = wire::proxy_header_v1(
      {*numeric_address({"192.0.2.7", 4321}), *numeric_address({"198.51.100.1", 443})});
  const std::string web = hello_for("web.example");
  const std::string told =
      wire::proxy_header_v2({*numeric_address({"192.0.2.7", 4321}),
                             *numeric_address({"198.51.100.1", 443}), "web.example"});
  for (int i = 0; i < 20; ++i) expect_served(0, say(header + web), told + web);
  const LogFields end = last_end(20);
  EXPECT_EQ(end.at("client"), "192.0.2.7:4321");
  EXPECT_EQ(end.at("route"), "web");
  EXPECT_EQ(daemon_->terminate(), 0);
  daemon_.reset();
  std::size_t recorded = 0;
  static_cast<void>(read_capture(folder_.file("capture"),
                                 [&](const RecordedConnection& connection, capture::Side side,
                                     std::uint64_t, std::span<const std::byte> bytes) {
                                   EXPECT_EQ(connection.open.route, "web");
                                   if (side == capture::Side::client) recorded += bytes.size();
                                 }));
  EXPECT_EQ(recorded, 20 * web.size());
}

TEST_P(RoutingTest, ADrainEndsThoseThatHaveNotChosen) {
  start_edge("peek-timeout = \"1h\"\n");
  std::vector<OwnedFd> clients;
  for (int i = 0; i < 50; ++i) clients.push_back(say(i % 2 == 0 ? "" : "\x16\x03\x01"));
  ASSERT_TRUE(wait_until([this] { return counters_of(*daemon_).at("active") == "50"; }));
  EXPECT_EQ(daemon_->terminate(10s), 0);
  for (const OwnedFd& client : clients) EXPECT_EQ(ending_of(client.get()), Ending::reset);
  daemon_.reset();
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, RoutingTest, testing::Values("uring", "epoll"));

}  // namespace
}  // namespace sluice::test
