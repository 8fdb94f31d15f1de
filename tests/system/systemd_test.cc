// What systemd and the daemon say to each other: sockets that it passes, messages, the watchdog,
// and the journal. A stand-in takes systemd's place, except for systemd-socket-activate.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "iolib/base/address.h"
#include "iolib/base/endpoint.h"
#include "tests/support/daemon.h"
#include "tests/support/process.h"
#include "tests/support/sockets.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace sluice::test {
namespace {

using Arguments = std::vector<std::string>;

/// "--listen ADDRESS --to echo:".
Arguments echo_at(const std::string& address, const Arguments& more = {}) {
  Arguments arguments{"--listen", address, "--to", "echo:"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

bool echoes(int client) { return send_all(client, "hello") && receive_text(client, 5) == "hello"; }

// --- Sockets that systemd passes ---

enum class Reuse : bool { no, yes };

OwnedFd listen_at(const SocketAddress& address, Reuse reuse = Reuse::no) {
  OwnedFd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (reuse == Reuse::yes) set_flag(fd.get(), SOL_SOCKET, SO_REUSEPORT);
  if (::bind(fd.get(), address.data(), address.size_bytes()) != 0 ||
      ::listen(fd.get(), SOMAXCONN) != 0) {
    throw std::runtime_error("cannot listen at " + address.to_string());
  }
  return fd;
}

SocketAddress numeric(const std::string& host, std::uint16_t port = 0) {
  return *numeric_address(HostPort{host, port});
}

bool has_ipv6() {
  const OwnedFd probe(::socket(AF_INET6, SOCK_STREAM, 0));
  const SocketAddress address = numeric("::1");
  return ::bind(probe.get(), address.data(), address.size_bytes()) == 0;
}

/// Starts the daemon as systemd does: with these files as descriptors 3 and on.
class Activated {
 public:
  /// `count`: what LISTEN_FDS says; by default, the number of files.
  Activated(std::vector<OwnedFd> files, const Arguments& arguments, std::size_t listeners = 1,
            int count = -1, const std::string& pid = "$$") {
    std::string script;
    std::string closes;
    std::vector<OwnedFd> high;  // out of the way of the descriptors that the shell makes
    for (std::size_t i = 0; i < files.size(); ++i) {
      high.emplace_back(::fcntl(files[i].get(), F_DUPFD, 100));
      script += "exec " + std::to_string(3 + i) + "<&" + std::to_string(high.back().get()) + "; ";
      closes += " " + std::to_string(high.back().get()) + "<&-";
    }
    files.clear();
    if (!closes.empty()) script += "exec" + closes + "; ";
    script += "LISTEN_PID=" + pid +
              " LISTEN_FDS=" + std::to_string(count < 0 ? static_cast<int>(high.size()) : count) +
              " exec \"$0\" \"$@\"";
    Arguments command{"-c", script, daemon_binary()};
    command.insert(command.end(), arguments.begin(), arguments.end());
    DaemonOptions options;
    options.listeners = listeners;
    options.binary = find_program("bash");
    daemon_ = std::make_unique<Daemon>(command, options);
  }
  [[nodiscard]] Daemon& daemon() { return *daemon_; }
  [[nodiscard]] std::string unused() const {
    const auto lines = lines_with(daemon_->log(), Regex("sockets_unused"));
    return lines.size() == 1 ? parse_text_line(lines.front())["addresses"]
                             : std::to_string(lines.size()) + " warnings";
  }

 private:
  std::unique_ptr<Daemon> daemon_;
};

template <typename... Each>
std::vector<OwnedFd> files(Each... each) {
  std::vector<OwnedFd> all;
  (all.push_back(std::move(each)), ...);
  return all;
}

TEST(ActivationTest, EveryKindOfAddressIsServedFromWhereItWasQueued) {
  const TempDir folder;
  OwnedFd v4 = listen_at(numeric("127.0.0.1"));
  OwnedFd admin = listen_at(numeric("127.0.0.1"));
  OwnedFd unix_socket = listen_unix(folder.file("socket"));
  const std::uint16_t port = local_port(v4.get());
  const std::uint16_t admin_port = local_port(admin.get());
  OwnedFd first = connect_tcp(port);
  OwnedFd second = connect_unix(folder.file("socket"));
  const OwnedFd third = connect_tcp(admin_port);
  Activated activated(
      files(std::move(v4), std::move(admin), std::move(unix_socket)),
      echo_at(loopback_address(port), {"--listen", "unix:" + folder.file("socket"), "--admin",
                                       loopback_address(admin_port), "--workers", "3"}),
      2);
  EXPECT_TRUE(echoes(first.get()));
  EXPECT_TRUE(echoes(second.get()));
  EXPECT_TRUE(send_all(third.get(), "GET /livez HTTP/1.0\r\n\r\n"));
  EXPECT_EQ(receive_text(third.get(), 12), "HTTP/1.1 200");
  EXPECT_EQ(count_lines(activated.daemon().log(), Regex("sockets_unused")), 0U);
  first.reset();
  second.reset();
  EXPECT_EQ(activated.daemon().terminate(), 0);
  EXPECT_TRUE(std::filesystem::exists(folder.file("socket"))) << "the path is not the daemon's";
}

TEST(ActivationTest, IPv6AndAPortOfAllAddressesAreServed) {
  if (!has_ipv6()) GTEST_SKIP() << "no IPv6 here";
  OwnedFd v6 = listen_at(numeric("::1"));
  const std::uint16_t v6_port = local_port(v6.get());
  OwnedFd any(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int both = 0;
  ASSERT_EQ(::setsockopt(any.get(), IPPROTO_IPV6, IPV6_V6ONLY, &both, sizeof both), 0);
  ASSERT_EQ(::listen(any.get(), SOMAXCONN), 0);  // at a port that the kernel chooses
  const std::uint16_t any_port = local_port(any.get());
  const OwnedFd over_v4 = connect_tcp(any_port);
  const OwnedFd over_v6 = connect_tcp(any_port, {}, AF_INET6);
  const OwnedFd to_v6 = connect_tcp(v6_port, {}, AF_INET6);
  Activated activated(
      files(std::move(v6), std::move(any)),
      echo_at("[::1]:" + std::to_string(v6_port), {"--listen", ":" + std::to_string(any_port)}), 2);
  for (const OwnedFd* client : {&over_v4, &over_v6, &to_v6}) EXPECT_TRUE(echoes(client->get()));
  EXPECT_EQ(count_lines(activated.daemon().log(), Regex("sockets_unused")), 0U);
}

TEST(ActivationTest, MoreSocketsThanWorkersAreAllServed) {
  std::vector<OwnedFd> sockets;
  SocketAddress address = numeric("127.0.0.1");
  for (int i = 0; i < 5; ++i) {
    sockets.push_back(listen_at(address, Reuse::yes));
    address = local_name(sockets.back().get());
  }
  std::vector<OwnedFd> clients;  // the kernel's hash spreads them over the queues
  for (int i = 0; i < 64; ++i) clients.push_back(connect_tcp(address.port()));
  Activated activated(std::move(sockets), echo_at(address.to_string(), {"--workers", "2"}));
  for (const OwnedFd& client : clients) EXPECT_TRUE(echoes(client.get()));
}

TEST(ActivationTest, OneSocketServesManyWorkers) {
  for (const Reuse reuse : {Reuse::no, Reuse::yes}) {
    OwnedFd socket = listen_at(numeric("127.0.0.1"), reuse);
    const SocketAddress address = local_name(socket.get());
    Activated activated(files(std::move(socket)), echo_at(address.to_string(), {"--workers", "4"}));
    for (int i = 0; i < 16; ++i) EXPECT_TRUE(echoes(connect_tcp(address.port()).get()));
  }
}

TEST(ActivationTest, WhatNoListenerWantsIsNamedInOneWarningAndClosed) {
  OwnedFd wanted = listen_at(numeric("127.0.0.1"));
  OwnedFd unwanted = listen_at(numeric("127.0.0.1"));
  const std::uint16_t port = local_port(wanted.get());
  const std::uint16_t other_port = local_port(unwanted.get());
  OwnedFd silent = bind_tcp().fd;
  const std::uint16_t silent_port = local_port(silent.get());
  OwnedFd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  Activated activated(
      files(std::move(wanted), std::move(unwanted), std::move(silent), std::move(file)),
      echo_at(loopback_address(port)));
  EXPECT_EQ(activated.unused(), loopback_address(other_port) + ", " +
                                    loopback_address(silent_port) +
                                    " (does not listen), descriptor 6 (no socket)");
  EXPECT_TRUE(echoes(connect_tcp(port).get()));
  EXPECT_EQ(try_connect(other_port), ECONNREFUSED);
}

TEST(ActivationTest, TooLargeACountClosesNothing) {
  OwnedFd socket = listen_at(numeric("127.0.0.1"));
  const std::uint16_t port = local_port(socket.get());
  Activated activated(files(std::move(socket)), echo_at(loopback_address(port)), 1, 1'000'000);
  EXPECT_TRUE(echoes(connect_tcp(port).get()));
  EXPECT_EQ(count_lines(activated.daemon().log(), Regex("sockets_unused")), 0U);
}

TEST(ActivationTest, SocketsForAnotherProcessAreLeftAlone) {
  OwnedFd socket = listen_at(numeric("127.0.0.1"));
  Activated activated(files(std::move(socket)), echo_at("127.0.0.1:0"), 1, -1, "1");
  EXPECT_TRUE(echoes(connect_tcp(activated.daemon().port()).get()));
  EXPECT_EQ(count_lines(activated.daemon().log(), Regex("sockets_unused")), 0U);
}

TEST(ActivationTest, SystemdSocketActivateStartsItForItsFirstClient) {
  SLUICE_NEEDS_PROGRAM("systemd-socket-activate");
  const TempDir folder;
  const std::string address = loopback_address(free_port());
  const std::string path = folder.file("socket");
  Process process({"systemd-socket-activate", "-l", address, "-l", path, daemon_binary(),
                   "--listen", address, "--listen", "unix:" + path, "--to", "echo:"});
  ASSERT_TRUE(process.wait_for_error_line(Regex("Listening on .*" + path)));
  OwnedFd client = connect_unix(path);
  EXPECT_TRUE(echoes(client.get()));
  client.reset();
  const auto port = static_cast<std::uint16_t>(std::stoi(address.substr(address.find(':') + 1)));
  EXPECT_TRUE(echoes(connect_tcp(port).get()));
  EXPECT_EQ(count_lines(process.standard_error(), Regex("sockets_unused")), 0U);
  process.signal(SIGTERM);
  EXPECT_EQ(process.wait(), 0);
}

// --- Messages ---

/// Where systemd would receive messages.
class Manager {
 public:
  explicit Manager(std::string address)
      : address_(std::move(address)), socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    const Endpoint endpoint = make_endpoint(UnixEndpoint{address_});
    if (::bind(socket_.get(), endpoint.data(), endpoint.size_bytes) != 0) {
      throw std::runtime_error("cannot bind " + address_);
    }
  }
  [[nodiscard]] std::string variable() const { return "NOTIFY_SOCKET=" + address_; }
  /// The next message; empty if there is none within `timeout`.
  [[nodiscard]] std::string next(std::chrono::nanoseconds timeout = kPatience) {
    char text[65536];
    if (!readable_within(socket_.get(), timeout)) return {};
    const ssize_t size = ::recv(socket_.get(), text, sizeof text, MSG_DONTWAIT);
    return size < 0 ? std::string() : std::string(text, static_cast<std::size_t>(size));
  }
  void forget_all() {
    while (!next(std::chrono::nanoseconds(0)).empty()) continue;
  }

 private:
  std::string address_;
  OwnedFd socket_;
};

DaemonOptions told_by(const Manager& manager, const std::vector<std::string>& more = {}) {
  DaemonOptions options;
  options.process.environment = {manager.variable()};
  for (const std::string& each : more) options.process.environment.push_back(each);
  return options;
}

TEST(NotifyTest, ReadyComesOnceEveryListenerAcceptsAndStoppingAsItEnds) {
  const TempDir folder;
  for (const std::string& address : {folder.file("notify"), "@" + folder.path()}) {
    Manager manager(address);
    Daemon daemon(echo_at("127.0.0.1:0"), told_by(manager));
    EXPECT_EQ(manager.next(), "READY=1\nSTATUS=Serves 1 route\n");
    OwnedFd client = connect_tcp(daemon.port());
    EXPECT_TRUE(echoes(client.get()));
    daemon.process().signal(SIGTERM);
    EXPECT_EQ(manager.next().find("STOPPING=1\nSTATUS="), 0U);
    EXPECT_TRUE(echoes(client.get()));
    client.reset();
    EXPECT_EQ(daemon.process().wait(), 0);
  }
}

TEST(NotifyTest, AFailedStartIsNeverReady) {
  const TempDir folder;
  Manager manager(folder.file("notify"));
  const Listener taken = listen_tcp();
  Arguments command = echo_at(loopback_address(taken.port));
  command.insert(command.begin(), daemon_binary());
  Process process(command, told_by(manager).process);
  EXPECT_EQ(process.wait(), 1);
  EXPECT_EQ(manager.next(std::chrono::nanoseconds(0)), "");
}

TEST(NotifyTest, AReloadBeginsAndEndsWhateverTheFileSays) {
  const TempDir folder;
  Manager manager(folder.file("notify"));
  const auto file = [&](const std::string& text) { return folder.write("sluice.toml", text); };
  const auto route = [](const std::string& name) {
    return "[[route]]\nname = \"" + name + "\"\nlisten = \"127.0.0.1:0\"\nto = \"echo:\"\n";
  };
  Daemon daemon({"--config", file(route("a"))}, told_by(manager));
  EXPECT_EQ(manager.next(), "READY=1\nSTATUS=Serves 1 route\n");
  const Regex reloading("RELOADING=1\nMONOTONIC_USEC=[0-9]+\n");
  file(route("a") + route("b"));
  daemon.process().signal(SIGHUP);
  EXPECT_TRUE(reloading.matches(manager.next()));
  EXPECT_EQ(manager.next(), "READY=1\nSTATUS=Serves 2 routes\n");
  file("bad");
  daemon.process().signal(SIGHUP);
  EXPECT_TRUE(reloading.matches(manager.next()));
  EXPECT_EQ(manager.next(), "READY=1\nSTATUS=Serves 2 routes\n");
  EXPECT_TRUE(echoes(connect_tcp(daemon.port()).get()));
}

TEST(NotifyTest, AfterATakeoverTheNewProcessIsTheService) {
  const TempDir folder;
  Manager manager(folder.file("notify"));
  const Arguments arguments =
      echo_at("unix:" + folder.file("listener"), {"--takeover-socket", folder.file("takeover")});
  const DaemonOptions options = told_by(manager, {"WATCHDOG_USEC=400000"});
  Daemon old(arguments, options);
  EXPECT_EQ(manager.next(), "READY=1\nSTATUS=Serves 1 route\n");
  Arguments taking_over = arguments;
  taking_over.push_back("--takeover");
  Daemon successor(taking_over, options);
  std::string message = manager.next();
  while (message == "WATCHDOG=1\n") message = manager.next();
  EXPECT_EQ(message, "MAINPID=" + std::to_string(successor.process().pid()) + "\n");
  EXPECT_EQ(manager.next(), "READY=1\nSTATUS=Serves 1 route\n");
  EXPECT_EQ(manager.next(), "WATCHDOG=1\n");
  EXPECT_EQ(old.process().wait(), 0);
}

TEST(NotifyTest, AnOldProcessThatEndsBeforeItHasLetGoLeavesTheServiceToTheNewOne) {
  const TempDir folder;
  Manager manager(folder.file("notify"));
  const Arguments arguments =
      echo_at("unix:" + folder.file("listener"), {"--takeover-socket", folder.file("takeover")});
  Daemon old(arguments, told_by(manager));
  EXPECT_EQ(manager.next(), "READY=1\nSTATUS=Serves 1 route\n");
  Arguments taking_over = arguments;
  taking_over.push_back("--takeover");
  Daemon successor(taking_over, told_by(manager));
  old.process().signal(SIGTERM);
  EXPECT_EQ(manager.next(), "MAINPID=" + std::to_string(successor.process().pid()) + "\n");
  EXPECT_EQ(manager.next(), "READY=1\nSTATUS=Serves 1 route\n");
  EXPECT_EQ(old.process().wait(), 0);
}

constexpr const char* kWatchdog = "WATCHDOG_USEC=400000";

TEST(WatchdogTest, IsResetAgainAndAgain) {
  const TempDir folder;
  Manager manager(folder.file("notify"));
  for (const Arguments& more : {Arguments(), Arguments{"--admin", "127.0.0.1:0"}}) {
    Daemon daemon(echo_at("127.0.0.1:0", more), told_by(manager, {kWatchdog}));
    EXPECT_EQ(manager.next().find("READY=1\n"), 0U);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(manager.next(), "WATCHDOG=1\n");
    daemon.process().signal(SIGKILL);
    static_cast<void>(daemon.process().wait());
    manager.forget_all();
  }
}

/// The thread of a process with this name; 0 if there is none.
pid_t thread_of(pid_t process, const std::string& name) {
  const std::string tasks = "/proc/" + std::to_string(process) + "/task";
  for (const auto& each : std::filesystem::directory_iterator(tasks)) {
    std::string found;
    std::getline(std::ifstream(each.path() / "comm"), found);
    if (found == name) return std::stoi(each.path().filename());
  }
  return 0;
}

/// Holds one thread of another process.
class Held {
 public:
  explicit Held(pid_t thread) : thread_(thread) {
    held_ = ::ptrace(PTRACE_SEIZE, thread, nullptr, nullptr) == 0 &&
            ::ptrace(PTRACE_INTERRUPT, thread, nullptr, nullptr) == 0 &&
            ::waitpid(thread, nullptr, __WALL) == thread;
  }
  ~Held() { release(); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

  [[nodiscard]] explicit operator bool() const { return held_; }
  void release() {
    if (std::exchange(held_, false)) ::ptrace(PTRACE_DETACH, thread_, nullptr, nullptr);
  }

 private:
  pid_t thread_;
  bool held_;
};

TEST(WatchdogTest, OneThreadThatHangsIsEnoughToStopIt) {
  const TempDir folder;
  for (const std::string name : {"worker-1", "admin"}) {
    Manager manager(folder.file("notify-" + name));
    Daemon daemon(echo_at("127.0.0.1:0", {"--workers", "2", "--admin", "127.0.0.1:0"}),
                  told_by(manager, {kWatchdog}));
    EXPECT_EQ(manager.next().find("READY=1\n"), 0U);
    EXPECT_EQ(manager.next(), "WATCHDOG=1\n");
    Held held(thread_of(daemon.process().pid(), name));
    if (!held) GTEST_SKIP() << "ptrace is not allowed here";
    const Regex owes("watchdog_unanswered part=" + name);
    ASSERT_TRUE(daemon.wait_for_log(owes)) << daemon.log();
    manager.forget_all();
    const std::size_t before = count_lines(daemon.log(), owes);
    ASSERT_TRUE(wait_until([&] { return count_lines(daemon.log(), owes) >= before + 3; }));
    EXPECT_EQ(manager.next(std::chrono::nanoseconds(0)), "");
    held.release();
    EXPECT_EQ(manager.next(), "WATCHDOG=1\n");
  }
}

// --- The journal ---

/// A log whose stderr the environment calls a stream of the journal.
class JournalTest : public testing::Test {
 protected:
  /// Starts the daemon with /run/systemd/journal bound to a folder of the test, if it has a
  /// journal there.
  void start(const Arguments& arguments) {
    DaemonOptions options;
    options.listeners = 0;
    options.process.standard_error = stream_.get();
    struct stat about {};
    ASSERT_EQ(::fstat(stream_.get(), &about), 0);
    options.process.environment = {"JOURNAL_STREAM=" + std::to_string(about.st_dev) + ":" +
                                   std::to_string(about.st_ino)};
    options.binary = find_program("unshare");
    const std::string script =
        "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && mount --bind " +
        folder_.path() + " /run/systemd/journal && exec \"$0\" \"$@\"";
    Arguments command{"-m", "sh", "-c", script, daemon_binary()};
    command.insert(command.end(), arguments.begin(), arguments.end());
    daemon_ = std::make_unique<Daemon>(command, options);
  }
  [[nodiscard]] static bool possible() {
    return ::geteuid() == 0 && !find_program("unshare").empty() &&
           Process({"unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/run"}).wait() == 0;
  }
  [[nodiscard]] std::string lines() const { return read_text(folder_.file("stderr")); }

  TempDir folder_;
  OwnedFd stream_{
      ::open(folder_.file("stderr").c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(JournalTest, EachLineIsAnEntryWithItsFields) {
  if (!possible()) GTEST_SKIP() << "no mount namespaces here";
  Manager journal(folder_.file("socket"));
  start(echo_at("127.0.0.1:0"));
  std::string entry = journal.next();
  while (entry.find("SLUICE_EVENT=listening\n") == std::string::npos) {
    ASSERT_NE(entry = journal.next(), "") << lines();
  }
  const auto found = Regex("SLUICE_ADDRESS=(127.0.0.1:[0-9]+)\n").first_in(entry);
  ASSERT_EQ(found.size(), 2U) << entry;
  EXPECT_EQ(entry, "PRIORITY=6\nMESSAGE=listening route=default address=" + found[1] +
                       "\nSYSLOG_IDENTIFIER=sluice\nSLUICE_EVENT=listening\nSLUICE_ROUTE=default\n"
                       "SLUICE_ADDRESS=" +
                       found[1] + "\n");
  EXPECT_EQ(lines(), "");
}

TEST_F(JournalTest, WithoutASocketTheLinesGoToStderrWithTheirPriority) {
  if (!possible()) GTEST_SKIP() << "no mount namespaces here";
  start(echo_at("127.0.0.1:0"));
  EXPECT_TRUE(wait_until([&] { return lines().find("<6>started workers=") != std::string::npos; }))
      << lines();
  EXPECT_EQ(lines().find("<6>listening "), 0U) << lines();
}

}  // namespace
}  // namespace sluice::test
