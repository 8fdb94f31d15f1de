#include "proxy/admin/guard.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::admin {
namespace {

const std::string kToken = "0123456789abcdef0123456789abcdef";

HttpRequest get(std::string target, Peer peer = Peer::loopback) {
  HttpRequest request;
  request.method = "GET";
  request.target = std::move(target);
  request.peer = peer;
  request.host = "localhost";
  return request;
}

HttpRequest post(std::string target, Peer peer = Peer::loopback) {
  HttpRequest request = get(std::move(target), peer);
  request.method = "POST";
  request.host = "localhost:9090";
  request.content_type = "application/json";
  request.x_sluice = "1";
  return request;
}

/// The status of the refusal; 0 if the request is let through.
unsigned status_of(const HttpRequest& request, const GuardRules& rules = {}) {
  const std::optional<HttpResponse> refused = refusal(request, rules);
  return refused ? refused->status : 0;
}

TEST(Guard, KnowsAddressesLocalhostAndTheNamesThatWereGiven) {
  const std::vector<std::string> names = {"sluice.example"};
  for (const char* host :
       {"localhost", "LocalHost", "localhost:80", "localhost:", "127.0.0.1", "10.1.2.3:9090",
        "[::1]", "[::1]:9090", "[2001:db8::1]:1", "sluice.example", "SLUICE.example:9090"}) {
    EXPECT_TRUE(is_known_host(host, names)) << host;
  }
  for (const char* host :
       {"", ":80", "evil.example", "sluice.example.evil", "localhost.evil", "localhost:80:80",
        "localhost:8o", "localhost:123456", "localhost@evil", "127.0.0.1.evil", "0x7f.1",
        "2130706433", "127.1", "[::1", "::1", "[::1]x", "[127.0.0.1]", "[]", "127.0.0.1 "}) {
    EXPECT_FALSE(is_known_host(host, names)) << host;
  }
}

TEST(Guard, AStrangeHostIsMisdirectedWhoeverAsksForWhatever) {
  for (const Peer peer : {Peer::unix_socket, Peer::loopback, Peer::remote}) {
    for (const char* path : {"/", "/livez", "/metrics", "/v1/status"}) {
      HttpRequest request = get(path, peer);
      request.host = "evil.example";
      EXPECT_EQ(status_of(request), 421U) << path;
    }
  }
  HttpRequest request = get("/livez");
  request.host.reset();  // HTTP/1.0, which no browser speaks
  EXPECT_EQ(status_of(request), 0U);
}

TEST(Guard, ARemoteListenerServesProbesOnly) {
  for (const char* path : {"/metrics", "/livez", "/readyz", "/metrics?x=1"}) {
    EXPECT_EQ(status_of(get(path, Peer::remote)), 0U) << path;
  }
  for (const char* path : {"/", "/assets/page.js", "/v1/status", "/metrics/", "/livez/../v1/status",
                           "//metrics", "/nothing"}) {
    EXPECT_EQ(status_of(get(path, Peer::remote)), 403U) << path;
    EXPECT_EQ(status_of(get(path, Peer::loopback)), 0U) << path;
  }
}

TEST(Guard, TheTokenIsNeededOverTcpForWhatHoldsData) {
  const GuardRules rules{{}, kToken};
  for (const char* path : {"/metrics", "/livez", "/readyz", "/", "/assets/page.js"}) {
    EXPECT_EQ(status_of(get(path), rules), 0U) << path;
  }
  for (const char* path : {"/v1/status", "/nothing", "/assets", "/v1/routes?x=/assets/"}) {
    EXPECT_EQ(status_of(get(path), rules), 401U) << path;
    EXPECT_EQ(status_of(get(path, Peer::unix_socket), rules), 0U) << path;
  }
  const auto with = [&](std::string authorization) {
    HttpRequest request = get("/v1/status");
    request.authorization = std::move(authorization);
    return status_of(request, rules);
  };
  EXPECT_EQ(with("Bearer " + kToken), 0U);
  EXPECT_EQ(with("bearer " + kToken), 0U);
  for (const std::string& wrong :
       {std::string(), std::string("Bearer"), std::string("Bearer "), "Bearer " + kToken + "0",
        "Bearer " + kToken.substr(1), "Bearer " + kToken + kToken, "Basic " + kToken, kToken,
        "Bearer  " + kToken}) {
    EXPECT_EQ(with(wrong), 401U) << wrong;
  }
}

TEST(Guard, A401NamesTheScheme) {
  const GuardRules rules{{}, kToken};
  HttpRequest request = get("/v1/status");
  const auto challenge = [&] { return refusal(request, rules)->fields.at(0); };
  EXPECT_EQ(challenge().first, "WWW-Authenticate");
  EXPECT_EQ(challenge().second, "Bearer realm=\"sluice\"");
  request.authorization = "Bearer wrong";
  EXPECT_EQ(challenge().second, "Bearer realm=\"sluice\", error=\"invalid_token\"");
}

TEST(Guard, AChangeNeedsWhatNoOtherPageCanSend) {
  EXPECT_EQ(status_of(post("/v1/drain")), 0U);
  EXPECT_EQ(status_of(post("/v1/drain", Peer::unix_socket)), 0U);
  for (const char* method : {"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get", "BREW"}) {
    HttpRequest request = post("/v1/drain");
    request.method = method;
    request.x_sluice.reset();
    EXPECT_EQ(status_of(request), 403U) << method;
    request.x_sluice = "0";
    EXPECT_EQ(status_of(request), 403U) << method;
  }
  HttpRequest request = post("/v1/drain");
  for (const char* type : {"application/json; charset=utf-8", "Application/JSON"}) {
    request.content_type = type;
    EXPECT_EQ(status_of(request), 0U) << type;
  }
  for (const char* type : {"text/plain", "application/jsonp", ""}) {
    request.content_type = type;
    EXPECT_EQ(status_of(request), 415U) << type;
  }
  request.content_type.reset();
  EXPECT_EQ(status_of(request), 415U);
}

TEST(Guard, AChangeComesFromThisOriginOrNone) {
  HttpRequest request = post("/v1/drain");
  for (const char* origin :
       {"http://localhost:9090", "https://localhost:9090", "http://LOCALHOST:9090"}) {
    request.origin = origin;
    EXPECT_EQ(status_of(request), 0U) << origin;
  }
  for (const char* origin : {"null", "", "http://localhost", "http://localhost:9091",
                             "http://evil.example", "http://localhost:9090.evil.example",
                             "localhost:9090", "ftp://localhost:9090", "http://localhost:9090/"}) {
    request.origin = origin;
    EXPECT_EQ(status_of(request), 403U) << origin;
  }
  request.origin = "http://localhost:9090";
  request.host.reset();
  EXPECT_EQ(status_of(request), 403U);
}

TEST(Guard, SecretsAreEqualOnlyIfAllOfThemIs) {
  EXPECT_TRUE(equal_in_constant_time(kToken, kToken));
  EXPECT_TRUE(equal_in_constant_time("", ""));
  EXPECT_FALSE(equal_in_constant_time("", kToken));
  EXPECT_FALSE(equal_in_constant_time(kToken, ""));
  EXPECT_FALSE(equal_in_constant_time(kToken + kToken, kToken));
  for (std::size_t i = 0; i < kToken.size(); ++i) {
    std::string other = kToken;
    other[i] = 'x';
    EXPECT_FALSE(equal_in_constant_time(other, kToken)) << i;
    EXPECT_FALSE(equal_in_constant_time(kToken.substr(0, i), kToken)) << i;
  }
}

}  // namespace
}  // namespace sluice::admin
