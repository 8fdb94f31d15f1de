// What the admin API and the metrics say about what the daemon does.

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "iolib/json/json.h"
#include "tests/proxy/admin/series.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/http.h"
#include "tests/system/outcome.h"

namespace sluice::test {
namespace {

// As a basic string of TOML, after the folder.
constexpr std::string_view kHostile = R"(\"><script>\\\n)";

/// A daemon with a route that echoes, one with two servers of which one is down, and one that is
/// recorded and mirrored. The parameter is the engine.
class AdminReadTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "uring" && !io_uring_available()) {
      GTEST_SKIP() << "the kernel refuses io_uring here";
    }
    const std::string file = folder_.write("sluice.toml", configuration());
    DaemonOptions options;
    options.listeners = 4;
    daemon_.emplace(std::vector<std::string>{"--config", file}, options);
  }

  [[nodiscard]] std::string get(std::string_view path) const {
    const HttpAnswer answer =
        exchange(connect_unix(folder_.file("admin.sock")).get(), http_request("GET", path));
    EXPECT_EQ(answer.status, 200) << path;
    return answer.body;
  }
  [[nodiscard]] json::value get_json(std::string_view path) const { return json::parse(get(path)); }
  /// The item of a list whose member `key` is `value`.
  [[nodiscard]] json::object item(std::string_view path, std::string_view key,
                                  std::string_view value) const {
    const json::value list = get_json(path);
    EXPECT_TRUE(list.at("next").is_null());
    for (const json::value& each : list.at("items").as_array()) {
      if (each.at(key) == json::string(value)) return each.as_object();
    }
    ADD_FAILURE() << path << " without " << value;
    return {};
  }
  [[nodiscard]] json::object route(std::string_view name) const {
    return item("/v1/routes", "name", name);
  }
  [[nodiscard]] bool has_metric(const std::string& line) const {
    return get("/metrics").find("\n" + line + "\n") != std::string::npos;
  }
  [[nodiscard]] OwnedFd client_of(std::string_view route) const {
    return connect_tcp(daemon_->port_of(route));
  }
  /// What all points of the history add up to.
  [[nodiscard]] std::uint64_t in_history(std::string_view what) const {
    std::uint64_t sum = 0;
    const json::value history = get_json("/v1/history");
    for (const json::value& point : history.at("points").as_array()) {
      const json::value& value = point.at(what);
      sum += value.is_string() ? std::stoull(std::string(value.as_string()))
                               : value.to_number<std::uint64_t>();
    }
    return sum;
  }

  TempDir folder_;
  Listener server_ = listen_tcp();
  Listener refusing_ = bind_tcp();
  Listener mirror_ = listen_tcp();
  std::optional<Daemon> daemon_;

 private:
  [[nodiscard]] std::string configuration() const {
    const std::string hostile = folder_.file("") + std::string(kHostile);
    return "[defaults]\nadmin = \"unix:" + folder_.file("admin.sock") +
           "\"\nworkers = 2\nengine = \"" + GetParam() +
           "\"\n"
           "[[route]]\nname = \"plain\"\nlisten = \"127.0.0.1:0\"\nto = \"echo:\"\n"
           "[[route]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nhealth = \"tcp\"\nto = [\"" +
           loopback_address(server_.port) + "\", \"" + loopback_address(refusing_.port) +
           "\", { address = \"unix:" + hostile +
           "\", weight = 0 }]\n"
           "[[route]]\nname = \"tapped\"\nlisten = \"127.0.0.1:0\"\nto = \"echo:\"\nmirror = \"" +
           loopback_address(mirror_.port) + "\"\ncapture = \"" + hostile + "capture\"\n";
  }
};

constexpr std::string_view kTenBytes = "0123456789";

bool echoes_ten(int client) {
  return send_all(client, kTenBytes) && receive_text(client, kTenBytes.size(), kLate) == kTenBytes;
}

TEST_P(AdminReadTest, CountsAreRightAfterKnownTraffic) {
  constexpr int kClients = 20;
  for (int i = 0; i < kClients; ++i) {
    const OwnedFd client = client_of("plain");
    ASSERT_TRUE(echoes_ten(client.get()));
    finish_sending(client.get());
    EXPECT_EQ(ending_of(client.get()), Ending::eof);
  }
  OwnedFd client = client_of("plain");
  ASSERT_TRUE(echoes_ten(client.get()));
  reset(std::move(client));

  const json::object closed = {{"closed", "20"}, {"client_reset", "1"}};
  ASSERT_TRUE(wait_until([&] { return route("plain").at("closed") == closed; }, kLate))
      << get("/v1/routes");
  const json::object plain = route("plain");
  EXPECT_EQ(plain.at("accepted"), "21");
  EXPECT_EQ(plain.at("connections"), 0);
  EXPECT_EQ(plain.at("bytes"), json::object({{"to_upstream", "210"}, {"to_client", "210"}}));
  EXPECT_EQ(route("web").at("accepted"), "0");
  for (const char* line :
       {"sluice_connections_accepted_total{route=\"plain\"} 21",
        "sluice_connections_active{route=\"plain\"} 0",
        "sluice_connections_closed_total{route=\"plain\",reason=\"closed\"} 20",
        "sluice_connections_closed_total{route=\"plain\",reason=\"client_reset\"} 1",
        "sluice_forwarded_bytes_total{route=\"plain\",dir=\"to_client\"} 210",
        "sluice_connection_duration_seconds_count{route=\"plain\"} 21",
        "sluice_connections_accepted_total{route=\"web\"} 0"}) {
    EXPECT_TRUE(wait_until([&] { return has_metric(line); }, kLate)) << line;
  }
  EXPECT_TRUE(wait_until([&] { return in_history("accepted") == 21; }, kLate));
  EXPECT_EQ(in_history("bytes_to_upstream"), 210U);
  EXPECT_EQ(in_history("bytes_to_client"), 210U);
}

TEST_P(AdminReadTest, BytesOfAnOpenStreamCountAsTheyMove) {
  const OwnedFd client = client_of("plain");
  for (int tens = 1; tens <= 3; ++tens) {
    ASSERT_TRUE(echoes_ten(client.get()));
    const std::string bytes = std::to_string(10 * tens);
    EXPECT_TRUE(wait_until(
        [&] { return route("plain").at("bytes").at("to_client") == json::string(bytes); }, kLate))
        << bytes;
    EXPECT_TRUE(wait_until(
        [&] { return in_history("bytes_to_client") == static_cast<std::uint64_t>(10 * tens); },
        kLate));
  }
  EXPECT_EQ(route("plain").at("connections"), 1);
  EXPECT_GT(in_history("connections"), 0U);
  EXPECT_TRUE(echoes_ten(client.get()));
}

TEST_P(AdminReadTest, AServerThatIsDownIsSeen) {
  const std::string good = loopback_address(server_.port);
  const std::string bad = loopback_address(refusing_.port);
  const auto server = [this](const std::string& name) {
    return item("/v1/servers", "server", name);
  };
  ASSERT_TRUE(wait_until([&] { return server(bad).at("state") == "down"; }, kLate));
  ASSERT_TRUE(wait_until([&] { return server(good).at("check") == "passed"; }, kLate));
  EXPECT_EQ(server(good).at("state"), "up");
  EXPECT_EQ(server(bad).at("ordered"), "up");
  EXPECT_EQ(server(bad).at("route"), "web");
  EXPECT_NE(server(bad).at("check"), "passed");
  EXPECT_GE(server(bad).at("check_age_seconds").as_double(), 0.0);
  const json::object web = route("web");
  EXPECT_EQ(web.at("servers"), 3);
  EXPECT_EQ(web.at("servers_usable"), 1);
  const auto up = [](const std::string& name, int value) {
    return "sluice_server_up{route=\"web\",server=\"" + name + "\"} " + std::to_string(value);
  };
  EXPECT_TRUE(wait_until([&] { return has_metric(up(good, 1)) && has_metric(up(bad, 0)); }, kLate));

  const OwnedFd client = client_of("web");
  const OwnedFd accepted = accept_from(server_.fd.get(), kLate);
  EXPECT_TRUE(wait_until([&] { return server(good).at("connections") == 1; }, kLate));
}

TEST_P(AdminReadTest, WhatIsRecordedAndMirroredIsSeen) {
  const auto only = [this](std::string_view path) {
    const json::value list = get_json(path);
    EXPECT_EQ(list.at("items").as_array().size(), 1U);
    return list.at("items").at(0).as_object();
  };
  EXPECT_EQ(only("/v1/mirrors").at("breaker_open"), false);
  const OwnedFd client = client_of("tapped");
  ASSERT_TRUE(echoes_ten(client.get()));
  OwnedFd stream = accept_from(mirror_.fd.get(), kLate);
  EXPECT_EQ(receive_text(stream.get(), kTenBytes.size(), kLate), kTenBytes);
  const auto mirrors = [&](std::string_view key, const json::value& value) {
    return wait_until([&] { return only("/v1/mirrors").at(key) == value; }, kLate);
  };
  EXPECT_TRUE(mirrors("bytes", "10"));
  EXPECT_TRUE(mirrors("lag_bytes", "0"));
  EXPECT_TRUE(mirrors("streams", 1));
  EXPECT_EQ(only("/v1/mirrors").at("routes"), json::array({"tapped"}));

  EXPECT_TRUE(wait_until([&] { return only("/v1/captures").at("recorded_bytes") == "10"; }, kLate))
      << get("/v1/captures");
  EXPECT_TRUE(wait_until([&] { return only("/v1/captures").at("lag_bytes") == "0"; }, kLate));
  EXPECT_EQ(only("/v1/captures").at("routes"), json::array({"tapped"}));
  EXPECT_EQ(only("/v1/captures").at("directory"), route("tapped").at("capture"));

  mirror_.fd.reset();
  stream.reset();
  EXPECT_TRUE(wait_until(
      [&] {
        const OwnedFd next = client_of("tapped");
        return echoes_ten(next.get()) && only("/v1/mirrors").at("breaker_open") == true;
      },
      kLate));
  EXPECT_TRUE(wait_until(
      [&] {
        return has_metric("sluice_mirror_breaker_open{mirror=\"" + loopback_address(mirror_.port) +
                          "\"} 1");
      },
      kLate));
}

/// However many clients come, and however they end.
TEST_P(AdminReadTest, TheSeriesDependOnTheConfigurationAlone) {
  const auto before = admin::series_of(get("/metrics"));
  EXPECT_TRUE(before.contains("sluice_connections_active{route=\"tapped\"}"));
  for (int i = 0; i < 200; ++i) {
    OwnedFd plain = client_of("plain");
    OwnedFd web = client_of("web");
    const OwnedFd tapped = client_of("tapped");
    EXPECT_TRUE(i % 3 != 0 || echoes_ten(plain.get()));
    if (i % 2 == 0) reset(std::move(web));
    if (i % 5 == 0) reset(std::move(plain));
  }
  server_.fd.reset();  // connects are refused from now on
  for (int i = 0; i < 20; ++i) EXPECT_NE(ending_of(client_of("web").get()), Ending::timed_out);
  ASSERT_TRUE(wait_until([&] { return route("web").at("connections") == 0; }, kLate));
  const auto fresh = [&] { return has_metric("sluice_connections_active{route=\"web\"} 0"); };
  ASSERT_TRUE(wait_until(fresh, kLate));
  EXPECT_EQ(admin::series_of(get("/metrics")), before);
}

TEST_P(AdminReadTest, TheConfigurationIsShownAsInTheFile) {
  const json::value config = get_json("/v1/config");
  EXPECT_EQ(config.at("defaults").at("workers"), "2");
  EXPECT_EQ(config.at("defaults").at("engine"), json::string(GetParam()));
  const json::value& web = config.at("routes").at(1);
  EXPECT_EQ(web.at("name"), "web");
  EXPECT_EQ(web.at("health"), "tcp");
  EXPECT_EQ(web.at("to").at(2).at("weight"), 0);
  EXPECT_FALSE(web.as_object().contains("idle-timeout"));
}

TEST_P(AdminReadTest, PromtoolFindsNothingToSay) {
  SLUICE_NEEDS_PROGRAM("promtool");
  EXPECT_TRUE(echoes_ten(client_of("tapped").get()));
  const std::string metrics = get("/metrics");
  EXPECT_NE(metrics.find(R"(/\"><script>\\\ncapture")"), std::string::npos);
  EXPECT_NE(metrics.find(R"(/\"><script>\\\n")"), std::string::npos);
  EXPECT_NE(metrics.find("sluice_mirror_bytes_total{"), std::string::npos);
  const std::string file = folder_.write("metrics", metrics);
  Process promtool({"sh", "-c", "promtool check metrics < " + file});
  EXPECT_EQ(promtool.wait(kLate), 0);
  EXPECT_EQ(promtool.standard_output() + promtool.standard_error(), "");
}

INSTANTIATE_TEST_SUITE_P(Engines, AdminReadTest, testing::Values("uring", "epoll"),
                         [](const auto& engine) { return engine.param; });

}  // namespace
}  // namespace sluice::test
