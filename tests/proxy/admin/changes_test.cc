#include "proxy/admin/changes.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "iolib/json/json.h"
#include "proxy/log/log.h"
#include "tests/proxy/admin/fake_commands.h"
#include "tests/proxy/admin/fake_source.h"

namespace sluice::admin {
namespace {

class ChangesTest : public testing::Test {
 protected:
  ChangesTest() {
    add_changes(paths_, source_, commands_);
    source_.add_route(route("web", {HostPort{"10.0.0.1", 80}, UnixEndpoint{"/run/x y"}}));
    source_.add_route(route("twice", {HostPort{"10.0.0.1", 80}, HostPort{"10.0.0.1", 80}}));
    source_.add_route(route("echo", {EchoEndpoint{}}));
    source_.add_route(route("recorded", {HostPort{"10.0.0.2", 80}}, "/capture"));
    source_.add_route(route("sink", {DiscardEndpoint{}}, "/capture"));
  }
  static Route route(std::string name, const std::vector<TargetAddress>& to,
                     std::string capture = "") {
    RouteConfig config;
    config.name = std::move(name);
    for (const TargetAddress& each : to) config.to.push_back({each});
    config.capture = std::move(capture);
    return make_route(0, config);
  }
  /// The status; the response is kept.
  unsigned ask(std::string method, std::string target, std::string body = "") {
    HttpRequest request;
    request.method = std::move(method);
    request.target = std::move(target);
    request.body = std::move(body);
    response_ = {};
    response_.status = 0;
    paths_.answer(std::move(request), [this](HttpResponse response) { response_ = response; });
    return response_.status;
  }
  [[nodiscard]] std::string body() const { return *response_.body; }
  [[nodiscard]] std::string detail() const {
    return json::parse(body()).at("detail").as_string().c_str();
  }
  [[nodiscard]] ServerLoad& load(std::size_t of_route, std::size_t server) const {
    return *source_.its_routes[of_route]->servers->servers[server]->load;
  }

  Paths paths_;
  FakeSource source_;
  FakeCommands commands_;
  HttpResponse response_;
};

constexpr const char* kServer = "/v1/servers/web/10.0.0.1:80";
constexpr const char* kDrain = R"({"state":"drain"})";

TEST_F(ChangesTest, AServerIsOrderedByItsNames) {
  EXPECT_EQ(ask("POST", kServer, kDrain), 200U);
  EXPECT_EQ(body(), "{\"state\":\"drain\",\"ordered\":\"drain\"}\n");
  EXPECT_EQ(load(0, 0).order, Order::drain);
  EXPECT_EQ(load(0, 1).order, Order::up);
  EXPECT_EQ(ask("POST", "/v1/servers/%77eb/unix%3A%2Frun%2Fx%20y", R"({"state":"down"})"), 200U);
  EXPECT_EQ(load(0, 1).order, Order::down);
  EXPECT_EQ(commands_.ordered, (std::vector<std::string>{"web 10.0.0.1:80", "web unix:/run/x y"}));
  load(0, 0).down = true;
  EXPECT_EQ(ask("POST", kServer, R"({"state":"up"})"), 200U);
  EXPECT_EQ(body(), "{\"state\":\"down\",\"ordered\":\"up\"}\n") << "its checks say so";
}

TEST_F(ChangesTest, AnAddressThatARouteHasTwiceIsOrderedAsOne) {
  EXPECT_EQ(ask("POST", "/v1/servers/twice/10.0.0.1:80", kDrain), 200U);
  EXPECT_EQ(load(1, 0).order, Order::drain);
  EXPECT_EQ(load(1, 1).order, Order::drain);
  EXPECT_EQ(load(0, 0).order, Order::up) << "that of another route is another server";
}

TEST_F(ChangesTest, WhatIsNotThereIs404) {
  EXPECT_EQ(ask("POST", "/v1/servers/none/10.0.0.1:80", kDrain), 404U);
  EXPECT_EQ(detail(), "There is no route \"none\".");
  EXPECT_EQ(ask("POST", "/v1/servers/web/10.0.0.1:81", kDrain), 404U);
  EXPECT_EQ(detail(), "The route \"web\" has no server \"10.0.0.1:81\".");
  EXPECT_EQ(ask("POST", "/v1/servers/echo/echo:", kDrain), 404U);
  EXPECT_EQ(ask("POST", "/v1/servers/web/%FF", kDrain), 404U);
  EXPECT_EQ(ask("POST", "/v1/routes/none/capture", R"({"enabled":true})"), 404U);
  EXPECT_TRUE(commands_.ordered.empty());
}

TEST_F(ChangesTest, WrongBodiesChangeNothing) {
  for (const char* wrong : {"", "drain", "{}", R"({"state":"Drain"})", R"({"state":""})",
                            R"({"state":1})", R"({"state":null})", R"({"state":["drain"]})",
                            R"({"state":"drain","for":"1s"})", R"({"state":"drain"}})"}) {
    EXPECT_EQ(ask("POST", kServer, wrong), 400U) << wrong;
    EXPECT_EQ(response_.content_type, "application/problem+json");
    EXPECT_TRUE(detail().ends_with('.')) << detail();
  }
  for (const char* wrong : {"", "{}", R"({"enabled":"true"})", R"({"enabled":1})",
                            R"({"enabled":null})", R"({"enabled":true,"for":"1s"})"}) {
    EXPECT_EQ(ask("POST", "/v1/routes/recorded/capture", wrong), 400U) << wrong;
  }
  for (const char* wrong : {"", R"({"level":"loud"})", R"({"level":3})", R"({"Level":"info"})"}) {
    EXPECT_EQ(ask("PUT", "/v1/log-level", wrong), 400U) << wrong;
  }
  for (const char* wrong : {"now", "[]", R"({"timeout":"30s"})"}) {
    EXPECT_EQ(ask("POST", "/v1/drain", wrong), 400U) << wrong;
    EXPECT_EQ(ask("POST", "/v1/undrain", wrong), 400U) << wrong;
  }
  EXPECT_TRUE(commands_.ordered.empty());
  EXPECT_TRUE(source_.its_routes[3]->stats->capture_enabled);
  EXPECT_EQ(commands_.lame_duck, std::nullopt);
}

TEST_F(ChangesTest, ACaptureIsSwitched) {
  const std::string path = "/v1/routes/recorded/capture";
  EXPECT_EQ(ask("POST", path, R"({"enabled":false})"), 200U);
  EXPECT_EQ(body(), "{\"capture_enabled\":false}\n");
  EXPECT_FALSE(source_.its_routes[3]->stats->capture_enabled);
  EXPECT_EQ(ask("POST", path, R"({"enabled":true})"), 200U);
  EXPECT_EQ(body(), "{\"capture_enabled\":true}\n");
  EXPECT_TRUE(source_.its_routes[3]->stats->capture_enabled);
}

TEST_F(ChangesTest, ACaptureThatIsNoneOrConfirmsIsNotSwitched) {
  for (const char* body : {R"({"enabled":false})", R"({"enabled":true})"}) {
    EXPECT_EQ(ask("POST", "/v1/routes/web/capture", body), 409U);
    EXPECT_EQ(detail(), "The route \"web\" has no capture.");
    EXPECT_EQ(ask("POST", "/v1/routes/sink/capture", body), 409U);
    EXPECT_EQ(detail(), "The route \"sink\" is a durable sink, which always records.");
  }
  EXPECT_TRUE(source_.its_routes[4]->stats->capture_enabled);
}

TEST_F(ChangesTest, TheDaemonBecomesALameDuckAndBack) {
  EXPECT_EQ(ask("POST", "/v1/drain"), 204U);
  EXPECT_EQ(response_.body, nullptr);
  EXPECT_EQ(commands_.lame_duck, true);
  EXPECT_EQ(ask("POST", "/v1/undrain", "{}"), 204U);
  EXPECT_EQ(commands_.lame_duck, false);
  commands_.ends = true;
  EXPECT_EQ(ask("POST", "/v1/drain"), 409U);
  EXPECT_EQ(detail(), "The daemon ends.");
}

TEST_F(ChangesTest, NothingChangesDuringTheStart) {
  source_.its_state = RunState::starting;
  EXPECT_EQ(ask("POST", kServer, kDrain), 409U);
  EXPECT_EQ(ask("POST", "/v1/routes/recorded/capture", R"({"enabled":false})"), 409U);
  EXPECT_EQ(ask("POST", "/v1/drain"), 409U);
  EXPECT_EQ(ask("POST", "/v1/undrain"), 409U);
  EXPECT_EQ(ask("PUT", "/v1/log-level", R"({"level":"debug"})"), 409U);
  EXPECT_EQ(detail(), "The daemon is starting.");
  EXPECT_EQ(ask("GET", "/v1/log-level"), 200U);
  EXPECT_TRUE(commands_.ordered.empty());
  EXPECT_EQ(commands_.lame_duck, std::nullopt);
}

TEST_F(ChangesTest, TheLogLevelIsReadAndSet) {
  const LogLevel before = log::level();
  for (const char* level : {"trace", "debug", "info", "warn", "error", "off"}) {
    const std::string text = "{\"level\":\"" + std::string(level) + "\"}";
    EXPECT_EQ(ask("PUT", "/v1/log-level", text), 200U);
    EXPECT_EQ(body(), text + "\n");
    EXPECT_EQ(ask("GET", "/v1/log-level"), 200U);
    EXPECT_EQ(body(), text + "\n");
  }
  EXPECT_EQ(log::level(), LogLevel::off);
  EXPECT_EQ(ask("POST", "/v1/log-level", R"({"level":"info"})"), 405U);
  log::set_level(before);
}

}  // namespace
}  // namespace sluice::admin
