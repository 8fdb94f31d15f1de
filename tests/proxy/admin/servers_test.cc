#include "proxy/admin/servers.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>

namespace sluice::admin {
namespace {

class ServersTest : public testing::Test {
 protected:
  ServersTest() {
    RouteConfig config;
    config.name = "web";
    config.to = {{HostPort{"10.0.0.1", 80}, 3}, {HostPort{"db", 80}, 1, true}};
    routes_ = {std::make_shared<const Route>(make_route(0, config))};
  }
  [[nodiscard]] ServerLoad& load(std::size_t index) const {
    return *routes_[0]->servers->servers[index]->load;
  }
  [[nodiscard]] json::object item(std::size_t index, const Checks& checks = {}) const {
    return servers_json(routes_, checks, now_).at(index).as_object();
  }

  Routes routes_;
  TimePoint now_ = Clock::now();
};

TEST_F(ServersTest, AServerSaysWhatItIsAndDoes) {
  load(0).active = 4;
  load(0).failures = std::uint64_t{1} << 60;
  using std::chrono::milliseconds;
  EXPECT_EQ(json::serialize(item(0, {{&load(0), {"passed", milliseconds(250)}}})),
            "{\"route\":\"web\",\"server\":\"10.0.0.1:80\",\"state\":\"up\",\"ordered\":\"up\","
            "\"backup\":false,\"weight\":3,\"connections\":4,"
            "\"limits\":{},\"connect_failures\":\"1152921504606846976\",\"check\":\"passed\","
            "\"check_age_seconds\":2.5E-1}");
  EXPECT_EQ(json::serialize(item(1)),
            "{\"route\":\"web\",\"server\":\"db:80\",\"state\":\"up\",\"ordered\":\"up\","
            "\"backup\":true,\"weight\":1,\"connections\":0,\"limits\":{},"
            "\"connect_failures\":\"0\","
            "\"check\":null,\"check_age_seconds\":null}");
}

TEST_F(ServersTest, AStateIsWhatKeepsConnectionsAway) {
  load(0).ejected_until = (now_ + std::chrono::seconds(1)).time_since_epoch().count();
  EXPECT_EQ(item(0).at("state"), "ejected");
  load(0).order = Order::drain;
  EXPECT_EQ(item(0).at("state"), "drain");
  EXPECT_EQ(item(0).at("ordered"), "drain");
  load(0).down = true;
  EXPECT_EQ(item(0).at("state"), "down");
  EXPECT_EQ(item(0).at("ordered"), "drain");
}

TEST_F(ServersTest, AServerWithALimitSaysHowMuchOfItIsUsed) {
  RouteConfig config;
  config.to = {{HostPort{"10.0.0.1", 80}}};
  config.server_connections = 50;
  routes_ = {std::make_shared<const Route>(make_route(0, config))};
  load(0).active = 20;
  load(0).others = 5;
  EXPECT_EQ(item(0).at("connections"), 20);
  EXPECT_EQ(json::serialize(item(0).at("limits")),
            "{\"server-connections\":{\"limit\":50,\"used\":25}}");
}

TEST_F(ServersTest, ARouteWithoutServersHasNone) {
  RouteConfig config;
  config.to = {{EchoEndpoint{}}};
  EXPECT_TRUE(
      servers_json({std::make_shared<const Route>(make_route(0, config))}, {}, now_).empty());
}

}  // namespace
}  // namespace sluice::admin
