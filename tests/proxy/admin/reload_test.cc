#include "proxy/admin/reload.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "iolib/json/json.h"
#include "tests/proxy/admin/fake_commands.h"
#include "tests/proxy/admin/fake_source.h"

namespace sluice::admin {
namespace {

using Outcome = ReloadResult::Outcome;

class ReloadPathTest : public testing::Test {
 protected:
  ReloadPathTest() {
    add_reload(paths_, source_, commands_);
    add_takeover(paths_, source_, commands_);
  }
  unsigned post(std::string target, std::string body = "") {
    HttpRequest request;
    request.method = "POST";
    request.target = std::move(target);
    request.body = std::move(body);
    response_ = {};
    response_.status = 0;
    paths_.answer(std::move(request), [this](HttpResponse response) { response_ = response; });
    return response_.status;
  }
  [[nodiscard]] std::string body() const { return *response_.body; }

  Paths paths_;
  FakeSource source_;
  FakeCommands commands_;
  HttpResponse response_;
};

TEST_F(ReloadPathTest, EveryOutcomeHasItsStatusAndBody) {
  commands_.reload_result = {
      Outcome::applied,
      {{"change", "web", "to", "10.0.0.1:80", "10.0.0.2:80"}, {"add", "new", "", "", ""}},
      {}};
  EXPECT_EQ(post("/v1/reload"), 200U);
  EXPECT_EQ(body(),
            R"({"result":"applied","changes":[{"op":"change","route":"web","key":"to",)"
            R"("old":"10.0.0.1:80","new":"10.0.0.2:80"},{"op":"add","route":"new","key":null,)"
            R"("old":null,"new":null}],"errors":[]})"
            "\n");
  commands_.reload_result = {};
  EXPECT_EQ(post("/v1/reload", "{}"), 200U);
  EXPECT_EQ(body(), "{\"result\":\"unchanged\",\"changes\":[],\"errors\":[]}\n");
  commands_.reload_result = {Outcome::refused, {}, {"a.toml:2:1: wrong \xff"}};
  EXPECT_EQ(post("/v1/reload"), 422U);
  EXPECT_EQ(response_.content_type, "application/json");
  EXPECT_EQ(body(),
            "{\"result\":\"refused\",\"changes\":[],\"errors\":[\"a.toml:2:1: wrong "
            "\xef\xbf\xbd\"]}\n");
  commands_.reload_result = {Outcome::needs_takeover, {{"change", "", "workers", "1", "2"}}, {}};
  EXPECT_EQ(post("/v1/reload"), 409U);
  EXPECT_EQ(json::parse(body()).at("result"), "needs-takeover");
  EXPECT_EQ(json::parse(body()).at("changes").at(0).at("route"), nullptr);
}

TEST_F(ReloadPathTest, OnlyTheQueryMakesADryRun) {
  EXPECT_EQ(post("/v1/reload?dry-run=1"), 200U);
  EXPECT_EQ(post("/v1/reload?dry-run=0"), 200U);
  EXPECT_EQ(post("/v1/reload?"), 200U);
  EXPECT_EQ(commands_.reloads, (std::vector<bool>{true, false, false}));
  for (const char* wrong : {"?dry-run", "?dry-run=yes", "?dry-run=1&x=2", "?dry_run=1", "?x"}) {
    EXPECT_EQ(post(std::string("/v1/reload") + wrong), 400U) << wrong;
  }
  EXPECT_EQ(post("/v1/reload", R"({"dry-run":true})"), 400U) << "it would not be one";
  EXPECT_EQ(commands_.reloads.size(), 3U);
}

TEST_F(ReloadPathTest, NothingIsReloadedWhileTheDaemonStartsOrEnds) {
  for (const RunState state : {RunState::starting, RunState::draining}) {
    source_.its_state = state;
    EXPECT_EQ(post("/v1/reload"), 409U);
    EXPECT_EQ(response_.content_type, "application/problem+json");
    EXPECT_EQ(post("/v1/takeover"), 409U);
  }
  EXPECT_TRUE(commands_.reloads.empty());
}

TEST_F(ReloadPathTest, ATakeoverTellsWhoHasTakenOverOrWhyNobodyHas) {
  commands_.takeover_result = {true, "", 4242};
  EXPECT_EQ(post("/v1/takeover"), 200U);
  EXPECT_EQ(body(), "{\"result\":\"taken\",\"pid\":4242}\n");
  commands_.takeover_result = {false, "The successor ended with status 1.", 0};
  EXPECT_EQ(post("/v1/takeover"), 409U);
  EXPECT_EQ(response_.content_type, "application/problem+json");
  EXPECT_EQ(json::parse(body()).at("detail"), "The successor ended with status 1.");
  EXPECT_EQ(post("/v1/takeover", "now"), 400U);
}

TEST_F(ReloadPathTest, TheLastReloadIsNullOrTellsItsTimeResultAndError) {
  Reloads reloads;
  EXPECT_EQ(last_reload_json(reloads), nullptr);
  EXPECT_TRUE(reloads.last_successful());
  const Reloads::Time time{std::chrono::milliseconds(1'500)};
  reloads.last = {time, Outcome::unchanged, ""};
  EXPECT_TRUE(reloads.last_successful());
  EXPECT_EQ(last_reload_json(reloads).at("error"), nullptr);
  reloads.last = {time, Outcome::needs_takeover, "workers"};
  EXPECT_FALSE(reloads.last_successful());
  const json::value last = last_reload_json(reloads);
  EXPECT_EQ(last.at("time"), 1.5);
  EXPECT_EQ(last.at("result"), "needs-takeover");
  EXPECT_EQ(last.at("error"), "workers");
}

}  // namespace
}  // namespace sluice::admin
