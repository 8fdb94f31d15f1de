#include "proxy/admin/http_server.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <semaphore>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/sockets.h"

namespace sluice::admin {
namespace {

constexpr std::string_view kRequest = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A server whose handler hands each reply to the test.
class HttpServerTest : public testing::Test {
 protected:
  HttpServerTest() {
    server_ = std::make_unique<HttpServer>([this](const HttpRequest&, HttpServer::Reply reply) {
      replies_.set_value(std::move(reply));
    });
    test::Listener listener = test::listen_tcp();
    port_ = listener.port;
    server_->accept_from(std::move(listener.fd), Peer::loopback);
    thread_ = std::thread([this] { server_->run(); });
  }
  ~HttpServerTest() override { end(); }
  void end() {
    if (!thread_.joinable()) return;
    server_->stop();
    thread_.join();
    server_.reset();
  }

  std::promise<HttpServer::Reply> replies_;
  std::unique_ptr<HttpServer> server_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

TEST_F(HttpServerTest, AReplyOfAnotherThreadIsSent) {
  const OwnedFd client = test::connect_tcp(port_);
  ASSERT_TRUE(test::send_all(client.get(), kRequest));
  replies_.get_future().get()(make_response("text/plain", "late"));
  std::string received;
  while (!received.ends_with("late")) {
    const std::string more = test::receive_text(client.get(), 1);
    ASSERT_NE(more, "");
    received += more;
  }
  EXPECT_TRUE(received.starts_with("HTTP/1.1 200 OK\r\n"));
}

/// The peer has left meanwhile, and the server has ended.
TEST_F(HttpServerTest, AReplyCanBeDroppedAfterTheEnd) {
  std::optional<OwnedFd> client = test::connect_tcp(port_);
  ASSERT_TRUE(test::send_all(client->get(), kRequest));
  std::optional<HttpServer::Reply> reply = replies_.get_future().get();
  client.reset();
  end();
  reply.reset();
}

/// As if a worker hung, which they ask.
TEST(HttpServerCrowdTest, RequestsWithoutAReplyKeepNobodyOut) {
  constexpr std::size_t kWaiting = 40;
  std::vector<HttpServer::Reply> replies;
  std::counting_semaphore<> asked(0);
  HttpServer server([&](const HttpRequest& request, HttpServer::Reply reply) {
    if (request.path() == "/livez") return reply(make_response("text/plain", "alive"));
    replies.push_back(std::move(reply));
    asked.release();
  });
  test::Listener listener = test::listen_tcp();
  server.accept_from(std::move(listener.fd), Peer::loopback);
  std::thread thread([&] { server.run(); });
  const std::string rest = " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  std::vector<OwnedFd> clients;
  for (std::size_t i = 0; i < kWaiting; ++i) {
    clients.push_back(test::connect_tcp(listener.port));
    EXPECT_TRUE(test::send_all(clients.back().get(), "GET /waits" + rest));
    asked.acquire();
  }
  const OwnedFd newcomer = test::connect_tcp(listener.port);
  EXPECT_TRUE(test::send_all(newcomer.get(), "GET /livez" + rest));
  EXPECT_TRUE(test::receive_text(newcomer.get(), 15).starts_with("HTTP/1.1 200 OK"));
  EXPECT_EQ(test::receive_text(clients.front().get(), 1), "") << "the oldest one is closed";
  // Both those that are closed and those that are not can get their replies.
  server.post([&] {
    for (const HttpServer::Reply& each : replies) each(make_response("text/plain", "late"));
  });
  EXPECT_TRUE(test::receive_text(clients.back().get(), 15).starts_with("HTTP/1.1 200 OK"));
  server.stop();
  thread.join();
}

TEST_F(HttpServerTest, AReplyThatIsDroppedLeavesTheConnectionOpen) {
  const OwnedFd client = test::connect_tcp(port_);
  ASSERT_TRUE(test::send_all(client.get(), kRequest));
  std::optional<HttpServer::Reply> reply = replies_.get_future().get();
  reply.reset();
  EXPECT_FALSE(test::readable_within(client.get(), std::chrono::milliseconds(20)));
  end();
  EXPECT_TRUE(test::readable_within(client.get(), test::kPatience)) << "the end of the stream";
}

}  // namespace
}  // namespace sluice::admin
