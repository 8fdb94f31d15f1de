#include "proxy/admin/http.h"

#include <gtest/gtest.h>

#include <string>

#include "iolib/json/json.h"

namespace sluice::admin {
namespace {

TEST(PercentDecoded, IsWhatWasEncoded) {
  EXPECT_EQ(percent_decoded(""), "");
  EXPECT_EQ(percent_decoded("127.0.0.1:80"), "127.0.0.1:80");
  EXPECT_EQ(percent_decoded("a+b"), "a+b");
  EXPECT_EQ(percent_decoded("%41%6d%4D%25"), "AmM%");
  EXPECT_EQ(percent_decoded("%2541"), "%41") << "once";
  EXPECT_EQ(percent_decoded("unix:%2Frun%2fx"), "unix:/run/x");
  EXPECT_EQ(percent_decoded("%00%ff%80"), std::string("\0\xff\x80", 3));
}

TEST(PercentDecoded, IsNothingWithoutTwoDigits) {
  for (const char* part :
       {"%", "%4", "a%", "%g0", "%0g", "%%41", "%-1", "% 1", "%4\xc3", "%u0041"}) {
    EXPECT_EQ(percent_decoded(part), std::nullopt) << part;
  }
}

TEST(HttpResponse, WithoutContentHasNoLength) {
  const std::string header = response_header(make_no_content(), true, 0);
  EXPECT_TRUE(header.starts_with("HTTP/1.1 204 No Content\r\n")) << header;
  EXPECT_EQ(header.find("\r\nContent-"), header.npos) << header;
  EXPECT_NE(response_header(make_response("text/plain", ""), true, 0).find("Content-Length: 0\r\n"),
            std::string::npos);
}

TEST(HttpResponse, AProblemIsValidJsonWhateverItQuotes) {
  const HttpResponse problem = make_problem(404, "There is no \xff\"\n.");
  EXPECT_EQ(json::parse(*problem.body).at("detail"), "There is no \xef\xbf\xbd\"\n.");
  EXPECT_EQ(json::parse(*problem.body).at("title"), "Not Found");
}

}  // namespace
}  // namespace sluice::admin
