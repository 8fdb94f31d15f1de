#include "proxy/admin/endpoints.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <string>

#include "iolib/json/json.h"
#include "tests/proxy/admin/fake_commands.h"
#include "tests/proxy/admin/fake_source.h"
#include "tests/proxy/admin/series.h"
#include "tests/support/temp_dir.h"

namespace sluice::admin {
namespace {

class EndpointsTest : public testing::Test {
 protected:
  HttpResponse ask(std::string method, std::string target) {
    HttpRequest request;
    request.method = std::move(method);
    request.target = std::move(target);
    request.peer = Peer::unix_socket;
    request.host = "localhost";
    request.x_sluice = "1";
    request.content_type = "application/json";
    return answer_to(request);
  }
  HttpResponse answer_to(const HttpRequest& request) {
    HttpResponse answer;
    endpoints_.answer(request, [&answer](HttpResponse response) { answer = std::move(response); });
    return answer;
  }
  std::string metrics() { return *ask("GET", "/metrics").body; }

  FakeSource source_;
  FakeCommands commands_;
  Endpoints endpoints_{
      {},
      source_,
      commands_,
      {[](Rejection why) { return std::uint64_t{why == Rejection::timeout ? 7U : 0U}; },
       [](const std::function<void()>& task) { task(); }}};
};

TEST_F(EndpointsTest, LivezAnswersInEveryState) {
  for (const RunState state :
       {RunState::starting, RunState::ready, RunState::lame_duck, RunState::draining}) {
    source_.its_state = state;
    EXPECT_EQ(ask("GET", "/livez").status, 200U);
    EXPECT_EQ(ask("GET", "/readyz").status, state == RunState::ready ? 200U : 503U);
  }
}

TEST_F(EndpointsTest, WhatIsNotThereIs404AndWhatOnlyReadsAllowsNothingElse) {
  for (const char* path : {"/nothing", "/livez/", "/v1", "/v1/status/x", "/LIVEZ"}) {
    EXPECT_EQ(ask("GET", path).status, 404U) << path;
    EXPECT_EQ(ask("POST", path).status, 404U) << path;
  }
  for (const char* path : {"/livez", "/readyz", "/metrics", "/v1/status?x=1"}) {
    EXPECT_EQ(ask("GET", path).status, 200U) << path;
    EXPECT_EQ(ask("HEAD", path).status, 200U) << path;
    const HttpResponse response = ask("POST", path);
    EXPECT_EQ(response.status, 405U) << path;
    EXPECT_EQ(response.fields.at(0), std::pair(std::string("Allow"), std::string("GET, HEAD")));
  }
}

TEST_F(EndpointsTest, ErrorsAreProblems) {
  const HttpResponse response = ask("GET", "/nothing");
  EXPECT_EQ(response.content_type, "application/problem+json");
  const json::value problem = json::parse(*response.body);
  EXPECT_EQ(problem.at("status"), 404);
  EXPECT_EQ(problem.at("title"), "Not Found");
  EXPECT_EQ(problem.at("type"), "about:blank");
}

TEST_F(EndpointsTest, StatusSaysWhatRuns) {
  const HttpResponse response = ask("GET", "/v1/status");
  EXPECT_EQ(response.content_type, "application/json");
  const json::value status = json::parse(*response.body);
  EXPECT_EQ(status.at("version"), SLUICE_VERSION);
  EXPECT_EQ(status.at("pid"), ::getpid());
  EXPECT_EQ(status.at("state"), "ready");
  EXPECT_EQ(status.at("engine"), "uring");
  EXPECT_EQ(status.at("workers"), 2);
  EXPECT_EQ(status.at("connections"), 3);
  EXPECT_EQ(status.at("connections_limit"), 9'007'199'254'740'993);
  EXPECT_GE(status.at("uptime_seconds").to_number<int>(), 0);
  EXPECT_EQ(status.at("last_reload"), nullptr);
  EXPECT_EQ(status.at("predecessors"), json::array());
}

TEST_F(EndpointsTest, StatusAndMetricsTellTheLastReloadAndPredecessors) {
  EXPECT_NE(metrics().find("sluice_config_last_reload_successful 1\n"), std::string::npos);
  source_.its_reloads = {Reloads::Last{Reloads::Time{std::chrono::seconds(7)},
                                       ReloadResult::Outcome::refused, "a.toml:1:1: wrong"},
                         Reloads::Time{std::chrono::milliseconds(5'500)}};
  source_.its_predecessors = {{71, 30}, {70, 4}};
  const json::value status = json::parse(*ask("GET", "/v1/status").body);
  EXPECT_EQ(status.at("last_reload").at("result"), "refused");
  EXPECT_EQ(status.at("predecessors").at(1).at("pid"), 70);
  EXPECT_EQ(status.at("predecessors").at(0).at("connections"), 30);
  // The metrics of a moment ago are shared; those of another daemon are not.
  Endpoints other{{},
                  source_,
                  commands_,
                  {[](Rejection) { return std::uint64_t{0}; },
                   [](const std::function<void()>& task) { task(); }}};
  HttpRequest request;
  request.method = "GET";
  request.target = "/metrics";
  std::string text;
  other.answer(request, [&text](const HttpResponse& response) { text = *response.body; });
  for (const char* line : {"sluice_config_last_reload_successful 0\n",
                           "sluice_config_last_reload_success_timestamp_seconds 5.5\n",
                           "sluice_predecessors 2\n", "sluice_predecessor_connections 34\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

TEST_F(EndpointsTest, ADaemonThatStartsHasNoFigures) {
  source_.its_state = RunState::starting;
  source_.its_figures.reset();
  const json::value status = json::parse(*ask("GET", "/v1/status").body);
  EXPECT_EQ(status.at("state"), "starting");
  EXPECT_FALSE(status.as_object().contains("engine"));
  EXPECT_NE(metrics().find("sluice_ready 0\n"), std::string::npos);
  EXPECT_EQ(metrics().find("sluice_build_info"), std::string::npos);
}

TEST_F(EndpointsTest, MetricsSayWhatRunsAndWhatWasRejected) {
  HttpRequest strange;
  strange.method = "GET";
  strange.target = "/livez";
  strange.host = "evil.example";
  EXPECT_EQ(answer_to(strange).status, 421U);
  const std::string text = metrics();
  for (const char* line :
       {"sluice_build_info{version=\"" SLUICE_VERSION "\",engine=\"uring\"} 1\n",
        "sluice_ready 1\n", "sluice_connections_limit 9007199254740993\n",
        "sluice_admin_rejected_total{reason=\"timeout\"} 7\n",
        "sluice_admin_rejected_total{reason=\"host\"} 1\n",
        "sluice_admin_rejected_total{reason=\"token\"} 0\n", "# TYPE process_open_fds gauge\n",
        "# TYPE process_start_time_seconds"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

TEST_F(EndpointsTest, ConnectionsAreListedAndKilled) {
  const HttpResponse list = ask("GET", "/v1/connections?limit=7");
  EXPECT_EQ(list.status, 200U);
  const json::value body = json::parse(*list.body);
  EXPECT_EQ(body.at("next").as_string(), "7-5");
  const json::object& item = body.at("items").at(0).as_object();
  EXPECT_EQ(item.at("id").as_string(), "run-0-5");
  EXPECT_EQ(item.at("bytes").as_string(), "9007199254740992");
  EXPECT_EQ(ask("GET", "/v1/connections?limit=0").status, 400U);
  EXPECT_EQ(ask("POST", "/v1/connections/run-0-5/kill").status, 204U);
  EXPECT_EQ(ask("POST", "/v1/connections/run-0-6/kill").status, 404U);
  EXPECT_EQ(ask("GET", "/v1/connections/run-0-5/kill").status, 405U);
}

TEST_F(EndpointsTest, TheManualHasEveryFamilyOfMetrics) {
  RouteConfig config;
  config.capture = "/c";
  config.to = {{HostPort{"10.0.0.1", 80}}};
  source_.add_route(make_route(0, config));
  source_.its_captures = {CaptureFigures{.directory = "/c"}};
  source_.its_mirrors = {MirrorFigures{.address = "m:1"}};
  const std::string manual = test::read_text(std::string(SLUICE_PROXY_DIR) + "/sluice.1");
  std::size_t families = 0;
  for (const std::string& line : lines_of(metrics())) {
    if (!line.starts_with("# TYPE sluice_")) continue;
    const std::string name = line.substr(7, line.find(' ', 7) - 7);
    EXPECT_TRUE(manual.find("\n.BR " + name + "\n") != std::string::npos ||
                manual.find("\n.BR " + name + " ") != std::string::npos)
        << name;
    ++families;
  }
  EXPECT_GT(families, 25U);
}

}  // namespace
}  // namespace sluice::admin
