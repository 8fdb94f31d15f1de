#include "proxy/entry/match.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tests/support/client_hello.h"

namespace sluice {
namespace {

/// A match with these conditions: name, value, name, value...
RouteMatch match(const std::vector<std::string>& conditions) {
  RouteMatch made;
  for (std::size_t i = 0; i < conditions.size(); i += 2) {
    EXPECT_TRUE(add_condition(made, conditions[i], conditions[i + 1]).has_value()) << conditions[i];
  }
  return made;
}

/// "0", "1"... for a match, "none", or "+N" if it takes N bytes to tell.
std::string chosen(const std::vector<RouteMatch>& matches, std::string_view seen,
                   bool is_all = false, const std::string& client = "10.0.0.1") {
  const SocketAddress address = *numeric_address({client, 1});
  const auto found = choose(matches, {std::as_bytes(std::span(seen)), is_all, address});
  if (const auto* needs = std::get_if<wire::NeedsBytes>(&found)) {
    return "+" + std::to_string(needs->total);
  }
  const Choice& choice = std::get<Choice>(found);
  return choice.match ? std::to_string(*choice.match) : "none";
}

/// A hello for this name, with these protocols.
std::string hello(const std::string& name, const std::vector<std::string>& protocols = {}) {
  return test::in_tls_records(
      test::client_hello_with(test::server_name_extension(name) + test::alpn_extension(protocols)));
}

TEST(RouteChoice, TheFirstMatchThatFitsCounts) {
  const std::vector<RouteMatch> matches{match({"protocol", "ssh"}), match({"sni", "a.example"}),
                                        match({"sni", "*.example"}), match({"protocol", "tls"})};
  EXPECT_EQ(chosen(matches, "SSH-2.0-x"), "0");
  EXPECT_EQ(chosen(matches, hello("A.Example.")), "1");
  EXPECT_EQ(chosen(matches, hello("b.example")), "2");
  EXPECT_EQ(chosen(matches, hello("c.b.example")), "2") << "one or more labels";
  EXPECT_EQ(chosen(matches, hello("example")), "3");
  EXPECT_EQ(chosen(matches, hello("notexample")), "3");
  EXPECT_EQ(chosen(matches, "GET / HTTP/1.1"), "none");
}

TEST(RouteChoice, ItWaitsOnlyForWhatCanChangeIt) {
  const std::vector<RouteMatch> matches{match({"prefix", "GET /a"}), match({"protocol", "http"})};
  EXPECT_EQ(chosen(matches, ""), "+1");
  EXPECT_EQ(chosen(matches, "GET /"), "+6") << "the first match could still fit";
  EXPECT_EQ(chosen(matches, "GE"), "+3") << "the next byte can decide";
  EXPECT_EQ(chosen(matches, "GET /b"), "1");
  EXPECT_EQ(chosen(matches, "POST "), "1");
  EXPECT_EQ(chosen(matches, "x"), "none") << "no match can fit any more";
  const std::vector<RouteMatch> names{match({"sni", "a"})};
  const std::string whole = hello("a");
  EXPECT_EQ(chosen(names, whole.substr(0, 20)), "+" + std::to_string(whole.size()));
  EXPECT_EQ(chosen(names, whole), "0");
  EXPECT_EQ(chosen(names, ""), "+1");
  EXPECT_EQ(chosen(names, std::string(1, '\0')), "none") << "it is no hello";
  EXPECT_EQ(chosen({match({"prefix", "SSH-2.0-other", "protocol", "ssh"})}, "SSH-2"), "+6");
}

TEST(RouteChoice, AllConditionsOfAMatchHold) {
  const std::vector<RouteMatch> matches{
      match({"source", "10.0.0.0/8", "source", "::1", "sni", "a", "sni", "b", "alpn", "h2"})};
  EXPECT_EQ(chosen(matches, hello("b", {"http/1.1", "h2"})), "0");
  EXPECT_EQ(chosen(matches, hello("a", {"h2"}), false, "::1"), "0");
  EXPECT_EQ(chosen(matches, hello("a", {"h2"}), false, "11.0.0.1"), "none");
  EXPECT_EQ(chosen(matches, "", false, "11.0.0.1"), "none") << "without waiting for a byte";
  EXPECT_EQ(chosen(matches, hello("a", {"http/1.1"})), "none");
  EXPECT_EQ(chosen(matches, hello("c", {"h2"})), "none");
  EXPECT_EQ(chosen({match({})}, ""), "0") << "no condition fits everybody";
}

TEST(RouteChoice, AtTheEndWhatIsMissingDoesNotFit) {
  const std::vector<RouteMatch> matches{match({"sni", "a"}), match({"prefix", "\x16\x03"}),
                                        match({"prefix", "hex:1603010203"})};
  EXPECT_EQ(chosen(matches, "", true), "none");
  EXPECT_EQ(chosen(matches, hello("a").substr(0, 30), true), "1");
}

TEST(RouteChoice, AHelloThatNamesNobodyMatchesNoName) {
  const std::vector<RouteMatch> matches{match({"sni", "*.a"}), match({"sni", "a"})};
  for (const std::string& name : {std::string(), std::string("a b"), std::string("*.a"),
                                  std::string(".a"), std::string("a..a")}) {
    EXPECT_EQ(chosen(matches, hello(name)), "none") << name;
  }
}

TEST(RouteMatch, Mistakes) {
  RouteMatch match;
  const auto refusal = [&](std::string_view condition, std::string_view text) {
    const Result<> done = add_condition(match, condition, text);
    return done.has_value() ? "" : done.error().to_string();
  };
  EXPECT_EQ(refusal("sni", "a b"),
            "no name of a host in \"a b\": expected a name such as example.com or *.example.com");
  for (const char* name : {"", "*", "*.", "a.*.b", "**.a", "a/b"})
    EXPECT_NE(refusal("sni", name), "");
  EXPECT_EQ(refusal("protocol", "tsl"),
            "unknown value \"tsl\": expected tls, ssh or http; did you mean \"tls\"?");
  EXPECT_EQ(refusal("prefix", ""), "0 bytes, expected 1 to 1024 bytes");
  EXPECT_NE(refusal("prefix", "hex:0"), "");
  EXPECT_NE(refusal("source", "10.0.0.1/8"), "");
  EXPECT_NE(refusal("alpn", std::string(256, 'x')), "");
  EXPECT_TRUE(match.sni.empty() && match.prefix.empty() && match.source.empty());
}

}  // namespace
}  // namespace sluice
