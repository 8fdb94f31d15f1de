#include "proxy/system/notify.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string>

#include "iolib/base/endpoint.h"
#include "proxy/system/activation.h"
#include "tests/support/regex.h"
#include "tests/support/sockets.h"
#include "tests/support/temp_dir.h"

namespace sluice {
namespace {

/// What systemd would receive at `address`.
class Manager {
 public:
  explicit Manager(const std::string& address) : socket_(::socket(AF_UNIX, SOCK_DGRAM, 0)) {
    const Endpoint endpoint = make_endpoint(UnixEndpoint{address});
    EXPECT_EQ(::bind(socket_.get(), endpoint.data(), endpoint.size_bytes), 0);
  }
  /// The next message; empty if there is none.
  std::string next() {
    char text[4096];
    const ssize_t size = ::recv(socket_.get(), text, sizeof text, MSG_DONTWAIT);
    return size < 0 ? std::string() : std::string(text, static_cast<std::size_t>(size));
  }

 private:
  OwnedFd socket_;
};

void expect_all_messages(const std::string& address) {
  Manager manager(address);
  Notify notify(address);
  EXPECT_TRUE(notify.asked());
  notify.ready("Serves 2 routes");
  EXPECT_EQ(manager.next(), "READY=1\nSTATUS=Serves 2 routes\n");
  notify.reloading();
  EXPECT_TRUE(test::Regex("RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*\n").matches(manager.next()));
  notify.status("two\nlines");
  EXPECT_EQ(manager.next(), "STATUS=two\\x0alines\n");
  notify.alive();
  EXPECT_EQ(manager.next(), "WATCHDOG=1\n");
  notify.stopping("Ends");
  EXPECT_EQ(manager.next(), "STOPPING=1\nSTATUS=Ends\n");
  notify.hand_over(4711);
  EXPECT_EQ(manager.next(), "MAINPID=4711\n");
  EXPECT_FALSE(notify.asked());
  notify.alive();
  EXPECT_EQ(manager.next(), "") << "it is no longer the service";
}

TEST(NotifyTest, MessagesArriveAtAPath) {
  const test::TempDir folder;
  expect_all_messages(folder.file("notify"));
}

TEST(NotifyTest, MessagesArriveAtAnAbstractName) {
  const test::TempDir folder;
  expect_all_messages("@" + folder.path());
}

TEST(NotifyTest, NothingHappensWithoutSomebodyWhoAsks) {
  for (const std::string& socket : {std::string(), std::string("vsock:2:1"),
                                    std::string("relative"), "/" + std::string(200, 'a')}) {
    Notify notify(socket);
    EXPECT_FALSE(notify.asked()) << socket;
    notify.ready("");
  }
  Notify gone("/nonexistent/notify");
  gone.ready("");
}

TEST(NotifyTest, AManagerThatComesBackIsToldAgain) {
  const test::TempDir folder;
  const std::string path = folder.file("notify");
  { const Manager first(path); }
  Notify notify(path);
  notify.alive();
  ASSERT_EQ(::unlink(path.c_str()), 0);
  Manager second(path);
  notify.alive();
  EXPECT_EQ(second.next(), "WATCHDOG=1\n");
}

/// Sets variables of the environment for a test.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    ::setenv(name, value.c_str(), 1);
  }
  ~Variable() { ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

TEST(WatchdogTimeTest, HoldsForThisProcessOnly) {
  using std::chrono::seconds;
  const Variable time("WATCHDOG_USEC", "3000000");
  EXPECT_EQ(take_watchdog_time(), Duration(seconds(3)));
  const Variable own("WATCHDOG_PID", std::to_string(::getpid()));
  EXPECT_EQ(take_watchdog_time(), Duration(seconds(3)));
  EXPECT_EQ(std::getenv("WATCHDOG_PID"), nullptr);
  const Variable other("WATCHDOG_PID", std::to_string(::getppid()));
  EXPECT_EQ(take_watchdog_time(), Duration::zero());
}

TEST(WatchdogTimeTest, WhatIsNoTimeMeansNoWatchdog) {
  EXPECT_EQ(take_watchdog_time(), Duration::zero());
  for (const char* text : {"", "0", "-1", "1s", "99999999999999999999", "18446744073709551615"}) {
    const Variable time("WATCHDOG_USEC", text);
    EXPECT_EQ(take_watchdog_time(), Duration::zero()) << text;
  }
}

TEST(ActivationTest, SocketsForAnotherProcessAreNotTaken) {
  const Variable pid("LISTEN_PID", std::to_string(::getppid()));
  const Variable count("LISTEN_FDS", "1");
  const Variable names("LISTEN_FDNAMES", "a");
  EXPECT_TRUE(take_activation_sockets().empty());
  for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) {
    EXPECT_EQ(std::getenv(name), nullptr) << name;
  }
}

}  // namespace
}  // namespace sluice
