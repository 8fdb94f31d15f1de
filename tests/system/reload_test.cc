// A running daemon gets a changed configuration.

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/daemon.h"
#include "tests/support/loop_disk.h"
#include "tests/support/regex.h"
#include "tests/support/settings.h"
#include "tests/support/sockets.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/http.h"
#include "tests/system/outcome.h"
#include "tests/system/recorded.h"

namespace sluice::test {
namespace {

/// The inodes of the sockets that listen on this port of any IPv4 address.
std::set<std::string> listening_inodes(std::uint16_t port) {
  std::ifstream table("/proc/net/tcp");
  std::set<std::string> inodes;
  char suffix[8];
  std::snprintf(suffix, sizeof suffix, ":%04X", port);
  for (std::string line; std::getline(table, line);) {
    std::istringstream words(line);
    std::vector<std::string> fields;
    for (std::string word; words >> word;) fields.push_back(word);
    if (fields.size() < 10 || fields[3] != "0A" || !fields[1].ends_with(suffix)) continue;
    inodes.insert(fields[9]);
  }
  return inodes;
}

std::string route(std::string_view name, const std::string& listen, const std::string& to,
                  const std::string& more = "") {
  return "[[route]]\nname = \"" + std::string(name) + "\"\nlisten = \"" + listen + "\"\nto = \"" +
         to + "\"\n" + more + "\n";
}

/// A daemon with a file. The parameter is the engine.
class ReloadTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "uring" && !io_uring_available()) {
      GTEST_SKIP() << "the kernel refuses io_uring here";
    }
    for (std::uint16_t& each : ports_) each = free_port();
  }
  void TearDown() override {
    if (daemon_) {
      EXPECT_EQ(daemon_->terminate(kLate), 0);
    }
  }

  /// `listen`: number of a port.
  [[nodiscard]] std::string at(std::size_t listen) const {
    return loopback_address(ports_[listen]);
  }
  [[nodiscard]] std::string to(const Listener& server) const {
    return loopback_address(server.port);
  }

  void write(const std::string& text) const {
    folder_.write("sluice.toml",
                  "[defaults]\nengine = \"" + GetParam() + "\"\nworkers = 2\n" + text);
  }
  void start(const std::string& text, std::size_t listeners,
             const std::vector<std::string>& more = {}) {
    write(text);
    std::vector<std::string> arguments{"--config", folder_.file("sluice.toml")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    DaemonOptions options;
    options.listeners = listeners;
    daemon_ = std::make_unique<Daemon>(arguments, options);
  }
  /// Reloads a file with this text; returns the line that says what came of it.
  std::string reload(const std::string& text) {
    write(text);
    return reload();
  }
  std::string reload() {
    const std::vector<std::string> before = results();
    daemon_->process().signal(SIGHUP);
    std::vector<std::string> after;
    EXPECT_TRUE(wait_until(
        [&] {
          after = results();
          return after.size() > before.size();
        },
        kLate))
        << daemon_->log();
    return after.size() > before.size() ? after[before.size()] : "";
  }
  [[nodiscard]] std::vector<std::string> results() const {
    std::istringstream log(daemon_->log());
    std::vector<std::string> found;
    for (std::string line; std::getline(log, line);) {
      const std::size_t place = std::min(line.find(" reloaded "), line.find(" reload_refused "));
      if (place != line.npos) found.push_back(line.substr(place + 1));
    }
    return found;
  }
  /// The next client of this port comes to this server: a byte goes each way.
  [[nodiscard]] bool reaches(std::size_t port, const Listener& server) const {
    Forwarded pair = forward(ports_[port], server.fd.get());
    return talks(pair);
  }
  [[nodiscard]] static bool talks(const Forwarded& pair) {
    return send_all(pair.client.get(), "a") && receive_text(pair.upstream.get(), 1) == "a" &&
           send_all(pair.upstream.get(), "b") && receive_text(pair.client.get(), 1) == "b";
  }
  [[nodiscard]] bool refuses(std::size_t port) const {
    return try_connect(ports_[port]) == ECONNREFUSED;
  }

  TempDir folder_;
  std::array<std::uint16_t, 3> ports_{};
  Listener one_ = listen_tcp();
  Listener two_ = listen_tcp();
  std::unique_ptr<Daemon> daemon_;
};

TEST_P(ReloadTest, ARouteComesAndGoes) {
  const std::string one = route("one", at(0), to(one_));
  start(one, 1);
  EXPECT_TRUE(reaches(0, one_));
  EXPECT_TRUE(refuses(1));
  EXPECT_EQ(reload(one + route("two", at(1), to(two_))), "reloaded routes=2 changed=1");
  EXPECT_TRUE(reaches(1, two_));
  EXPECT_TRUE(reaches(0, one_));
  Forwarded stays = forward(ports_[1], two_.fd.get());
  EXPECT_TRUE(talks(stays));
  EXPECT_EQ(reload(one), "reloaded routes=1 changed=1");
  EXPECT_TRUE(refuses(1));
  EXPECT_TRUE(reaches(0, one_));
  EXPECT_TRUE(talks(stays)) << "its route is gone";
}

TEST_P(ReloadTest, NothingChangesWithoutAChange) {
  const std::string text = route("one", at(0), to(one_));
  start(text, 1);
  EXPECT_EQ(reload("# a comment\n" + text), "reloaded routes=1 changed=0");
  EXPECT_TRUE(reaches(0, one_));
}

TEST_P(ReloadTest, ConnectionsKeepTheirServerAndNewOnesGetTheNew) {
  start(route("one", at(0), to(one_)), 1);
  const Forwarded old = forward(ports_[0], one_.fd.get());
  EXPECT_TRUE(talks(old));
  const std::set<std::string> sockets = listening_inodes(ports_[0]);
  EXPECT_EQ(reload(route("one", at(0), to(two_))), "reloaded routes=1 changed=1");
  EXPECT_TRUE(reaches(0, two_));
  EXPECT_TRUE(talks(old));
  EXPECT_EQ(listening_inodes(ports_[0]), sockets);
}

TEST_P(ReloadTest, AServerBecomesAnEchoAndAFile) {
  start(route("one", at(0), to(one_)), 1);
  EXPECT_EQ(reload(route("one", at(0), "echo:")), "reloaded routes=1 changed=1");
  const OwnedFd echo = connect_tcp(ports_[0]);
  EXPECT_TRUE(send_all(echo.get(), "hello"));
  EXPECT_EQ(receive_text(echo.get(), 5), "hello");
  const std::string path = folder_.write("file", "content");
  EXPECT_EQ(reload(route("one", at(0), "file:" + path)), "reloaded routes=1 changed=1");
  const OwnedFd file = connect_tcp(ports_[0]);
  EXPECT_EQ(receive_text(file.get(), 7), "content");
  EXPECT_TRUE(send_all(echo.get(), "again"));
  EXPECT_EQ(receive_text(echo.get(), 5), "again");
}

TEST_P(ReloadTest, ARenamedRouteKeepsItsSockets) {
  start(route("one", at(0), to(one_)), 1);
  const Forwarded old = forward(ports_[0], one_.fd.get());
  EXPECT_TRUE(talks(old));
  const std::set<std::string> sockets = listening_inodes(ports_[0]);
  EXPECT_EQ(sockets.size(), 2U) << "one for each worker";
  EXPECT_EQ(reload(route("uno", at(0), to(one_))), "reloaded routes=1 changed=1");
  EXPECT_EQ(listening_inodes(ports_[0]), sockets);
  EXPECT_TRUE(reaches(0, one_));
  EXPECT_TRUE(daemon_->wait_for_log(Regex("connection .*route=uno .*reason=closed"), kLate));
}

TEST_P(ReloadTest, TwoRoutesExchangeTheirAddresses) {
  start(route("one", at(0), to(one_)) + route("two", at(1), to(two_)), 2);
  const std::set<std::string> sockets = listening_inodes(ports_[0]);
  EXPECT_EQ(reload(route("one", at(1), to(one_)) + route("two", at(0), to(two_))),
            "reloaded routes=2 changed=2");
  EXPECT_TRUE(reaches(0, two_));
  EXPECT_TRUE(reaches(1, one_));
  EXPECT_EQ(listening_inodes(ports_[0]), sockets);
}

TEST_P(ReloadTest, ClientsThatWaitAtAnAddressThatGoesAreServed) {
  start(route("one", at(0), to(one_)), 1);
  EXPECT_TRUE(reaches(0, one_));
  daemon_->process().signal(SIGSTOP);
  std::vector<OwnedFd> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(connect_tcp(ports_[0]));
  write(route("one", at(1), to(one_)));
  daemon_->process().signal(SIGHUP);
  daemon_->process().signal(SIGCONT);
  EXPECT_TRUE(daemon_->wait_for_log(Regex("reloaded routes=1 changed=1"), kLate));
  EXPECT_TRUE(refuses(0));
  for (const OwnedFd& each : clients) EXPECT_TRUE(send_all(each.get(), "x"));
  for (std::size_t i = 0; i < clients.size(); ++i) {
    const OwnedFd accepted = accept_from(one_.fd.get());
    EXPECT_EQ(receive_text(accepted.get(), 1), "x");
  }
  EXPECT_TRUE(reaches(1, one_));
}

TEST_P(ReloadTest, AnAddressBecomesWider) {
  start(route("one", at(0), to(one_)), 1);
  const std::string wide = "0.0.0.0:" + std::to_string(ports_[0]);
  EXPECT_EQ(reload(route("one", wide, to(two_))), "reloaded routes=1 changed=2");
  EXPECT_TRUE(reaches(0, two_));
  EXPECT_EQ(reload(route("one", at(0), to(one_))), "reloaded routes=1 changed=2");
  EXPECT_TRUE(reaches(0, one_));
}

TEST_P(ReloadTest, UnixSocketsComeAndGo) {
  const std::string path = folder_.file("listen.sock");
  start(route("one", at(0), to(one_)), 1);
  EXPECT_EQ(reload(route("one", "unix:" + path, to(one_))), "reloaded routes=1 changed=1");
  Forwarded pair{connect_unix(path), {}};
  pair.upstream = accept_from(one_.fd.get());
  EXPECT_TRUE(talks(pair));
  EXPECT_EQ(reload(route("one", at(0), to(one_))), "reloaded routes=1 changed=1");
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_TRUE(talks(pair));
  EXPECT_EQ(reload(route("one", "unix:" + path, to(one_))), "reloaded routes=1 changed=1");
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST_P(ReloadTest, MatchesChange) {
  const std::string two = route("two", at(1), to(two_));
  start(route("one", at(0), to(one_)) + two, 2);
  const std::string match = "[[route.match]]\nprefix = \"x\"\nroute = \"two\"\n";
  EXPECT_EQ(reload(route("one", at(0), to(one_), match) + two), "reloaded routes=2 changed=1");
  const OwnedFd client = connect_tcp(ports_[0]);
  EXPECT_TRUE(send_all(client.get(), "x"));
  EXPECT_EQ(receive_text(accept_from(two_.fd.get()).get(), 1), "x");
  // A client that has not chosen yet, as its route and the one that it will choose go.
  const OwnedFd early = connect_tcp(ports_[0]);
  EXPECT_EQ(reload(route("three", at(2), to(one_))), "reloaded routes=1 changed=3");
  EXPECT_TRUE(send_all(early.get(), "x"));
  EXPECT_EQ(receive_text(accept_from(two_.fd.get()).get(), 1), "x");
  EXPECT_TRUE(reaches(2, one_));
}

TEST_P(ReloadTest, ABadFileChangesNothingAndTheLogIsOpenedAllTheSame) {
  const std::string log = folder_.file("log");
  write(route("one", at(0), to(one_)));
  DaemonOptions options;
  options.log_file = log;
  daemon_ = std::make_unique<Daemon>(
      std::vector<std::string>{"--config", folder_.file("sluice.toml"), "--log-file", log},
      options);
  std::filesystem::rename(log, log + ".1");
  write(route("one", at(0), to(two_)) + "bogus = 1\n");
  daemon_->process().signal(SIGHUP);
  EXPECT_TRUE(daemon_->wait_for_log(
      Regex("error reload_refused reason=\".*sluice.toml:9:1: key ..bogus..: unknown key"), kLate))
      << daemon_->log();
  EXPECT_TRUE(reaches(0, one_));
}

TEST_P(ReloadTest, AnAddressInUseChangesNothing) {
  start(route("one", at(0), to(one_)), 1);
  EXPECT_EQ(reload(route("one", at(0), to(two_)) + route("two", to(one_), to(two_)) +
                   route("three", at(1), to(two_))),
            "reload_refused reason=\"bind " + to(one_) + ": Address already in use\"");
  EXPECT_TRUE(refuses(1));
  EXPECT_TRUE(reaches(0, one_));
  EXPECT_EQ(reload(route("one", at(0), to(two_))), "reloaded routes=1 changed=1");
  EXPECT_TRUE(reaches(0, two_));
}

TEST_P(ReloadTest, ANameThatDoesNotResolveChangesNothing) {
  start(route("one", at(0), to(one_)), 1);
  const std::string line =
      reload(route("one", at(0), to(two_)) + route("two", at(1), "nothing.invalid:80"));
  EXPECT_TRUE(
      line.starts_with("reload_refused reason=\"route \\\"two\\\": resolve nothing.invalid"))
      << line;
  EXPECT_TRUE(refuses(1));
  EXPECT_TRUE(reaches(0, one_));
}

TEST_P(ReloadTest, ANameThatResolvesIsUsed) {
  start(route("one", at(0), to(one_)), 1);
  const std::string name = "localhost:" + std::to_string(two_.port);
  EXPECT_EQ(reload(route("one", at(0), name)), "reloaded routes=1 changed=1");
  EXPECT_TRUE(reaches(0, two_));
  EXPECT_EQ(reload(route("one", at(0), name, "idle-timeout = \"5s\"")),
            "reloaded routes=1 changed=1");
  EXPECT_TRUE(reaches(0, two_));
}

TEST_P(ReloadTest, AUnixPathThatCannotBeBoundChangesNothing) {
  start(route("one", at(0), to(one_)), 1);
  const std::string line = reload(route("one", at(0), to(two_)) +
                                  route("two", "unix:" + folder_.file("none/socket"), to(two_)) +
                                  route("three", "unix:" + folder_.file("here"), to(two_)));
  EXPECT_TRUE(line.starts_with("reload_refused ")) << line;
  EXPECT_FALSE(std::filesystem::exists(folder_.file("here")));
  EXPECT_TRUE(reaches(0, one_));
}

TEST_P(ReloadTest, WhatIsNotHotIsRefusedAsAWhole) {
  start(route("one", at(0), to(one_)), 1);
  EXPECT_EQ(reload("mirror-buffers = \"1MiB\"\n" + route("one", at(0), to(two_))),
            "reload_refused reason=\"mirror-buffers: only a takeover or a restart changes it\"");
  EXPECT_TRUE(reaches(0, one_));
}

TEST_P(ReloadTest, ACaptureComesAndGoes) {
  const std::string directory = folder_.file("capture");
  const auto text = [&](const std::string& more) { return route("one", at(0), to(one_), more); };
  const std::string capture = "capture = \"" + directory + "\"\n";
  start(text(""), 1);
  EXPECT_TRUE(reaches(0, one_));
  const Forwarded early = forward(ports_[0], one_.fd.get());
  EXPECT_EQ(reload(text(capture)), "reloaded routes=1 changed=1");
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(reaches(0, one_));
  EXPECT_TRUE(talks(early)) << "it began before, and is not recorded";
  Forwarded recorded = forward(ports_[0], one_.fd.get());
  EXPECT_EQ(reload(text("")), "reloaded routes=1 changed=1");
  EXPECT_TRUE(reaches(0, one_)) << "not recorded";
  EXPECT_TRUE(talks(recorded));
  recorded = {};
  EXPECT_TRUE(daemon_->wait_for_log(Regex("capture_closed"), kLate)) << daemon_->log();
  Process verify({capture_tool(), "ls", directory});
  EXPECT_EQ(verify.wait(kLate), 0);
  const std::string listed = verify.standard_output();
  EXPECT_EQ(count_lines(listed, Regex("127.0.0.1")), 11U) << listed;
}

TEST_P(ReloadTest, ACaptureDirectoryThatCannotBeMadeChangesNothing) {
  const std::string file = folder_.write("file", "");
  start(route("one", at(0), to(one_)), 1);
  const std::string line = reload(route("one", at(0), to(two_)) + route("two", at(1), to(two_)) +
                                  "capture = \"" + file + "/capture\"\n");
  EXPECT_TRUE(line.starts_with("reload_refused ")) << line;
  EXPECT_TRUE(refuses(1));
  EXPECT_TRUE(reaches(0, one_));
}

TEST_P(ReloadTest, AFullDiskHoldsUpNoReloadAndOneThatCannotBeWrittenRefusesIt) {
  std::string why_not;
  const std::unique_ptr<LoopDisk> disk = LoopDisk::create(16 << 20, why_not);
  if (disk == nullptr) GTEST_SKIP() << why_not;
  start(route("one", at(0), to(one_)), 1);
  disk->fill("file", 4'096);
  const auto text = [&](const std::string& to, const std::string& directory) {
    return route("one", at(0), to,
                 "capture = \"" + disk->path() + directory + "\"\ncapture-full = \"drop\"\n");
  };
  EXPECT_EQ(reload(text(to(two_), "/first")), "reloaded routes=1 changed=3");
  EXPECT_TRUE(reaches(0, two_)) << "it lacks bytes, as after a start";
  disk->turn_read_only();
  const std::string line = reload(text(to(one_), "/second"));
  EXPECT_TRUE(line.starts_with("reload_refused ")) << line;
  EXPECT_TRUE(reaches(0, two_));
  EXPECT_EQ(reload(route("one", at(0), to(one_))), "reloaded routes=1 changed=3");
  EXPECT_TRUE(reaches(0, one_));
  daemon_.reset();
}

TEST_P(ReloadTest, TheSettingsOfAnOpenCaptureAreNotHot) {
  const auto text = [&](const std::string& more) {
    return route("one", at(0), "echo:", "capture = \"" + folder_.file("capture") + "\"\n" + more);
  };
  start(text(""), 1);
  EXPECT_EQ(reload(text("durability = \"none\"")),
            "reload_refused reason=\"route \\\"one\\\": durability: only a takeover or a restart "
            "changes it\"");
}

TEST_P(ReloadTest, AMirrorComesAndGoes) {
  const auto text = [&](const std::string& more) { return route("one", at(0), to(one_), more); };
  start(text(""), 1);
  const Forwarded early = forward(ports_[0], one_.fd.get());
  EXPECT_EQ(reload(text("mirror = \"" + to(two_) + "\"\n")), "reloaded routes=1 changed=1");
  const Forwarded mirrored = forward(ports_[0], one_.fd.get());
  EXPECT_TRUE(talks(mirrored));
  const OwnedFd copy = accept_from(two_.fd.get(), kLate);
  EXPECT_EQ(receive_text(copy.get(), 1), "a");
  EXPECT_EQ(reload(text("")), "reloaded routes=1 changed=1");
  EXPECT_TRUE(talks(early));
  EXPECT_TRUE(reaches(0, one_));
  EXPECT_FALSE(readable_within(two_.fd.get(), std::chrono::milliseconds(20))) << "no further copy";
}

TEST_P(ReloadTest, SettingsOfTheProcessChange) {
  start("max-connections = 2\n" + route("one", at(0), to(one_)), 1);
  const Forwarded first = forward(ports_[0], one_.fd.get());
  const Forwarded second = forward(ports_[0], one_.fd.get());
  const OwnedFd third = connect_tcp(ports_[0]);
  EXPECT_TRUE(daemon_->wait_for_log(Regex("connections_full max_connections=2"), kLate));
  EXPECT_EQ(reload("log-level = \"warn\"\nmax-connections = 3\n" + route("one", at(0), to(one_))),
            "reloaded routes=1 changed=2");
  const OwnedFd accepted = accept_from(one_.fd.get());
  EXPECT_TRUE(send_all(third.get(), "x"));
  EXPECT_EQ(receive_text(accepted.get(), 1), "x");
  EXPECT_TRUE(talks(first));
  EXPECT_TRUE(talks(second));
}

TEST_P(ReloadTest, TheLastOfManySignalsCounts) {
  start(route("one", at(0), "echo:"), 1);
  for (int i = 0; i < 50; ++i) {
    write(route("one", at(0), "echo:", i % 2 == 0 ? "idle-timeout = \"5m\"" : ""));
    daemon_->process().signal(SIGHUP);
  }
  write(route("one", at(1), "echo:"));
  daemon_->process().signal(SIGHUP);
  EXPECT_TRUE(wait_until([&] { return refuses(0) && !refuses(1); }, kLate)) << daemon_->log();
}

TEST_P(ReloadTest, AHundredReloadsLeaveNothingBehind) {
  const auto text = [&](int round) {
    std::string all = route("one", at(0), to(round % 2 == 0 ? one_ : two_));
    all += route("extra" + std::to_string(round), at(1), "echo:");
    if (round % 3 == 0) all += route("file", "127.0.0.1:0", "file:/dev/null");
    return all;
  };
  start(text(0), 3);
  const Forwarded stays = forward(ports_[0], one_.fd.get());
  EXPECT_TRUE(talks(stays));
  const auto rounds = [&](int from, int end) {
    for (int round = from; round < end; ++round) {
      ASSERT_TRUE(reload(text(round)).starts_with("reloaded")) << daemon_->log();
      Forwarded pair = forward(ports_[0], (round % 2 == 0 ? one_ : two_).fd.get());
      EXPECT_TRUE(talks(pair));
    }
  };
  rounds(1, 25);
  const std::size_t descriptors = daemon_->fd_count();
  const std::uint64_t memory = daemon_->pss_bytes();
  rounds(25, 127);
  EXPECT_TRUE(talks(stays));
  EXPECT_TRUE(wait_until([&] { return daemon_->fd_count() <= descriptors; }, kLate))
      << daemon_->fd_count() << " instead of " << descriptors;
  // A sanitizer remembers what was freed.
  if (!sanitized()) {
    EXPECT_LE(daemon_->pss_bytes(), memory + (1 << 20));
  }
}

TEST_P(ReloadTest, WithoutAFileOnlyTheLogIsOpened) {
  daemon_ = std::make_unique<Daemon>(route_arguments({GetParam(), "auto"}, to(one_)));
  daemon_->process().signal(SIGHUP);
  daemon_->process().signal(SIGUSR1);
  EXPECT_TRUE(daemon_->wait_for_log(Regex(" stats "), kLate));
  EXPECT_EQ(results(), std::vector<std::string>{});
}

INSTANTIATE_TEST_SUITE_P(Engines, ReloadTest, testing::Values("uring", "epoll"),
                         [](const auto& each) { return each.param; });

/// What an operator changes at the admin API.
class ReloadStateTest : public ReloadTest {
 protected:
  void start_with_admin(const std::string& text, std::size_t listeners) {
    start(text, listeners, {"--admin", "unix:" + admin_});
  }
  [[nodiscard]] HttpAnswer ask(const std::string& request) const {
    const OwnedFd fd = connect_unix(admin_);
    return exchange(fd.get(), request);
  }
  [[nodiscard]] HttpAnswer ask_servers() const { return ask(http_request("GET", "/v1/servers")); }

  std::string admin_ = folder_.file("admin.sock");
};

TEST_P(ReloadStateTest, ServersThatStayKeepTheOrderOfAnOperator) {
  const auto text = [&](const std::string& servers) {
    return "[[route]]\nname = \"one\"\nlisten = \"" + at(0) + "\"\nto = [" + servers + "]\n";
  };
  const std::string first = "\"" + to(one_) + "\"";
  const std::string second = "\"" + to(two_) + "\"";
  start_with_admin(text(first + ", " + second), 1);
  const std::string change =
      change_request("POST", "/v1/servers/one/" + to(one_), R"({"state":"drain"})");
  EXPECT_EQ(ask(change).status, 200);
  EXPECT_EQ(reload(text(second + ", {address = " + first + ", weight = 5}")),
            "reloaded routes=1 changed=1");
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(reaches(0, two_));
  EXPECT_NE(ask_servers().body.find("\"ordered\":\"drain\""), std::string::npos);
  EXPECT_EQ(reload(text(second)), "reloaded routes=1 changed=1");
  EXPECT_EQ(reload(text(first)), "reloaded routes=1 changed=1");
  EXPECT_TRUE(reaches(0, one_)) << "it has left and come back";
}

TEST_P(ReloadStateTest, TheLogLevelOfAnOperatorYieldsToTheFile) {
  const std::string one = route("one", at(0), "echo:");
  start_with_admin(one, 1);
  const auto level = [&] { return ask(http_request("GET", "/v1/log-level")).body; };
  EXPECT_EQ(ask(change_request("PUT", "/v1/log-level", R"({"level":"warn"})")).status, 200);
  EXPECT_EQ(reload(one + route("two", at(1), "echo:")), "reloaded routes=2 changed=1");
  EXPECT_NE(level().find("warn"), std::string::npos);
  EXPECT_EQ(reload("log-level = \"error\"\n" + one), "reloaded routes=1 changed=2");
  EXPECT_NE(level().find("error"), std::string::npos);
}

TEST_P(ReloadStateTest, ACaptureThatWasSwitchedOffStaysOffUntilTheFileChangesThat) {
  const auto text = [&](const std::string& more) {
    return route("one", at(0), "echo:", "capture = \"" + folder_.file("capture") + "\"\n" + more);
  };
  start_with_admin(text(""), 1);
  const auto is_on = [&] {
    return ask(http_request("GET", "/v1/routes")).body.find("\"capture_enabled\":true") !=
           std::string::npos;
  };
  EXPECT_TRUE(is_on());
  EXPECT_EQ(ask(change_request("POST", "/v1/routes/one/capture", R"({"enabled":false})")).status,
            200);
  EXPECT_EQ(reload(text("idle-timeout = \"5s\"")), "reloaded routes=1 changed=1");
  EXPECT_FALSE(is_on());
  EXPECT_EQ(reload(text("capture-enabled = false")), "reloaded routes=1 changed=2");
  EXPECT_FALSE(is_on());
  EXPECT_EQ(reload(text("")), "reloaded routes=1 changed=1");
  EXPECT_TRUE(is_on());
}

TEST_P(ReloadStateTest, AServerThatChecksFoundDownStaysDown) {
  const Listener down = bind_tcp();
  const auto text = [&](const std::string& more) {
    return "[[route]]\nname = \"one\"\nlisten = \"" + at(0) + "\"\nto = [\"" + to(down) + "\", \"" +
           to(one_) + "\"]\n" + more;
  };
  start_with_admin(text("health = \"tcp\"\n"), 1);
  const auto says_down = [&] {
    return ask_servers().body.find("\"state\":\"down\"") != std::string::npos;
  };
  EXPECT_TRUE(wait_until(says_down, kLate));
  EXPECT_EQ(reload(text("health = \"tcp\"\nbalance = \"round-robin\"\n")),
            "reloaded routes=1 changed=1");
  EXPECT_TRUE(says_down());
  EXPECT_EQ(reload(text("health = \"tcp\"\nhealth-interval = \"1h\"\n")),
            "reloaded routes=1 changed=2");
  EXPECT_TRUE(says_down());
  EXPECT_EQ(reload(text("")), "reloaded routes=1 changed=2");
  EXPECT_TRUE(wait_until([&] { return !says_down(); }, kLate)) << "nobody checks it any more";
  EXPECT_EQ(reload(text("health = \"tcp\"\n")), "reloaded routes=1 changed=1");
  EXPECT_TRUE(wait_until(says_down, kLate)) << "checks begin again";
}

INSTANTIATE_TEST_SUITE_P(Engines, ReloadStateTest, testing::Values("uring", "epoll"),
                         [](const auto& each) { return each.param; });

}  // namespace
}  // namespace sluice::test
