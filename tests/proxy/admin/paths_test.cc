#include "proxy/admin/paths.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace sluice::admin {
namespace {

using Strings = std::vector<std::string>;

class PathsTest : public testing::Test {
 protected:
  PathsTest() {
    for (const auto& [method, pattern] :
         {std::pair("GET", "/"), {"GET", "/log"}, {"PUT", "/log"}, {"POST", "/{a}/{b}/kill"}}) {
      paths_.add(method, pattern, [this, pattern = std::string(pattern)](Paths::Call call) {
        pattern_ = pattern;
        parameters_ = std::move(call.parameters);
        waiting_ = std::move(call.reply);
      });
    }
  }
  // The status, or 0 if a handler has the reply.
  unsigned ask(std::string method, std::string target) {
    pattern_.clear();
    response_ = {};
    response_.status = 0;
    HttpRequest request;
    request.method = std::move(method);
    request.target = std::move(target);
    paths_.answer(std::move(request), [this](HttpResponse response) { response_ = response; });
    return response_.status;
  }

  Paths paths_;
  HttpResponse response_;
  std::string pattern_;
  Strings parameters_;
  HttpServer::Reply waiting_;
};

TEST_F(PathsTest, APathFindsItsHandlerByMethod) {
  EXPECT_EQ(ask("GET", "/"), 0U);
  EXPECT_EQ(pattern_, "/");
  EXPECT_EQ(ask("HEAD", "/log?x=/y"), 0U);
  EXPECT_EQ(ask("PUT", "/log"), 0U);
  EXPECT_EQ(pattern_, "/log");
  EXPECT_EQ(ask("DELETE", "/log"), 405U);
  EXPECT_EQ(response_.fields.at(0).second, "GET, HEAD, PUT");
  EXPECT_EQ(ask("GET", "/a/b/kill"), 405U);
  EXPECT_EQ(response_.fields.at(0).second, "POST");
}

TEST_F(PathsTest, PartsInBracesAreDecodedAfterTheSlashesAreFound) {
  EXPECT_EQ(ask("POST", "/r%20%22/unix:%2Frun%2fx/kill?b=1"), 0U);
  EXPECT_EQ(parameters_, (Strings{"r \"", "unix:/run/x"}));
  EXPECT_EQ(ask("POST", "/+/[::1]:80/kill"), 0U);
  EXPECT_EQ(parameters_, (Strings{"+", "[::1]:80"}));
}

TEST_F(PathsTest, WhatFitsNoPatternIsNotFound) {
  for (const char* path :
       {"/a//kill", "//b/kill", "/a/b/kill/", "/a/b", "/a/b/KILL", "/lo%67", "/log/"}) {
    EXPECT_EQ(ask("POST", path), 404U) << path;
  }
}

TEST_F(PathsTest, BrokenEncodingIsABadRequest) {
  for (const char* part : {"%", "%2", "%zz", "%2z", "a%", "%%41", "%-1", "%+1", "% 1"}) {
    EXPECT_EQ(ask("POST", "/a/" + std::string(part) + "/kill"), 400U) << part;
    EXPECT_EQ(ask("POST", "/" + std::string(part) + "/b/kill"), 400U) << part;
  }
}

TEST_F(PathsTest, AnAnswerCanComeLater) {
  EXPECT_EQ(ask("PUT", "/log"), 0U);
  waiting_(make_problem(409, "Later."));
  EXPECT_EQ(response_.status, 409U);
}

}  // namespace
}  // namespace sluice::admin
