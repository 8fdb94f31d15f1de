#include "proxy/admin/page_files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::admin {
namespace {

class PageFilesTest : public testing::Test {
 protected:
  PageFilesTest() { add_page(paths_); }

  HttpResponse get(std::string target, std::optional<std::string> if_none_match = {}) {
    HttpRequest request;
    request.method = "GET";
    request.target = std::move(target);
    request.if_none_match = std::move(if_none_match);
    HttpResponse answer;
    paths_.answer(request, [&answer](HttpResponse response) { answer = std::move(response); });
    return answer;
  }
  static std::string field(const HttpResponse& response, std::string_view name) {
    const auto found =
        std::ranges::find(response.fields, name, &std::pair<std::string, std::string>::first);
    return found == response.fields.end() ? "" : found->second;
  }

  Paths paths_;
};

constexpr const char* kFiles[] = {"/", "/assets/page.css", "/assets/page.js"};

TEST_F(PageFilesTest, ThePageLoadsOnlyWhatIsServed) {
  const std::string document = *get("/").body;
  std::size_t loaded = 0;
  for (const std::string_view name : {"src=\"", "href=\""}) {
    for (std::size_t at = 0; (at = document.find(name, at)) != document.npos;) {
      at += name.size();
      const std::string target = document.substr(at, document.find('"', at) - at);
      if (target.starts_with("data:")) continue;
      EXPECT_EQ(get(target).status, 200U) << target;
      ++loaded;
    }
  }
  EXPECT_EQ(loaded, 2U);
}

TEST_F(PageFilesTest, NothingInlineAndNothingFromElsewhereMayRun) {
  for (const char* path : kFiles) {
    const std::string policy = field(get(path), "Content-Security-Policy");
    EXPECT_TRUE(policy.starts_with("default-src 'none'; script-src 'self'; ")) << path;
    EXPECT_NE(policy.find("frame-ancestors 'none'"), policy.npos) << path;
    EXPECT_EQ(policy.find("unsafe"), policy.npos) << path;
    EXPECT_EQ(field(get(path), "Referrer-Policy"), "no-referrer") << path;
  }
}

TEST_F(PageFilesTest, WhatTheClientHasIsNotSentAgain) {
  for (const char* path : kFiles) {
    const HttpResponse first = get(path);
    const std::string tag = field(first, "ETag");
    EXPECT_EQ(first.cache_control, "no-cache");
    EXPECT_GT(tag.size(), 40U);
    for (const std::string& known : {tag, "W/" + tag, "\"other\", " + tag, std::string("*")}) {
      const HttpResponse again = get(path, known);
      EXPECT_EQ(again.status, 304U) << known;
      EXPECT_EQ(again.body, nullptr);
      EXPECT_EQ(field(again, "ETag"), tag);
      const std::string header = response_header(again, true, 0);
      EXPECT_EQ(header.find("Content-Length"), header.npos);
      EXPECT_EQ(header.find("\nContent-Type"), header.npos);
    }
    EXPECT_EQ(get(path, "\"other\"").status, 200U);
    EXPECT_EQ(get(path, "").status, 200U);
  }
}

}  // namespace
}  // namespace sluice::admin
