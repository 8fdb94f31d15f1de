#include "proxy/admin/body.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::admin {
namespace {

std::string fault(std::string_view body) {
  const Result<json::value> value = only_member(body, "state");
  return value.has_error() ? value.error().to_string() : "none";
}

TEST(Body, IsAnObjectWithOneKey) {
  EXPECT_EQ(only_member(R"({"state":"up"})", "state").value(), "up");
  EXPECT_EQ(only_member(" {\"state\" :\r\n[1]}\n", "state").value().at(0), 1);
  EXPECT_TRUE(only_member(R"({"\u0073tate":null})", "state").value().is_null());
}

TEST(Body, AnythingElseHasASentence) {
  for (const char* body : {"", " ", "state=up", "{", "{\"state\":}", "{\"state\":\"up\"} {}",
                           "{\"state\":\"up\"}x", "{'state':'up'}", "{\"state\":\"up\",}",
                           "{\"state\":\"\xff\"}", "{\"state\":NaN}", "// up\n{}"}) {
    EXPECT_EQ(fault(body), "The body is no valid JSON.") << body;
  }
  for (const char* body : {"[]", "\"up\"", "1", "null", "[{\"state\":\"up\"}]"}) {
    EXPECT_EQ(fault(body), "The body is no JSON object.") << body;
  }
  EXPECT_EQ(fault("{}"), "The body lacks the key \"state\".");
  EXPECT_EQ(fault(R"({"State":"up"})"),
            "The body has unknown keys: \"State\"; expected \"state\".");
  EXPECT_EQ(fault(R"({"a":1,"state":"up","b\n\"":2})"),
            "The body has unknown keys: \"a\", \"b\\x0a\\\"\"; expected \"state\".");
}

TEST(Body, AKeyIsThereOnce) {
  EXPECT_EQ(fault(R"({"state":"up","state":"down"})"), "The body has a key twice.");
  EXPECT_EQ(fault(R"({"state":"up","\u0073tate":"up"})"), "The body has a key twice.");
  EXPECT_EQ(fault(R"({"state":{"a":1,"b":[{"c":2}]}})"), "none");
  EXPECT_EQ(fault(R"({"state":"a\":\\","x:\\\"":":"})"),
            R"(The body has unknown keys: "x:\\\""; expected "state".)");
}

TEST(Body, ManyUnknownKeysAreNotAllNamed) {
  std::string body = "{";
  for (int i = 0; i < 5'000; ++i) body += "\"key" + std::to_string(i) + "\":0,";
  body.back() = '}';
  EXPECT_LT(fault(body).size(), 200U);
  EXPECT_NE(fault(body).find("\"key7\" and more"), std::string::npos);
}

TEST(Body, DeepNestingIsRefused) {
  EXPECT_EQ(fault("{\"state\":" + std::string(30'000, '[') + std::string(30'000, ']') + "}"),
            "The body is no valid JSON.");
}

TEST(Body, CanBeNothing) {
  EXPECT_TRUE(check_empty("").has_value());
  EXPECT_TRUE(check_empty("{}").has_value());
  EXPECT_EQ(check_empty("[]").error().to_string(), "The body is no JSON object.");
  EXPECT_EQ(check_empty(R"({"timeout":"30s"})").error().to_string(),
            "The body has unknown keys: \"timeout\"; expected none.");
  EXPECT_EQ(check_empty(R"({"":0})").error().to_string(),
            "The body has unknown keys: \"\"; expected none.");
}

}  // namespace
}  // namespace sluice::admin
