// PROXY headers, in and out.

#include "iolib/wire/proxy_header.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "iolib/base/readiness.h"
#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/outcome.h"
#include "tests/system/recorded.h"
#include "tests/system/servers.h"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;

SocketAddress ip(const std::string& host, std::uint16_t port) {
  return *numeric_address({host, port});
}
std::string v1_header() {
  return wire::proxy_header_v1({ip("192.0.2.7", 4321), ip("198.51.100.1", 443)});
}
std::string v2_header() {
  return wire::proxy_header_v2(
      {ip("2001:db8::7", 4321), ip("2001:db8::1", 443), "name", "id", true});
}

class ProxyHeaderTest : public ServersTest {
 protected:
  void start_trusting(const std::string& more = "", const std::string& trust = "127.0.0.0/8") {
    add_servers(1);
    start_with_file(addresses(),
                    "proxy-in = \"trusted\"\nproxy-trust = \"" + trust + "\"\n" + more);
  }
  /// A connection whose client has sent this.
  [[nodiscard]] OwnedFd say(std::string_view bytes) {
    OwnedFd client = connect_tcp(daemon_->port());
    EXPECT_TRUE(send_all(client.get(), bytes));
    return client;
  }
  [[nodiscard]] OwnedFd accept_one() { return accept_from(servers_[0].fd.get()); }
  [[nodiscard]] LogFields last_end(std::size_t count) {
    EXPECT_EQ(daemon_->wait_for_ends(count).size(), count);
    return parse_text_line(line_of(daemon_->log(), " connection id="));
  }
};

TEST_P(ProxyHeaderTest, TheDeclaredClientIsTheClientAndTheHeaderIsNotForwarded) {
  start_trusting();
  std::size_t ends = 0;
  for (const auto& [header, client_name] : std::vector<std::pair<std::string, std::string>>{
           {v1_header(), "192.0.2.7:4321"}, {v2_header(), "[2001:db8::7]:4321"}}) {
    OwnedFd client = say(header + "hello");
    OwnedFd server = accept_one();
    EXPECT_EQ(receive_text(server.get(), 5), "hello");
    ASSERT_TRUE(send_all(server.get(), std::string_view("answer")));
    EXPECT_EQ(receive_text(client.get(), 6), "answer");
    client.reset();
    server.reset();
    const LogFields end = last_end(++ends);
    EXPECT_EQ(end.at("client"), client_name);
    EXPECT_EQ(end.at("to_upstream"), "5") << "the header is none of the client's bytes";
    EXPECT_EQ(end.at("reason"), "closed");
  }
}

TEST_P(ProxyHeaderTest, AHeaderMayBeCutAtEveryByte) {
  start_trusting();
  for (const std::string& header : {v1_header(), v2_header()}) {
    for (std::size_t cut = 1; cut <= header.size(); ++cut) {
      OwnedFd client = say(header.substr(0, cut));
      std::this_thread::sleep_for(1ms);
      ASSERT_TRUE(send_all(client.get(), header.substr(cut) + "hello"));
      const OwnedFd server = accept_one();
      ASSERT_EQ(receive_text(server.get(), 5), "hello") << "cut after " << cut;
    }
  }
}

TEST_P(ProxyHeaderTest, AServerThatSpeaksFirstIsHeard) {
  start_trusting();
  for (const std::string& header : {v1_header(), v2_header()}) {
    const OwnedFd client = say(header);
    const OwnedFd server = accept_one();
    ASSERT_TRUE(send_all(server.get(), std::string_view("banner")));
    EXPECT_EQ(receive_text(client.get(), 6), "banner");
    ASSERT_TRUE(send_all(client.get(), std::string_view("x")));
    EXPECT_EQ(receive_text(server.get(), 1), "x") << "one byte wakes the reader again";
  }
}

TEST_P(ProxyHeaderTest, WithoutAnAddressTheRealOneCounts) {
  start_trusting();
  std::size_t ends = 0;
  for (const std::string& header : {wire::local_header_v1(), wire::local_header_v2()}) {
    OwnedFd client = say(header + "x");
    const std::string name = loopback_address(local_port(client.get()));
    EXPECT_EQ(receive_text(accept_one().get(), 1), "x");
    client.reset();
    EXPECT_EQ(last_end(++ends).at("client"), name);
  }
}

TEST_P(ProxyHeaderTest, FromOthersItIsDataOrRefused) {
  start_trusting("", "10.0.0.0/8");
  const std::string header = v1_header();
  OwnedFd client = say(header);
  EXPECT_EQ(receive_text(accept_one().get(), header.size()), header);
  EXPECT_EQ(daemon_->terminate(), 0);
  start_with_file(addresses(),
                  "proxy-in = \"required\"\nproxy-trust = [\"10.0.0.0/8\", \"::1\"]\n");
  EXPECT_EQ(ending_of_client(), Ending::reset);
  EXPECT_EQ(last_end(1).at("reason"), "denied");
  EXPECT_EQ(counters_of(*daemon_).at("refused"), "1");
}

TEST_P(ProxyHeaderTest, HeadersThatLieAreRefused) {
  start_trusting();
  std::string wrong_checksum = v2_header();
  wrong_checksum[20] = static_cast<char>(wrong_checksum[20] ^ 1);
  const std::vector<std::string> lies{"GET / HTTP/1.1\r\n\r\n",
                                      "PROXY TCP4 1.2.3.4 5.6.7.8 99999 1\r\n",
                                      "PROXY UDP4 1.2.3.4 5.6.7.8 1 1\r\n",
                                      "PROXY TCP4 " + std::string(200, '1'),
                                      wrong_checksum,
                                      v2_header().substr(0, 12) + "\x31\x11\x10\x10",
                                      v2_header().substr(0, 14) + "\xff\xff"};
  for (const std::string& lie : lies) EXPECT_EQ(ending_of(say(lie).get()), Ending::reset) << lie;
  const auto rejected = [&] { return count_rejected(daemon_->log(), "proxy_header"); };
  EXPECT_TRUE(wait_until([&] { return rejected() == lies.size(); }));
  // One that is cut off by the client's end.
  OwnedFd client = say("PROXY TCP4 1.");
  finish_sending(client.get());
  EXPECT_EQ(ending_of(client.get()), Ending::reset);
  EXPECT_TRUE(wait_until([&] { return rejected() == lies.size() + 1; }));
  EXPECT_EQ(counters_of(*daemon_).at("refused"), std::to_string(lies.size() + 1));
  EXPECT_EQ(ready_events(servers_[0].fd.get(), POLLIN), 0) << "no server has heard of them";
}

TEST_P(ProxyHeaderTest, OneThatNeverEndsIsCutAtItsTime) {
  start_trusting("peek-timeout = \"200ms\"\n");
  const OwnedFd silent = connect_tcp(daemon_->port());
  const OwnedFd begun = say("PROXY TCP4 1.2.3.4");
  const OwnedFd slow = connect_tcp(daemon_->port());
  std::string header = v2_header();
  header.pop_back();  // so that it stays unfinished, however late the daemon looks
  Drip drip(slow.get(), header);
  EXPECT_EQ(ending_of(silent.get()), Ending::reset);
  EXPECT_EQ(ending_of(begun.get()), Ending::reset);
  EXPECT_EQ(drip.ending(), Ending::reset);
  EXPECT_EQ(last_end(3).at("reason"), "peek_timeout");
  EXPECT_EQ(count_lines(daemon_->log(), Regex("reason=peek_timeout")), 3U);
}

TEST_P(ProxyHeaderTest, APeerThatOnlyLooksLeavesNoLine) {
  start_trusting();
  connect_tcp(daemon_->port()).reset();
  reset(connect_tcp(daemon_->port()));
  ASSERT_TRUE(wait_until([this] { return counters_of(*daemon_).at("closed") == "2"; }));
  EXPECT_EQ(count_lines(daemon_->log(), Regex(" connection id=")), 0U);
}

TEST_P(ProxyHeaderTest, ServersAreToldOfTheClient) {
  for (const char* version : {"v1", "v2"}) {
    servers_.clear();
    add_servers(1);
    start({"--proxy-out", version});
    const OwnedFd client = say("hello");
    const wire::ProxyOut out{ip("127.0.0.1", local_port(client.get())),
                             ip("127.0.0.1", daemon_->port())};
    const std::string header =
        *(version + 1) == '1' ? wire::proxy_header_v1(out) : wire::proxy_header_v2(out);
    OwnedFd server = accept_one();
    EXPECT_EQ(receive_text(server.get(), header.size() + 5), header + "hello");
    ASSERT_TRUE(send_all(server.get(), std::string_view("y")));
    EXPECT_EQ(receive_text(client.get(), 1), "y");
    reset(std::move(server));
    EXPECT_EQ(last_end(1).at("to_upstream"), "5");
    EXPECT_EQ(daemon_->terminate(), 0);
    daemon_.reset();
  }
}

// The segments with data that a connection has received (linux/tcp.h; glibc's struct ends before).
std::uint32_t data_segments_in(int fd) {
  constexpr std::size_t kDataSegmentsIn = 38;
  std::array<std::uint32_t, kDataSegmentsIn + 1> info{};
  socklen_t size = sizeof info;
  EXPECT_EQ(::getsockopt(fd, IPPROTO_TCP, TCP_INFO, info.data(), &size), 0);
  EXPECT_EQ(size, sizeof info);
  return info[kDataSegmentsIn];
}

/// The client's bytes came with the header that is taken out, so they are there when the server's
/// header is sent. A worker that gets no CPU for 200 ms in between is too late for that.
TEST_P(ProxyHeaderTest, AHeaderLeavesTogetherWithWhatTheClientHasSaid) {
  start_trusting("proxy-out = \"v2\"\n");
  std::uint32_t segments = 2;
  for (int tries = 0; tries < 20 && segments != 1; ++tries) {
    const OwnedFd client = say(v1_header() + "hello");
    const OwnedFd server = accept_one();
    EXPECT_TRUE(receive_text(server.get(), 28 + 5).ends_with("hello"));
    segments = data_segments_in(server.get());
  }
  EXPECT_EQ(segments, 1U);
}

/// It has said something, which the header must not cost the client.
TEST_P(ProxyHeaderTest, AServerThatResetsAtOnceIsAResetServer) {
  add_servers(1);
  start({"--proxy-out", "v2"});
  std::jthread server([&] {
    for (int i = 0; i < 100; ++i) {
      OwnedFd accepted = accept_one();
      static_cast<void>(send_all(accepted.get(), std::string_view("ERR too many")));
      reset(std::move(accepted));
    }
  });
  for (int i = 0; i < 100; ++i) {
    const OwnedFd client = connect_tcp(daemon_->port());
    ASSERT_EQ(receive_text(client.get(), 12), "ERR too many") << i;
    EXPECT_EQ(ending_of(client.get()), Ending::reset);
  }
  static_cast<void>(last_end(100));
  EXPECT_EQ(count_lines(daemon_->log(), Regex("reason=upstream_reset")), 100U);
  EXPECT_EQ(counters_of(*daemon_).at("connect_failures"), "0");
}

TEST_P(ProxyHeaderTest, RoutesWithoutAServerReadTheHeaderToo) {
  add_servers(0);
  const std::string content = folder_.write("content", "the file");
  for (const std::string& to : {"file:" + content, std::string("echo:")}) {
    start_with_file("\"" + to + "\"", "proxy-in = \"required\"\nproxy-trust = \"127.0.0.1\"\n");
    OwnedFd client = say(v2_header() + "the file");
    finish_sending(client.get());
    EXPECT_EQ(receive_text(client.get(), 9), "the file") << to;
    client.reset();
    EXPECT_EQ(last_end(1).at("client"), "[2001:db8::7]:4321");
    EXPECT_EQ(daemon_->terminate(), 0);
    daemon_.reset();
  }
}

TEST_P(ProxyHeaderTest, WhatComesWhileTheProcessIsStoppedIsInTime) {
  start_trusting("peek-timeout = \"200ms\"\n");
  const OwnedFd client = say("PROXY ");
  std::this_thread::sleep_for(20ms);
  daemon_->process().signal(SIGSTOP);
  std::this_thread::sleep_for(500ms);
  ASSERT_TRUE(send_all(client.get(), v1_header().substr(6) + "hello"));
  daemon_->process().signal(SIGCONT);
  EXPECT_EQ(receive_text(accept_one().get(), 5), "hello");
}

TEST_P(ProxyHeaderTest, WhatABalancerInFrontSaysIsPassedOnWithFields) {
  start_trusting("proxy-out = \"v2\"\nproxy-tlvs = [\"unique-id\", \"crc32c\"]\n");
  OwnedFd client = say(v1_header());
  OwnedFd server = accept_one();
  std::string header = receive_text(server.get(), 16);
  const auto parsed = wire::parse_proxy_header(std::as_bytes(std::span(header)));
  header += receive_text(server.get(), std::get<wire::NeedsBytes>(parsed).total - 16);
  const auto whole = wire::parse_proxy_header(std::as_bytes(std::span(header)));
  ASSERT_TRUE(std::holds_alternative<wire::ProxyHeader>(whole)) << "the checksum is right";
  EXPECT_EQ(std::get<wire::ProxyHeader>(whole).client, ip("192.0.2.7", 4321));
  EXPECT_EQ(std::get<wire::ProxyHeader>(whole).target, ip("198.51.100.1", 443));
  client.reset();
  server.reset();
  EXPECT_NE(header.find(last_end(1).at("id")), std::string::npos) << "the id of the log line";
}

TEST_P(ProxyHeaderTest, ACaptureHasTheDeclaredClientAndNotTheHeader) {
  start_trusting("proxy-out = \"v1\"\ncapture = \"" + folder_.file("capture") + "\"\n");
  OwnedFd client = say(v1_header() + "hello");
  OwnedFd server = accept_one();
  EXPECT_EQ(receive_text(server.get(), v1_header().size() + 5), v1_header() + "hello");
  client.reset();
  server.reset();
  static_cast<void>(last_end(1));
  EXPECT_EQ(daemon_->terminate(), 0);
  daemon_.reset();
  std::string recorded;
  const Recorded capture =
      read_capture(folder_.file("capture"), [&](const RecordedConnection&, capture::Side,
                                                std::uint64_t, std::span<const std::byte> bytes) {
        recorded.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      });
  EXPECT_EQ(recorded, "hello");
  EXPECT_EQ(capture.only().open.client, "192.0.2.7:4321");
}

TEST_P(ProxyHeaderTest, ClientsOfUnixSocketsAreTrustedByTheirOwnName) {
  add_servers(1);
  const std::string path = folder_.file("s");
  const std::string file = folder_.write(
      "unix.toml", "[defaults]\nengine = \"" + GetParam() +
                       "\"\n[[route]]\nname = \"a\"\nlisten = [\"127.0.0.1:0\", \"unix:" + path +
                       "\"]\nto = " + addresses() +
                       "\nproxy-in = \"required\"\nproxy-trust = \"unix:\"\n");
  DaemonOptions options;
  options.listeners = 2;
  daemon_ = std::make_unique<Daemon>(std::vector<std::string>{"--config", file}, options);
  const std::string header = v2_header();
  for (std::size_t cut = 0; cut < header.size(); cut += 7) {
    OwnedFd client = connect_unix(path);
    ASSERT_TRUE(send_all(client.get(), std::string_view(header).substr(0, cut)));
    std::this_thread::sleep_for(2ms);
    ASSERT_TRUE(send_all(client.get(), header.substr(cut) + "x"));
    EXPECT_EQ(receive_text(accept_one().get(), 1), "x");
    client.reset();
  }
  EXPECT_EQ(last_end((header.size() + 6) / 7).at("client"), "[2001:db8::7]:4321");
  EXPECT_EQ(ending_of(connect_tcp(daemon_->port_of("a")).get()), Ending::reset) << "others may not";
}

/// The engine has many descriptors that wait for their header; a drain ends them.
TEST_P(ProxyHeaderTest, ADrainEndsThoseThatHaveNotSaidWhoTheyAre) {
  start_trusting("peek-timeout = \"1h\"\n");
  std::vector<OwnedFd> clients;
  for (int i = 0; i < 50; ++i) clients.push_back(say(i % 2 == 0 ? "" : "PROXY "));
  ASSERT_TRUE(wait_until([this] { return counters_of(*daemon_).at("active") == "50"; }));
  EXPECT_EQ(daemon_->terminate(10s), 0);
  for (const OwnedFd& client : clients) EXPECT_EQ(ending_of(client.get()), Ending::reset);
  EXPECT_EQ(count_lines(daemon_->log(), Regex("reason=drain_timeout")), 50U);
  daemon_.reset();
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, ProxyHeaderTest, testing::Values("uring", "epoll"));

}  // namespace
}  // namespace sluice::test
