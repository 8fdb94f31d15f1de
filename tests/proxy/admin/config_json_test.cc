#include "proxy/admin/config_json.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "proxy/config/options.h"

namespace sluice::admin {
namespace {

TEST(ConfigJsonTest, DefaultsHaveEveryKeyOfAFile) {
  Config config;
  config.admin_token_file = "/etc/sluice/token";
  config.admin = {UnixEndpoint{"/a"}};
  config.workers = 2;
  const json::object defaults = config_json(config).at("defaults").as_object();
  for (const Option& option : options()) {
    EXPECT_EQ(defaults.contains(option.name), (option.places & kInDefaults) != 0) << option.name;
  }
  EXPECT_EQ(defaults.at("workers"), "2");
  EXPECT_EQ(defaults.at("admin"), json::array({"unix:/a"}));
  EXPECT_EQ(defaults.at("admin-token-file"), "/etc/sluice/token");
  EXPECT_EQ(defaults.at("log-file"), nullptr);
  EXPECT_EQ(defaults.at("idle-timeout"), "1h");
  EXPECT_EQ(defaults.at("mirror"), json::array());
}

TEST(ConfigJsonTest, ARouteHasWhatIsNotUsual) {
  RouteConfig route;
  route.name = "web";
  route.listen = {HostPort{"", 80}};
  route.to = {{HostPort{"10.0.0.1", 80}}, {HostPort{"10.0.0.2", 80}, 2, true}};
  route.idle_timeout = std::chrono::seconds(90);
  route.capture = "/c\xff";
  RouteMatch match;
  match.sni = {"a.example"};
  match.prefix = {"\x16"};
  match.route = "other";
  route.matches = {match};
  Config config;
  config.routes = {route};
  EXPECT_EQ(json::serialize(config_json(config).at("routes")),
            "[{\"name\":\"web\",\"listen\":[\":80\"],\"to\":[\"10.0.0.1:80\","
            "{\"address\":\"10.0.0.2:80\",\"weight\":2,\"backup\":true}],"
            "\"idle-timeout\":\"1m30s\",\"capture\":\"/c\xef\xbf\xbd\","
            "\"match\":[{\"sni\":[\"a.example\"],\"prefix\":[\"hex:16\"],\"route\":\"other\"}]}]");
}

TEST(ConfigJsonTest, WhatHealthChecksSendIsNotShown) {
  RouteConfig route;
  route.health_send = "AUTH secret\r\n";
  route.health_expect = "+OK";
  Config config;
  config.routes = {route};
  const std::string text = json::serialize(config_json(config));
  EXPECT_EQ(text.find("secret"), std::string::npos);
  EXPECT_EQ(text.find("736563726574"), std::string::npos);
  EXPECT_NE(text.find("\"health-send\":\"(not shown)\",\"health-expect\":\"+OK\""),
            std::string::npos);
}

}  // namespace
}  // namespace sluice::admin
