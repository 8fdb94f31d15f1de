// The admin API's list of connections, and its kill.

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "iolib/json/json.h"
#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/http.h"
#include "tests/system/outcome.h"

namespace sluice::test {
namespace {

/// A daemon of two workers that echoes.
class AdminConnectionsTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "uring" && !io_uring_available()) {
      GTEST_SKIP() << "the kernel refuses io_uring here";
    }
    admin_ = std::make_unique<AdminDaemon>(
        std::vector<std::string>{"--engine", GetParam(), "--workers", "2"});
  }
  OwnedFd echoed() {
    OwnedFd client = connect_tcp(admin_->daemon().port());
    EXPECT_TRUE(echoes(client.get()));
    return client;
  }
  [[nodiscard]] json::value list(const std::string& query) const {
    const HttpAnswer answer = admin_->ask_unix(
        http_request("GET", "/v1/connections" + (query.empty() ? "" : "?" + query)));
    EXPECT_EQ(answer.status, 200) << answer.body;
    return json::parse(answer.body);
  }
  [[nodiscard]] int kill(const std::string& id) const {
    return admin_
        ->ask_unix(http_request("POST", "/v1/connections/" + id + "/kill",
                                "X-Sluice: 1\r\nContent-Type: application/json\r\n"))
        .status;
  }
  std::unique_ptr<AdminDaemon> admin_;
};

std::string text(const json::value& item, std::string_view key) {
  return item.at(key).as_string().c_str();
}

TEST_P(AdminConnectionsTest, EachIsListedOncePageByPage) {
  std::vector<OwnedFd> clients;
  std::set<std::string> ports;
  for (int i = 0; i < 30; ++i) {
    clients.push_back(echoed());
    ports.insert("127.0.0.1:" + std::to_string(local_port(clients.back().get())));
  }
  std::set<std::string> seen;
  std::string after;
  for (int page = 0; page < 30; ++page) {
    const json::value body = list("sort=age&limit=7" + (after.empty() ? "" : "&after=" + after));
    for (const json::value& item : body.at("items").as_array()) {
      EXPECT_TRUE(seen.insert(text(item, "client")).second) << json::serialize(item);
      EXPECT_EQ(text(item, "bytes_to_client"), text(item, "bytes_to_upstream"));
      EXPECT_NE(text(item, "bytes"), "0");
      EXPECT_FALSE(item.at("recorded").as_bool());
      EXPECT_GE(item.at("age_seconds").to_number<double>(),
                item.at("idle_seconds").to_number<double>());
    }
    if (body.at("next").is_null()) break;
    after = text(body, "next");
  }
  EXPECT_EQ(seen, ports);
  EXPECT_TRUE(list("route=none").at("items").as_array().empty());
}

TEST_P(AdminConnectionsTest, AKillResetsThatConnectionAlone) {
  const OwnedFd victim = echoed();
  const OwnedFd other = echoed();
  const std::string port = ":" + std::to_string(local_port(victim.get()));
  std::string id;
  const json::value listed = list("");
  for (const json::value& item : listed.at("items").as_array()) {
    if (text(item, "client").ends_with(port)) id = text(item, "id");
  }
  ASSERT_FALSE(id.empty());
  for (const std::string& wrong : {id + "0", id.substr(0, id.size() - 1), "x" + id,
                                   std::string("-"), std::string("%00"), id + "%20"}) {
    EXPECT_NE(kill(wrong), 204) << wrong;
  }
  EXPECT_EQ(kill(id), 204);
  EXPECT_EQ(ending_of(victim.get()), Ending::reset);
  EXPECT_TRUE(echoes(other.get()));
  EXPECT_EQ(kill(id), 404);
}

/// The list is asked for while connections begin, stream, move and end on both workers.
TEST_P(AdminConnectionsTest, ListsAndKillsMeetAllThatMoves) {
  std::jthread traffic([this](const std::stop_token& stop) {
    const std::string burst(256 << 10, 'x');
    std::vector<OwnedFd> streams;
    while (!stop.stop_requested()) {
      for (int i = 0; i < 20; ++i) connect_tcp(admin_->daemon().port()).reset();
      streams.push_back(connect_tcp(admin_->daemon().port()));
      for (const OwnedFd& stream : streams) {
        static_cast<void>(
            ::send(stream.get(), burst.data(), burst.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
        static_cast<void>(::recv(stream.get(), nullptr, burst.size(), MSG_TRUNC | MSG_DONTWAIT));
      }
      if (streams.size() > 40) streams.erase(streams.begin());
    }
  });
  int killed = 0;
  for (int i = 0; i < 300 && killed < 30; ++i) {
    const json::value listed = list("sort=bytes&limit=20");
    for (const json::value& item : listed.at("items").as_array()) {
      if (item.at("bytes").as_string() != "0" && kill(text(item, "id")) == 204) ++killed;
      break;
    }
  }
  EXPECT_GE(killed, 30);
  traffic.request_stop();
  traffic.join();
  EXPECT_TRUE(wait_until([this] { return list("").at("items").as_array().empty(); }, kLate));
  EXPECT_EQ(admin_->daemon().terminate(kLate), 0);
}

INSTANTIATE_TEST_SUITE_P(Engines, AdminConnectionsTest, testing::Values("uring", "epoll"),
                         [](const auto& engine) { return engine.param; });

}  // namespace
}  // namespace sluice::test
