// Successful and failing starts: exit statuses, the single line with the reason, --check, addresses
// in use.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "iolib/base/endpoint.h"
#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/outcome.h"

namespace sluice::test {
namespace {

using std::chrono::milliseconds;

constexpr const char* kAnyPort = "127.0.0.1:0";

TEST(ExitStatusTest, ZeroForHelpAndVersion) {
  for (const char* option : {"--help", "-h", "--version"}) {
    const Outcome outcome = run_to_end({option});
    EXPECT_EQ(outcome.status, 0) << option;
    EXPECT_EQ(outcome.error, "") << option;
    EXPECT_NE(outcome.output.find("sluice"), std::string::npos) << option;
  }
}

TEST(ExitStatusTest, OneWhereWhatWasAskedForCannotBePrinted) {
  const OwnedFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  ProcessOptions options;
  options.standard_output = full.get();
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--help"},
        {"--version"},
        {"--listen", kAnyPort, "--to", "echo:", "--check"}}) {
    EXPECT_EQ(refusal(arguments, 1, {"stdout cannot be written"}, options), "");
  }
}

TEST(ExitStatusTest, TwoForWrongUsage) {
  EXPECT_EQ(refusal({}, 2, {"usage:"}), "");
  EXPECT_EQ(refusal({"--lisen", kAnyPort, "--to", "echo:"}, 2, {"--lisen", "--listen"}), "");
  EXPECT_EQ(refusal({"--listen", kAnyPort}, 2, {"--to"}), "");
  EXPECT_EQ(refusal({"--to", "echo:"}, 2, {"--listen"}), "");
  EXPECT_EQ(refusal({"--listen", kAnyPort, "--to", "echo:", "stray"}, 2, {"stray"}), "");
  EXPECT_EQ(refusal({"--listen", kAnyPort, "--to", "127.0.0.1"}, 2, {"--to", "127.0.0.1"}), "");
  EXPECT_EQ(refusal({"--listen", "127.0.0.1:65536", "--to", "echo:"}, 2, {"--listen"}), "");
  EXPECT_EQ(refusal({"--listen", kAnyPort, "--to", "echo:", "--idle-timeout", "5"}, 2,
                    {"--idle-timeout", "unit"}),
            "");
  EXPECT_EQ(refusal({"--listen", kAnyPort, "--to", "echo:", "--workers", "0"}, 2, {"--workers"}),
            "");
  EXPECT_EQ(refusal({"--listen", kAnyPort, "--to", "echo:", "--engine", "urign"}, 2,
                    {"--engine", "urign", "uring"}),
            "");
  EXPECT_EQ(refusal({"--listen", kAnyPort, "--to", "echo:", "--log-level"}, 2, {"--log-level"}),
            "");
}

TEST(ExitStatusTest, OneForABadConfigurationFile) {
  const TempDir folder;
  const auto refused = [&](const std::string& text, const std::string& place,
                           std::vector<std::string> words) {
    const std::string path = folder.write("sluice.toml", text);
    words.push_back(path + place);
    return refusal({"--config", path}, 1, words);
  };
  EXPECT_EQ(refused("[[route]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\nto = \"echo:\"\n"
                    "  idle-timeuot = \"1h\"\n",
                    ":5:3: ", {"idle-timeuot", "idle-timeout"}),
            "");
  EXPECT_EQ(refused("[defaults]\nidle-timeout = 5\n[[route]]\nname = \"a\"\n"
                    "listen = \"127.0.0.1:0\"\nto = \"echo:\"\n",
                    ":2:16: ", {"idle-timeout", "unit"}),
            "");
  EXPECT_EQ(refused("[[route]\n", ":1:9: ", {"syntax error"}), "");
  EXPECT_EQ(refused("[[route]]\nname = \"a\"\nto = \"echo:\"\n", ":1:1: ", {"listen"}), "");
  EXPECT_EQ(refused("", ":1:1: ", {"route"}), "");
  const std::string missing = folder.file("missing.toml");
  EXPECT_EQ(refusal({"--config", missing}, 1, {missing + ":1:1: ", "No such file"}), "");
  EXPECT_EQ(refusal({"--config", missing, "--to", "echo:"}, 2, {"--to", "--config"}), "");
}

TEST(ExitStatusTest, OneForANameThatNobodyKnows) {
  EXPECT_EQ(refusal({"--listen", kAnyPort, "--to", "nobody.invalid:80"}, 1, {"nobody.invalid"},
                    brief_lookups()),
            "");
  EXPECT_EQ(refusal({"--listen", "nobody.invalid:0", "--to", "echo:"}, 1, {"nobody.invalid"},
                    brief_lookups()),
            "");
}

TEST(ExitStatusTest, OneForALogFileThatCannotBeOpened) {
  const TempDir folder;
  const std::string path = folder.file("missing") + "/sluice.log";
  EXPECT_EQ(refusal({"--listen", kAnyPort, "--to", "echo:", "--log-file", path}, 1,
                    {path, "No such file"}),
            "");
}

TEST(ExitStatusTest, OneForAPortInUse) {
  const Listener other = listen_tcp();
  const std::string address = loopback_address(other.port);
  EXPECT_EQ(refusal({"--listen", address, "--to", "echo:"}, 1, {address, "in use"}), "");
  // The other listeners are closed, too.
  EXPECT_EQ(
      refusal({"--listen", kAnyPort, "--listen", address, "--to", "echo:"}, 1, {address, "in use"}),
      "");
}

TEST(ExitStatusTest, OneForAPortThatAnotherSluiceHas) {
  for (const char* workers : {"1", "2"}) {
    Daemon first({"--listen", kAnyPort, "--to", "echo:", "--workers", workers});
    const std::string address = loopback_address(first.port());
    EXPECT_EQ(refusal({"--listen", address, "--to", "discard:", "--workers", workers}, 1,
                      {address, "in use"}),
              "");
    for (int i = 0; i < 20; ++i) {
      const OwnedFd client = connect_tcp(first.port());
      ASSERT_TRUE(echoes(client.get())) << "somebody else accepts its connections";
    }
  }
}

TEST(ExitStatusTest, PortIsFreeAgainAfterTheEnd) {
  Daemon first({"--listen", kAnyPort, "--to", "echo:"});
  const std::uint16_t port = first.port();
  // The daemon closes first, so its side is in TIME_WAIT.
  const OwnedFd client = connect_tcp(port);
  ASSERT_TRUE(echoes(client.get()));
  first.process().signal(SIGTERM);
  finish_sending(client.get());
  ASSERT_EQ(first.process().wait(kLate), 0);
  const Daemon second({"--listen", loopback_address(port), "--to", "echo:"});
  EXPECT_EQ(second.port(), port);
}

TEST(CheckTest, GoodConfigurationIsZeroAndStartsNothing) {
  const Listener upstream = listen_tcp();
  const TempDir folder;
  const std::string socket_file = folder.file("listen.sock");
  const std::string log_file = folder.file("sluice.log");
  const std::string path = folder.write(
      "sluice.toml", "[defaults]\nlog-file = \"" + log_file +
                         "\"\n[[route]]\nname = \"a\"\nlisten = [\"127.0.0.1:0\", \"unix:" +
                         socket_file + "\"]\nto = \"" + loopback_address(upstream.port) + "\"\n");
  const Outcome outcome = run_to_end({"--config", path, "--check"});
  EXPECT_EQ(outcome.status, 0) << outcome.error;
  EXPECT_EQ(outcome.error, "");
  EXPECT_NE(outcome.output.find("configuration: good"), std::string::npos) << outcome.output;
  EXPECT_FALSE(std::filesystem::exists(socket_file));
  EXPECT_FALSE(std::filesystem::exists(log_file));
  EXPECT_FALSE(readable_within(upstream.fd.get(), milliseconds(0))) << "it connected";
}

/// As before a reload: the addresses that the running daemon holds are no obstacle.
TEST(CheckTest, BesideTheRunningDaemonIsZero) {
  const TempDir folder;
  const std::string socket_file = folder.file("listen.sock");
  DaemonOptions options;
  options.listeners = 2;
  const Daemon daemon(
      {"--listen", "127.0.0.1:0", "--listen", "unix:" + socket_file, "--to", "echo:"}, options);
  const Outcome outcome = run_to_end({"--listen", loopback_address(daemon.port()), "--listen",
                                      "unix:" + socket_file, "--to", "echo:", "--check"});
  EXPECT_EQ(outcome.status, 0) << outcome.error;
  for (const Listening& each : daemon.listening()) {
    EXPECT_NE(outcome.output.find("listen: " + each.address + " is in use"), std::string::npos)
        << outcome.output;
  }
  EXPECT_TRUE(echoes(connect_unix(socket_file).get()));
  EXPECT_TRUE(echoes(connect_tcp(daemon.port()).get()));
}

TEST(CheckTest, AConfigurationMayComeFromStdin) {
  const TempDir folder;
  const std::string good = folder.write(
      "good.toml", "[[route]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\nto = \"echo:\"\n");
  const std::string bad =
      folder.write("bad.toml", "[[route]]\nname = 5\nlisten = \":1\"\nto = \"echo:\"\n");
  const auto from = [](const std::string& path, ProcessOptions& options) {
    OwnedFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    options.standard_input = file.get();
    return file;
  };
  ProcessOptions options;
  const OwnedFd first = from(good, options);
  EXPECT_EQ(run_to_end({"--config", "-", "--check"}, options).status, 0);
  const OwnedFd second = from(bad, options);
  EXPECT_EQ(refusal({"--config", "-", "--check"}, 1, {"-:2:8: ", "name"}, options), "");
}

TEST(CheckTest, BadConfigurationIsOne) {
  const TempDir folder;
  const std::string path =
      folder.write("sluice.toml", "[[route]]\nname = 5\nlisten = \":1\"\nto = \"echo:\"\n");
  EXPECT_EQ(refusal({"--config", path, "--check"}, 1, {path + ":2:8: ", "name"}), "");
  const std::string unknown = folder.write(
      "unknown.toml",
      "[[route]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\nto = \"nobody.invalid:80\"\n");
  EXPECT_EQ(refusal({"--config", unknown, "--check"}, 1, {"nobody.invalid"}, brief_lookups()), "");
}

TEST(CheckTest, AMirrorThatCannotBeFoundIsSaidAndZero) {
  const Outcome outcome = run_to_end(
      {"--listen", "127.0.0.1:0", "--to", "echo:", "--mirror", "nobody.invalid:80", "--check"},
      brief_lookups());
  EXPECT_EQ(outcome.status, 0) << outcome.error;
  EXPECT_NE(outcome.output.find("mirror: nobody.invalid:80: resolve nobody.invalid"),
            std::string::npos)
      << outcome.output;
  EXPECT_NE(outcome.output.find("configuration: good"), std::string::npos) << outcome.output;
}

TEST(CheckTest, WhatTheMachineRefusesIsOne) {
  const std::string address = "192.0.2.1:7";  // for documentation: no machine has it
  EXPECT_EQ(refusal({"--listen", address, "--to", "echo:", "--check"}, 1, {address}), "");
}

TEST(CheckTest, WhatIsInTheWayOfAFileIsOneAsAtTheStart) {
  const TempDir folder;
  const std::string precious = folder.write("precious", "text");
  for (const std::vector<std::string>& more : {std::vector<std::string>{}, {"--check"}}) {
    std::vector<std::string> no_socket{"--listen", "unix:" + precious, "--to", "echo:"};
    no_socket.insert(no_socket.end(), more.begin(), more.end());
    EXPECT_EQ(refusal(no_socket, 1, {precious, "exists"}), "");
    std::vector<std::string> no_log{"--listen", kAnyPort,     "--to",
                                    "echo:",    "--log-file", folder.path()};
    no_log.insert(no_log.end(), more.begin(), more.end());
    EXPECT_EQ(refusal(no_log, 1, {folder.path(), "directory"}), "");
  }
  EXPECT_EQ(read_text(precious), "text");
}

TEST(CheckTest, ALeftoverSocketIsZeroAndStays) {
  const TempDir folder;
  const std::string path = folder.file("listen.sock");
  static_cast<void>(listen_unix(path));  // closed at once; its file stays
  const Outcome outcome = run_to_end({"--listen", "unix:" + path, "--to", "echo:", "--check"});
  EXPECT_EQ(outcome.status, 0) << outcome.error;
  EXPECT_EQ(outcome.output.find("in use"), std::string::npos) << outcome.output;
  EXPECT_TRUE(std::filesystem::is_socket(path));
}

TEST(CheckTest, AFileToBeSentHasToBeThere) {
  const TempDir folder;
  const auto check = [](const std::string& path) {
    return refusal({"--listen", kAnyPort, "--to", "file:" + path, "--check"}, 1, {path});
  };
  EXPECT_EQ(check(folder.file("missing")), "");
  EXPECT_EQ(check(folder.path()), "");
  const std::string there = folder.write("there", "text");
  EXPECT_EQ(run_to_end({"--listen", kAnyPort, "--to", "file:" + there, "--check"}).status, 0);
  // The start does not check this: the file may come later.
  const Daemon daemon({"--listen", kAnyPort, "--to", "file:" + folder.file("missing")});
}

/// Two listeners of one configuration. The start opens both or none.
TEST(CheckTest, ListenersInEachOthersWayAreOneAsAtTheStart) {
  struct Pair {
    std::string one, other;
    bool good;
  };
  std::vector<Pair> pairs{{"0.0.0.0", "127.0.0.1", false},
                          {"127.0.0.1", "0.0.0.0", false},
                          {"127.0.0.1", "127.0.0.2", true}};
  if (has_ipv6()) {
    pairs.insert(pairs.end(), {{"", "127.0.0.1", false},
                               {"[::1]", "[::]", false},
                               {"[::]", "127.0.0.1", true},
                               {"[::]", "0.0.0.0", true}});
  }
  for (const Pair& pair : pairs) {
    const std::string port = ":" + std::to_string(free_port());
    std::vector<std::string> arguments{"--listen",        pair.one + port, "--listen",
                                       pair.other + port, "--to",          "echo:"};
    SCOPED_TRACE(pair.one + port + " " + pair.other + port);
    if (pair.good) {
      DaemonOptions options;
      options.listeners = 2;
      EXPECT_EQ(Daemon(arguments, options).terminate(), 0);
      arguments.emplace_back("--check");
      EXPECT_EQ(run_to_end(arguments).status, 0);
    } else {
      EXPECT_EQ(refusal(arguments, 1, {"in use"}), "");
      arguments.emplace_back("--check");
      EXPECT_EQ(refusal(arguments, 1, {"in use"}), "");
    }
  }
}

TEST(UnixListenerTest, FileInUseIsRefused) {
  const TempDir folder;
  const std::string path = folder.file("listen.sock");
  const Daemon first({"--listen", "unix:" + path, "--to", "echo:"});
  EXPECT_EQ(refusal({"--listen", "unix:" + path, "--to", "discard:"}, 1, {path, "in use"}), "");
  EXPECT_TRUE(echoes(connect_unix(path).get()));
}

TEST(UnixListenerTest, StaleFileIsReplacedAndRemovedAtTheEnd) {
  const TempDir folder;
  const std::string path = folder.file("listen.sock");
  static_cast<void>(listen_unix(path));  // closed at once; its file stays
  ASSERT_TRUE(std::filesystem::is_socket(path));
  Daemon daemon({"--listen", "unix:" + path, "--to", "echo:"});
  EXPECT_EQ(daemon.listening().at(0).address, "unix:" + path);
  EXPECT_TRUE(echoes(connect_unix(path).get()));
  EXPECT_EQ(daemon.terminate(kLate), 0);
  EXPECT_FALSE(std::filesystem::exists(path));
}

// A rolling restart: the old socket is moved out of the successor's way.
TEST(UnixListenerTest, FileOfASuccessorStaysWhenThePredecessorEnds) {
  const TempDir folder;
  const std::string path = folder.file("listen.sock");
  Daemon old({"--listen", "unix:" + path, "--to", "echo:"});
  std::filesystem::rename(path, folder.file("old.sock"));
  const Daemon successor({"--listen", "unix:" + path, "--to", "echo:"});
  EXPECT_EQ(old.terminate(kLate), 0);
  EXPECT_TRUE(echoes(connect_unix(path).get()));
}

// Between its bind and its listen a socket looks like a leftover.
TEST(UnixListenerTest, FileOfAnotherStartIsNotTakenForALeftover) {
  const TempDir folder;
  const std::string path = folder.file("listen.sock");
  const std::string parent = std::filesystem::path(path).parent_path();
  const OwnedFd lock(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(::flock(lock.get(), LOCK_EX), 0);
  const Endpoint endpoint = make_endpoint(UnixEndpoint{path});
  const OwnedFd other(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(other.get(), endpoint.data(), endpoint.size_bytes), 0);
  Process process({daemon_binary(), "--listen", "unix:" + path, "--to", "echo:"});
  const auto looks_at_the_lock = [&](const auto& fd) {
    std::error_code gone;
    return std::filesystem::read_symlink(fd.path(), gone) == parent;
  };
  ASSERT_TRUE(wait_until([&] {
    return std::ranges::any_of(
        std::filesystem::directory_iterator("/proc/" + std::to_string(process.pid()) + "/fd"),
        looks_at_the_lock);
  }));
  ASSERT_EQ(::listen(other.get(), 1), 0);
  ASSERT_EQ(::flock(lock.get(), LOCK_UN), 0);
  EXPECT_EQ(process.wait(), 1);
  EXPECT_NE(process.standard_error().find("in use"), std::string::npos);
  static_cast<void>(connect_unix(path));
}

TEST(UnixListenerTest, FileIsRemovedByASecondSignalToo) {
  const TempDir folder;
  const std::string path = folder.file("listen.sock");
  Daemon daemon({"--listen", "unix:" + path, "--to", "echo:", "--drain-timeout", "1d"});
  const OwnedFd client = connect_unix(path);
  ASSERT_TRUE(echoes(client.get()));
  daemon.process().signal(SIGTERM);
  ASSERT_TRUE(daemon.wait_for_log(Regex("draining"), kLate));
  daemon.process().signal(SIGTERM);
  EXPECT_EQ(daemon.process().wait(kLate), 0);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(UnixListenerTest, FileIsRemovedWhenTheStartFails) {
  const TempDir folder;
  const std::string path = folder.file("listen.sock");
  const Listener other = listen_tcp();
  const std::string address = loopback_address(other.port);
  EXPECT_EQ(refusal({"--listen", "unix:" + path, "--listen", address, "--to", "echo:"}, 1,
                    {address, "in use"}),
            "");
  EXPECT_FALSE(std::filesystem::exists(path));
}

// Listening, forwarding and mirroring: names are used whole, and no file appears.
TEST(UnixListenerTest, AbstractNamesAreServedAndLeaveNothing) {
  const TempDir folder;
  const std::string name = "@" + folder.file("listen");  // a name of this test alone
  const OwnedFd upstream = listen_unix(name + "-upstream");
  const OwnedFd mirror = listen_unix(name + "-mirror");
  const std::vector<std::string> arguments{"--listen", "unix:" + name, "--to",
                                           "unix:" + name + "-upstream"};
  std::vector<std::string> mirrored = arguments;
  mirrored.insert(mirrored.end(), {"--mirror", "unix:" + name + "-mirror"});
  Daemon daemon(mirrored);
  EXPECT_EQ(daemon.listening().at(0).address, "unix:" + name);
  OwnedFd client = connect_unix(name);
  ASSERT_TRUE(send_all(client.get(), "to both"));
  OwnedFd forwarded = accept_from(upstream.get());
  EXPECT_EQ(receive_text(forwarded.get(), 7), "to both");
  EXPECT_EQ(receive_text(accept_from(mirror.get()).get(), 7), "to both");

  EXPECT_EQ(refusal(arguments, 1, {name, "in use"}), "");
  std::vector<std::string> checked = arguments;
  checked.emplace_back("--check");
  const Outcome beside = run_to_end(checked);
  EXPECT_EQ(beside.status, 0) << beside.error;
  EXPECT_NE(beside.output.find("listen: unix:" + name + " is in use"), std::string::npos)
      << beside.output;
  client.reset();
  forwarded.reset();
  const auto ends = daemon.wait_for_ends(1, kLate);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].upstream, "unix:" + name + "-upstream");
  EXPECT_EQ(daemon.terminate(kLate), 0);
  EXPECT_NO_THROW(static_cast<void>(listen_unix(name)));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(UnixListenerTest, OrdinaryFileIsLeftAlone) {
  const TempDir folder;
  const std::string path = folder.write("precious", "text");
  EXPECT_EQ(refusal({"--listen", "unix:" + path, "--to", "echo:"}, 1, {path}), "");
  EXPECT_EQ(read_text(path), "text");
}

}  // namespace
}  // namespace sluice::test
