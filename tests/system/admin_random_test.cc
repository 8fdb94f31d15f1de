// Random and broken requests at the admin addresses.

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/support/settings.h"
#include "tests/support/sockets.h"
#include "tests/system/http.h"
#include "tests/system/outcome.h"

namespace sluice::test {
namespace {

const std::string kChange = "X-Sluice: 1\r\nContent-Type: application/json\r\n";
const std::string kProbe = http_request("GET", "/livez");

/// Whole requests, of every kind, among them what changes nothing that exists.
std::vector<std::string> seeds() {
  std::vector<std::string> all;
  for (const char* path : {"/", "/livez", "/metrics", "/v1/status", "/v1/routes", "/v1/servers",
                           "/v1/config", "/v1/history", "/assets/live.js", "/v1/%2e%2e/%00",
                           "/v1/connections?route=route&sort=bytes&limit=10&after=1"}) {
    all.push_back(http_request("GET", path));
    all.push_back(http_request("HEAD", path, "If-None-Match: \"x\", *\r\n"));
  }
  for (const char* path : {"/v1/connections/1-2-3/kill", "/v1/routes/none/capture",
                           "/v1/servers/route/127.0.0.1%3A1", "/v1/log-level"}) {
    for (const char* body :
         {"{\"enabled\":false}", "{\"state\":\"drain\"}", "{\"level\":7}", "[[[[",
          "{\"state\":\"up\",\"state\":\"down\"}", "nul", "\"\\ud800\""}) {
      all.push_back(http_request("POST", path, kChange, body));
      all.push_back(http_request("PUT", path, kChange, body));
    }
    all.push_back("POST " + std::string(path) + " HTTP/1.1\r\nHost: [::1]:80\r\n" + kChange +
                  "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n");
  }
  return all;
}

class Requests {
 public:
  explicit Requests(std::uint64_t seed) : random_(seed) {}

  /// One or more of seeds(), some of them changed.
  std::string next() {
    std::string bytes;
    for (std::uint64_t i = 0; i <= below(4); ++i) bytes += seeds_[below(seeds_.size())];
    for (std::uint64_t i = below(6); i > 0; --i) change(bytes);
    return bytes;
  }
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }

 private:
  void change(std::string& bytes) {
    static const std::vector<std::string> kPieces = {"\r\n",
                                                     "\n",
                                                     "\r",
                                                     std::string(1, '\0'),
                                                     " ",
                                                     ":",
                                                     "%",
                                                     "%2f",
                                                     "/../",
                                                     "\xff\xfe",
                                                     "Host: evil\r\n",
                                                     "Content-Length: 3\r\n",
                                                     "Transfer-Encoding: chunked\r\n",
                                                     "\r\n\r\n",
                                                     "ffffffffffffffff\r\n",
                                                     std::string(9'000, 'x')};
    const std::size_t at = below(bytes.size() + 1);
    switch (below(4)) {
      case 0:
        bytes.insert(at, kPieces[below(kPieces.size())]);
        break;
      case 1:
        bytes.erase(at, 1 + below(20));
        break;
      case 2:
        bytes.insert(at, 1, static_cast<char>(below(256)));
        break;
      default:
        if (at < bytes.size()) bytes[at] = static_cast<char>(below(256));
    }
  }

  std::mt19937_64 random_;
  const std::vector<std::string> seeds_ = seeds();
};

/// Everything that is answered until the end of the connection, which must come.
std::string answers_to(OwnedFd client, std::string_view bytes) {
  // What is refused early may be closed before it has been sent.
  static_cast<void>(send_all(client.get(), bytes));
  ::shutdown(client.get(), SHUT_WR);
  std::string answers;
  while (true) {
    const std::string more = receive_text(client.get(), 1 << 16, kLate);
    answers += more;
    if (more.size() < 1 << 16) break;
  }
  return answers;
}

TEST(AdminRandomTest, WhateverComesTheDaemonAnswersInHttpAndLives) {
  AdminDaemon admin;
  Requests requests(seed());
  const int count = by_scale(300, 2'000, 200'000);
  for (int i = 0; i < count; ++i) {
    const std::string bytes = requests.next();
    OwnedFd client = i % 2 == 0 ? connect_unix(admin.path()) : connect_tcp(admin.port());
    const std::string answers = answers_to(std::move(client), bytes);
    ASSERT_TRUE(answers.empty() || answers.starts_with("HTTP/1.1 ")) << bytes << "\n" << answers;
    ASSERT_EQ(answers.find("HTTP/1.1 500"), answers.npos) << bytes;
    if (i % 50 == 0) {
      ASSERT_EQ(admin.ask_tcp(kProbe).status, 200) << bytes;
    }
  }
  EXPECT_EQ(admin.daemon().terminate(kLate), 0);
}

/// Each client goes away after one byte more, by an end or by a reset.
TEST(AdminRandomTest, AClientMayGoAwayAfterAnyByte) {
  AdminDaemon admin;
  const std::string request = http_request("POST", "/v1/connections/1-2-3/kill",
                                           kChange + "Connection: close\r\n", "{\"a\": [1]}") +
                              kProbe;
  for (std::size_t bytes = 0; bytes <= request.size(); ++bytes) {
    for (const bool resets : {false, true}) {
      OwnedFd client = connect_tcp(admin.port());
      ASSERT_TRUE(send_all(client.get(), std::string_view(request).substr(0, bytes)) ||
                  bytes > request.size() - kProbe.size());
      if (resets) reset(std::move(client));
    }
  }
  EXPECT_EQ(admin.ask_tcp(kProbe).status, 200);
  EXPECT_EQ(admin.daemon().terminate(kLate), 0);
}

TEST(AdminRandomTest, TheEndComesInTheMiddleOfRequests) {
  AdminDaemon admin;
  std::vector<std::jthread> threads;
  for (std::uint64_t i = 0; i < 4; ++i) {
    threads.emplace_back([&admin, random = seed() + i](const std::stop_token& stop) {
      Requests requests(random);
      while (!stop.stop_requested()) {
        const std::string bytes = requests.next();
        if (try_connect(admin.port()) != 0) return;
        try {
          OwnedFd client = connect_tcp(admin.port());
          ::send(client.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        } catch (const std::system_error&) {
          return;
        }
      }
    });
  }
  for (int i = 0; i < 20; ++i) EXPECT_EQ(admin.ask_unix(kProbe).status, 200);
  EXPECT_EQ(admin.daemon().terminate(kLate), 0);
}

}  // namespace
}  // namespace sluice::test
