// HTTP at the admin addresses: requests that are wrong, huge, slow or many.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/in_background.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/http.h"
#include "tests/system/outcome.h"

namespace sluice::test {
namespace {

using std::chrono::milliseconds;

const std::string kLive = http_request("GET", "/livez");

double rejected(const AdminDaemon& admin, const std::string& reason) {
  return admin.metric("sluice_admin_rejected_total{reason=\"" + reason + "\"}").value_or(-1);
}

TEST(AdminHttpTest, RequestsOfOneConnectionAreAnsweredInTheirOrder) {
  AdminDaemon admin;
  const OwnedFd client = connect_tcp(admin.port());
  ASSERT_TRUE(send_all(client.get(), kLive + http_request("GET", "/nothing") +
                                         http_request("HEAD", "/livez") +
                                         http_request("GET", "/readyz")));
  EXPECT_EQ(receive_answer(client.get()).body, "alive\n");
  EXPECT_EQ(receive_answer(client.get()).status, 404);
  const HttpAnswer head = receive_answer(client.get(), false);
  EXPECT_EQ(head.status, 200);
  EXPECT_TRUE(head.has("\r\nContent-Length: 6\r\n"));
  EXPECT_EQ(receive_answer(client.get()).body, "ready\n");
  const HttpAnswer last =
      exchange(client.get(), http_request("GET", "/livez", "Connection: close\r\n"));
  EXPECT_EQ(last.body, "alive\n");
  EXPECT_TRUE(last.has("\r\nConnection: close\r\n"));
  EXPECT_EQ(ending_of(client.get()), Ending::eof);
}

TEST(AdminHttpTest, ARequestMayComeByteByByte) {
  AdminDaemon admin;
  const OwnedFd client = connect_unix(admin.path());
  for (const char c : kLive) ASSERT_TRUE(send_all(client.get(), std::string_view(&c, 1)));
  EXPECT_EQ(receive_answer(client.get()).body, "alive\n");
}

TEST(AdminHttpTest, Version10EndsWithItsAnswerAndNeedsNoHost) {
  AdminDaemon admin;
  const OwnedFd client = connect_tcp(admin.port());
  EXPECT_EQ(exchange(client.get(), "GET /livez HTTP/1.0\r\n\r\n").body, "alive\n");
  EXPECT_EQ(ending_of(client.get()), Ending::eof);
}

TEST(AdminHttpTest, AHalfRequestIsNotAnswered) {
  AdminDaemon admin;
  const OwnedFd client = connect_tcp(admin.port());
  ASSERT_TRUE(send_all(client.get(), "GET /livez HTTP/1.1\r\nHost: loc"));
  finish_sending(client.get());
  EXPECT_EQ(receive_answer(client.get()).header, "");
  EXPECT_NE(ending_of(client.get()), Ending::timed_out);
}

/// Nothing that two programs could read in two ways is read in either.
TEST(AdminHttpTest, WhatIsAmbiguousIsRefusedAndEndsTheConnection) {
  AdminDaemon admin;
  const std::string line = "GET /livez HTTP/1.1\r\n";
  const std::string host = "Host: localhost\r\n";
  const std::string smuggled = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
  const std::vector<std::string> wrong = {
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
      "GET /livez\r\n\r\n",
      "GET /livez HTTP/3.0\r\n" + host + "\r\n",
      "GET  /livez HTTP/1.1\r\n" + host + "\r\n",
      "GET http://localhost/livez HTTP/1.1\r\n" + host + "\r\n",
      "CONNECT localhost:80 HTTP/1.1\r\n" + host + "\r\n",
      line + "\r\n",
      line + host + host + "\r\n",
      line + host + "Content Length: 0\r\n\r\n",
      line + host + "Content-Length : 0\r\n\r\n",
      line + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
      line + host + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + smuggled,
      line + host + "Content-Length: 0\r\nContent-Length: 5\r\n\r\n" + smuggled,
      line + host + "Content-Length: -1\r\n\r\n" + smuggled,
      line + host + "Content-Length: +5\r\n\r\n" + smuggled,
      line + host + "Content-Length: 0x5\r\n\r\n" + smuggled,
      line + host + "Transfer-Encoding: gzip\r\n\r\n" + smuggled,
      line + host + "Transfer-Encoding: chunked, gzip\r\n\r\n" + smuggled,
      line + host + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + smuggled,
      line + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" +
          smuggled,
      line + host + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n" + smuggled,
  };
  for (const std::string& request : wrong) {
    const OwnedFd client = connect_tcp(admin.port());
    const HttpAnswer answer = exchange(client.get(), request);
    EXPECT_EQ(answer.status, 400) << request << answer.header << answer.body;
    EXPECT_TRUE(answer.has("\r\nConnection: close\r\n")) << request;
    EXPECT_TRUE(answer.has("\r\nContent-Type: application/problem+json\r\n")) << request;
    finish_sending(client.get());
    EXPECT_EQ(ending_of(client.get()), Ending::eof) << request;
  }
  EXPECT_EQ(rejected(admin, "malformed"), wrong.size());
  EXPECT_EQ(admin.ask_tcp(kLive).status, 200);
}

TEST(AdminHttpTest, ABodyIsReadBeforeTheNextRequest) {
  AdminDaemon admin;
  const OwnedFd client = connect_tcp(admin.port());
  const std::string chunked =
      "GET /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5\r\nGET /\r\n0\r\n\r\n";
  ASSERT_TRUE(
      send_all(client.get(), chunked + http_request("GET", "/livez", "", std::string(65'536, 'x')) +
                                 http_request("GET", "/readyz")));
  EXPECT_EQ(receive_answer(client.get()).body, "alive\n");
  EXPECT_EQ(receive_answer(client.get()).body, "alive\n");
  EXPECT_EQ(receive_answer(client.get()).body, "ready\n");
}

TEST(AdminHttpTest, WhoWaitsToSendABodyIsAskedForIt) {
  AdminDaemon admin;
  const OwnedFd client = connect_tcp(admin.port());
  ASSERT_TRUE(send_all(client.get(),
                       "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: "
                       "100-continue\r\n\r\n"));
  EXPECT_EQ(receive_answer(client.get()).header, "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_EQ(exchange(client.get(), "{}").body, "alive\n");
}

TEST(AdminHttpTest, AHeaderBeyond8KiBIsRefused) {
  AdminDaemon admin;
  const auto ask = [&](std::size_t bytes) {
    return admin.ask_tcp(http_request("GET", "/livez", "X: " + std::string(bytes, 'x') + "\r\n"));
  };
  EXPECT_EQ(ask(7'000).status, 200);
  EXPECT_EQ(ask(9'000).status, 431);
  EXPECT_EQ(ask(100'000).status, 431);
  EXPECT_EQ(rejected(admin, "too_large"), 2);
}

TEST(AdminHttpTest, AGigabyteThatIsAnnouncedIsRefusedBeforeItComes) {
  AdminDaemon admin;
  for (const char* bytes : {"65537", "1073741824", "18446744073709551615"}) {
    const OwnedFd client = connect_tcp(admin.port());
    const HttpAnswer answer =
        exchange(client.get(), "POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
                                   std::string(bytes) + "\r\n\r\n");
    EXPECT_EQ(answer.status, 413) << bytes;
  }
}

TEST(AdminHttpTest, AGigabyteInChunksIsNotRead) {
  AdminDaemon admin;
  const OwnedFd client = connect_tcp(admin.port());
  ASSERT_TRUE(send_all(client.get(),
                       "POST /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: "
                       "chunked\r\n\r\n"));
  const std::string chunk = "10000\r\n" + std::string(65'536, 'x') + "\r\n";
  constexpr std::size_t kGigabyte = 1 << 30;
  std::size_t sent = 0;
  while (sent < kGigabyte && send_all(client.get(), chunk)) sent += chunk.size();
  // What the buffers of the kernel took, and what the server reads until its peer has the answer.
  EXPECT_LT(sent, kGigabyte / 16);
  EXPECT_EQ(rejected(admin, "too_large"), 1);
}

TEST(AdminHttpTest, AHeaderThatDribblesIsCutOff) {
  AdminDaemon admin;
  const OwnedFd client = connect_tcp(admin.port());
  ASSERT_TRUE(send_all(client.get(), "GET /livez HTTP/1.1\r\nX: "));
  const auto begin = std::chrono::steady_clock::now();
  while (send_all(client.get(), "x") && !readable_within(client.get(), milliseconds(100))) {
    ASSERT_LT(std::chrono::steady_clock::now() - begin, kLate);
  }
  EXPECT_NE(ending_of(client.get()), Ending::timed_out);
  EXPECT_EQ(rejected(admin, "timeout"), 1);
}

// --- Many ---

TEST(AdminCrowdTest, WhoWaitedLongestMakesRoomAndUnixPeersKeepTheirs) {
  AdminDaemon admin;
  std::vector<OwnedFd> unix_peers;
  for (int i = 0; i < 4; ++i) {
    unix_peers.push_back(connect_unix(admin.path()));
    ASSERT_EQ(exchange(unix_peers.back().get(), kLive).status, 200);
  }
  std::deque<OwnedFd> silent;
  for (int i = 0; i < 28; ++i) silent.push_back(connect_tcp(admin.port()));
  for (int i = 0; i < 10; ++i) {
    const OwnedFd client = connect_tcp(admin.port());
    EXPECT_EQ(exchange(client.get(), kLive).status, 200);
    EXPECT_NE(ending_of(silent.front().get()), Ending::timed_out) << i;
    silent.pop_front();
    // Its place goes to another one that is silent.
    silent.push_back(connect_tcp(admin.port()));
  }
  for (const OwnedFd& each : unix_peers) EXPECT_EQ(exchange(each.get(), kLive).status, 200);
}

TEST(AdminCrowdTest, AUnixPeerIsServedAlthoughAllPlacesAreTaken) {
  AdminDaemon admin;
  std::vector<OwnedFd> peers;
  for (int i = 0; i < 40; ++i) peers.push_back(connect_unix(admin.path()));
  for (int i = 0; i < 40; ++i) peers.push_back(connect_tcp(admin.port()));
  EXPECT_EQ(admin.ask_unix(kLive).status, 200);
  EXPECT_EQ(admin.ask_tcp(kLive).status, 200);
}

}  // namespace
}  // namespace sluice::test
