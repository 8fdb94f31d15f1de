// HTTP at the admin addresses: what is answered, to whom, and when.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <vector>

#include "iolib/json/json.h"
#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/http.h"
#include "tests/system/outcome.h"

namespace sluice::test {
namespace {

const std::string kLivez = http_request("GET", "/livez");
const std::string kReadyz = http_request("GET", "/readyz");
const std::string kStatus = http_request("GET", "/v1/status");

std::string state_of(const AdminDaemon& admin) {
  return json::parse(admin.ask_unix(kStatus).body).at("state").as_string().c_str();
}

class AdminStateTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "uring" && !io_uring_available()) {
      GTEST_SKIP() << "the kernel refuses io_uring here";
    }
  }
};

TEST_P(AdminStateTest, ReadyzFollowsTheDaemonToItsEnd) {
  AdminDaemon admin({"--engine", GetParam(), "--lame-duck", "1d", "--drain-timeout", "1d"});
  Process& process = admin.daemon().process();
  const OwnedFd client = connect_tcp(admin.daemon().port());
  ASSERT_TRUE(echoes(client.get()));
  EXPECT_EQ(admin.ask_tcp(kReadyz).status, 200);
  EXPECT_EQ(admin.metric("sluice_ready"), 1);
  const json::value status = json::parse(admin.ask_tcp(kStatus).body);
  EXPECT_EQ(status.at("state"), "ready");
  EXPECT_EQ(status.at("engine"), json::string(GetParam()));
  EXPECT_EQ(status.at("connections"), 1);
  EXPECT_EQ(status.at("pid"), process.pid());

  process.signal(SIGTERM);
  ASSERT_TRUE(wait_until([&] { return admin.ask_tcp(kReadyz).status == 503; }, kLate));
  EXPECT_EQ(state_of(admin), "lame_duck");
  EXPECT_EQ(admin.ask_tcp(kLivez).status, 200);
  EXPECT_TRUE(echoes(connect_tcp(admin.daemon().port()).get()));

  process.signal(SIGTERM);
  ASSERT_TRUE(wait_until([&] { return state_of(admin) == "draining"; }, kLate));
  EXPECT_EQ(admin.ask_tcp(kReadyz).status, 503);
  EXPECT_EQ(admin.ask_tcp(kLivez).status, 200);
  EXPECT_TRUE(echoes(client.get()));
  finish_sending(client.get());
  EXPECT_EQ(process.wait(kLate), 0);
  EXPECT_FALSE(std::filesystem::exists(admin.path()));
}

TEST_P(AdminStateTest, LameDuckEndsByItself) {
  AdminDaemon admin({"--engine", GetParam(), "--lame-duck", "300ms"});
  admin.daemon().process().signal(SIGTERM);
  EXPECT_EQ(admin.daemon().process().wait(kLate), 0);
  const std::string log = admin.daemon().log();
  EXPECT_LT(log.find("lame_duck"), log.find("draining"));
}

TEST_P(AdminStateTest, AnOperatorMakesItALameDuckAndReadyAgain) {
  AdminDaemon admin({"--engine", GetParam(), "--lame-duck", "1d"});
  const auto change = [&](const std::string& path) {
    return admin.ask_unix(change_request("POST", path)).status;
  };
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(change("/v1/drain"), 204);
    EXPECT_EQ(change("/v1/drain"), 204) << "it is one already";
    EXPECT_EQ(admin.ask_tcp(kReadyz).status, 503);
    EXPECT_EQ(state_of(admin), "lame_duck");
    EXPECT_EQ(admin.metric("sluice_ready"), 0);
    EXPECT_TRUE(echoes(connect_tcp(admin.daemon().port()).get()));
    EXPECT_EQ(change("/v1/undrain"), 204);
    EXPECT_EQ(change("/v1/undrain"), 204) << "it is ready already";
    EXPECT_EQ(admin.ask_tcp(kReadyz).status, 200);
    EXPECT_TRUE(echoes(connect_tcp(admin.daemon().port()).get()));
  }
  EXPECT_EQ(change("/v1/drain"), 204);

  // A signal has its steps, and cannot be taken back.
  admin.daemon().process().signal(SIGTERM);
  ASSERT_TRUE(admin.daemon().wait_for_log(Regex(" lame_duck time=")));
  EXPECT_EQ(change("/v1/undrain"), 409);
  EXPECT_EQ(change("/v1/drain"), 409);
  EXPECT_EQ(admin.ask_tcp(kReadyz).status, 503);
  admin.daemon().process().signal(SIGTERM);
  EXPECT_EQ(admin.daemon().process().wait(kLate), 0);
  const std::string log = admin.daemon().log();
  EXPECT_EQ(count_lines(log, Regex("operator change=state from=ready to=lame_duck")), 3U);
  EXPECT_EQ(count_lines(log, Regex("operator change=state from=lame_duck to=ready")), 2U);
}

TEST_P(AdminStateTest, SigtermEndsAnOperatorsLameDuckAtOnceWithoutOneOfItsOwn) {
  AdminDaemon admin({"--engine", GetParam()});
  EXPECT_EQ(admin.ask_unix(change_request("POST", "/v1/drain")).status, 204);
  EXPECT_EQ(admin.daemon().terminate(kLate), 0);
}

INSTANTIATE_TEST_SUITE_P(Engines, AdminStateTest, testing::Values("uring", "epoll"),
                         [](const auto& engine) { return engine.param; });

TEST(AdminLogTest, TheLevelChangesAtOnceAndStays) {
  AdminDaemon admin;
  const auto set = [&](const std::string& level) {
    return admin.ask_unix(change_request("PUT", "/v1/log-level", "{\"level\":\"" + level + "\"}"))
        .status;
  };
  const auto serve_one = [&] {
    EXPECT_TRUE(echoes(connect_tcp(admin.daemon().port()).get()));
    EXPECT_TRUE(wait_until(
        [&] { return json::parse(admin.ask_unix(kStatus).body).at("connections") == 0; }, kLate));
  };
  EXPECT_EQ(set("warn"), 200);
  serve_one();
  admin.daemon().process().signal(SIGHUP);
  EXPECT_EQ(counters_of(admin.daemon()).at("accepted"), "1");
  EXPECT_EQ(admin.ask_tcp(http_request("GET", "/v1/log-level")).body, "{\"level\":\"warn\"}\n");
  EXPECT_EQ(set("info"), 200);
  serve_one();
  EXPECT_EQ(admin.daemon().wait_for_ends(1).size(), 1U) << "the first one was not logged";
  const std::string log = admin.daemon().log();
  EXPECT_NE(log.find(" operator change=log_level from=info to=warn\n"), log.npos);
  EXPECT_NE(log.find(" operator change=log_level from=warn to=info\n"), log.npos);
}

TEST(AdminEndTest, SigintDrainsAtOnce) {
  AdminDaemon admin({"--lame-duck", "1d"});
  admin.daemon().process().signal(SIGINT);
  EXPECT_EQ(admin.daemon().process().wait(kLate), 0);
}

/// Peers that have said nothing, half of something, or all, delay the end by nothing.
TEST(AdminEndTest, OpenConnectionsDoNotDelayTheEnd) {
  AdminDaemon admin;
  const OwnedFd silent = connect_tcp(admin.port());
  const OwnedFd half = connect_unix(admin.path());
  ASSERT_TRUE(send_all(half.get(), "GET /livez HTTP/1.1\r\nHo"));
  const OwnedFd idle = connect_tcp(admin.port());
  EXPECT_EQ(exchange(idle.get(), kLivez).status, 200);
  EXPECT_EQ(admin.daemon().terminate(kLate), 0);
  for (const int fd : {silent.get(), half.get(), idle.get()}) {
    EXPECT_NE(ending_of(fd), Ending::timed_out);
  }
}

// --- Unix sockets ---

/// Sets the umask of this process, which the daemon inherits.
class Umask {
 public:
  explicit Umask(mode_t mask) : before_(::umask(mask)) {}
  ~Umask() { ::umask(before_); }
  Umask(const Umask&) = delete;
  Umask& operator=(const Umask&) = delete;

 private:
  mode_t before_;
};

TEST(AdminSocketTest, OwnerAndGroupMayUseItWhateverTheUmask) {
  for (const mode_t mask : {0U, 0022U, 0077U}) {
    const Umask umask(mask);
    AdminDaemon admin;
    struct stat about {};
    ASSERT_EQ(::lstat(admin.path().c_str(), &about), 0);
    EXPECT_EQ(about.st_mode & 07777U, 0660U) << mask;
    EXPECT_EQ(admin.ask_unix(kLivez).status, 200);
  }
}

std::vector<std::string> echo_with(const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"--listen", "127.0.0.1:0", "--to", "echo:"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(AdminSocketTest, ALeftoverIsReplacedAndASocketInUseIsNot) {
  const TempDir folder;
  const std::string path = folder.file("admin.sock");
  listen_unix(path).reset();  // leaves the path
  ASSERT_TRUE(std::filesystem::exists(path));
  Daemon first(echo_with({"--admin", "unix:" + path}));
  EXPECT_EQ(exchange(connect_unix(path).get(), kLivez).status, 200);
  EXPECT_EQ(refusal(echo_with({"--admin", "unix:" + path}), 1, {path, "in use"}), "");
  const Outcome check = run_to_end(echo_with({"--admin", "unix:" + path, "--check"}));
  EXPECT_EQ(check.status, 0) << check.error;
  EXPECT_NE(check.output.find("unix:" + path + " is in use"), std::string::npos) << check.output;
  EXPECT_EQ(exchange(connect_unix(path).get(), kLivez).status, 200);
  EXPECT_EQ(first.terminate(kLate), 0);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(AdminSocketTest, WhatIsNoSocketStays) {
  const TempDir folder;
  const std::string path = folder.write("admin.sock", "precious");
  EXPECT_EQ(refusal(echo_with({"--admin", "unix:" + path}), 1, {path}), "");
  EXPECT_EQ(read_text(path), "precious");
}

TEST(AdminSocketTest, AStartThatFailsLeavesNoPath) {
  const TempDir folder;
  const std::string path = folder.file("admin.sock");
  const Listener other = listen_tcp();
  EXPECT_EQ(refusal({"--listen", loopback_address(other.port), "--to", "echo:", "--admin",
                     "unix:" + path},
                    1, {"in use"}),
            "");
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(AdminSocketTest, APortInUseFailsTheStart) {
  const Listener other = listen_tcp();
  const std::string address = loopback_address(other.port);
  EXPECT_EQ(refusal(echo_with({"--admin", address}), 1, {address, "in use"}), "");
}

// --- Who is answered ---

TEST(AdminGuardTest, OnlyProbesAreServedWhereOthersCanConnect) {
  const AdminDaemon admin;
  const auto ask = [&](std::string_view path) {
    return exchange(connect_tcp(admin.remote_port()).get(), http_request("GET", path)).status;
  };
  EXPECT_EQ(ask("/livez"), 200);
  EXPECT_EQ(ask("/readyz"), 200);
  EXPECT_EQ(ask("/metrics"), 200);
  EXPECT_EQ(ask("/v1/status"), 403);
  EXPECT_EQ(ask("/"), 403);
  EXPECT_EQ(admin.ask_tcp(kStatus).status, 200);
}

TEST(AdminGuardTest, AStrangeNameIsMisdirected) {
  AdminDaemon admin({"--admin-host", "Sluice.Example"});
  const auto ask = [&](const std::string& host) {
    return admin.ask_tcp("GET /v1/status HTTP/1.1\r\nHost: " + host + "\r\n\r\n").status;
  };
  EXPECT_EQ(ask("evil.example"), 421);
  EXPECT_EQ(ask("127.0.0.1.evil.example"), 421);
  EXPECT_EQ(ask("sluice.example:80"), 200);
  EXPECT_EQ(ask(loopback_address(admin.port())), 200);
  EXPECT_EQ(admin.metric("sluice_admin_rejected_total{reason=\"host\"}"), 2);
}

TEST(AdminGuardTest, TheTokenIsNeededOverTcp) {
  const TempDir folder;
  const std::string token(40, 'x');
  const std::string file = folder.write("token", token + "\n");
  ASSERT_EQ(::chmod(file.c_str(), 0600), 0);
  AdminDaemon admin({"--admin-token-file", file});
  const auto ask = [&](const std::string& fields) {
    return admin.ask_tcp(http_request("GET", "/v1/status", fields));
  };
  const HttpAnswer without = ask("");
  EXPECT_EQ(without.status, 401);
  EXPECT_TRUE(without.has("\r\nWWW-Authenticate: Bearer"));
  EXPECT_EQ(ask("Authorization: Bearer " + std::string(40, 'y') + "\r\n").status, 401);
  EXPECT_EQ(ask("Authorization: Bearer " + token + "\r\n").status, 200);
  EXPECT_EQ(admin.ask_tcp(kReadyz).status, 200);
  EXPECT_EQ(admin.ask_unix(kStatus).status, 200);
  EXPECT_EQ(admin.metric("sluice_admin_rejected_total{reason=\"token\"}"), 2);
}

TEST(AdminGuardTest, ATokenThatOthersMayReadFailsTheStartAndTheCheck) {
  const TempDir folder;
  const std::string file = folder.write("token", std::string(40, 'x'));
  ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
  for (const char* flag : {"--log-level=info", "--check"}) {
    EXPECT_NE(run_to_end(echo_with({"--admin", "127.0.0.1:0", "--admin-token-file", file, flag}))
                  .error.find("its mode is 0644"),
              std::string::npos);
  }
}

TEST(AdminGuardTest, WhatIsNotReadNeedsWhatNoPageOfAnotherOriginCanSend) {
  AdminDaemon admin;
  const auto post = [&](const std::string& fields) {
    return admin.ask_tcp(http_request("POST", "/v1/status", fields, "{}")).status;
  };
  const std::string json = "Content-Type: application/json\r\n";
  EXPECT_EQ(post(json), 403);
  EXPECT_EQ(post("X-Sluice: 1\r\n"), 415);
  EXPECT_EQ(post(json + "X-Sluice: 1\r\nOrigin: http://evil.example\r\n"), 403);
  EXPECT_EQ(post(json + "X-Sluice: 1\r\nOrigin: null\r\n"), 403);
  EXPECT_EQ(post(json + "X-Sluice: 1\r\nOrigin: http://localhost\r\n"), 405);
  EXPECT_EQ(post(json + "X-Sluice: 1\r\n"), 405);
  EXPECT_EQ(state_of(admin), "ready");
}

// --- Programs ---

TEST(AdminProgramsTest, PromtoolFindsNothingToSay) {
  SLUICE_NEEDS_PROGRAM("promtool");
  AdminDaemon admin;
  const TempDir folder;
  const std::string file =
      folder.write("metrics", admin.ask_tcp(http_request("GET", "/metrics")).body);
  Process promtool({"sh", "-c", "promtool check metrics < " + file});
  EXPECT_EQ(promtool.wait(kLate), 0);
  EXPECT_EQ(promtool.standard_output() + promtool.standard_error(), "");
}

TEST(AdminProgramsTest, CurlIsAnsweredAtEitherSocket) {
  SLUICE_NEEDS_PROGRAM("curl");
  AdminDaemon admin;
  const auto curl = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"curl", "--silent", "--show-error", "--fail"});
    Process process(arguments);
    return process.wait(kLate) == 0 ? process.standard_output() : process.standard_error();
  };
  EXPECT_EQ(curl({"--unix-socket", admin.path(), "http://localhost/livez"}), "alive\n");
  const std::string url = "http://" + loopback_address(admin.port());
  EXPECT_EQ(curl({url + "/readyz", url + "/livez"}), "ready\nalive\n");
  EXPECT_EQ(curl({"--http1.0", url + "/livez"}), "alive\n");
  EXPECT_NE(curl({"--head", url + "/metrics"}).find("HTTP/1.1 200 OK\r\n"), std::string::npos);
  EXPECT_NE(curl({"--header", "Expect: 100-continue", "--request", "POST", "--data", "{}",
                  url + "/livez"})
                .find("403"),
            std::string::npos);
}

}  // namespace
}  // namespace sluice::test
