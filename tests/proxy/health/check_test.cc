#include "proxy/health/check.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <thread>

#include "iolib/base/readiness.h"
#include "iolib/reactor/asio_reactor.h"
#include "proxy/upstream/server_set.h"
#include "tests/support/sockets.h"
#include "tests/support/temp_dir.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;

/// Checks real servers.
class CheckTest : public testing::Test {
 protected:
  CheckOutcome run(const TargetAddress& address, Duration timeout = 10s) {
    route_.to = {{address}};
    const auto set = make_server_set(route_);
    auto reactor = AsioReactor::create();
    CheckOutcome outcome;
    Task<> task = once(**reactor, *set->servers[0], timeout, outcome);
    (*reactor)->post([&] { task.start(); });
    (*reactor)->run();
    return outcome;
  }
  /// Serves one connection with `answer`, on a thread of its own, while the check runs.
  CheckOutcome run_against(const std::function<void(int)>& answer, Duration timeout = 10s) {
    test::Listener listener = test::listen_tcp();
    std::thread server([&] {
      const OwnedFd client = test::accept_from(listener.fd.get());
      answer(client.get());
    });
    const CheckOutcome outcome = run(HostPort{"127.0.0.1", listener.port}, timeout);
    server.join();
    return outcome;
  }
  void expect(std::string send, std::string expected) {
    route_.health = Health::exchange;
    route_.health_send = std::move(send);
    route_.health_expect = std::move(expected);
  }

  std::function<void()> before_ = [] {};  ///< called before the check
  RouteConfig route_ = [] {
    RouteConfig config;
    config.health = Health::tcp;
    return config;
  }();

 private:
  Task<> once(Reactor& reactor, const Server& server, Duration timeout, CheckOutcome& outcome) {
    before_();
    outcome = co_await check(reactor, server, route_, reactor.now() + timeout);
    reactor.stop();
  }
};

TEST_F(CheckTest, AHalfOpenCheckIsNeverAccepted) {
  const test::Listener listener = test::listen_tcp();
  for (int i = 0; i < 100; ++i) {
    const CheckOutcome outcome = run(HostPort{"127.0.0.1", listener.port});
    ASSERT_EQ(outcome.result, CheckResult::passed) << outcome.reason;
  }
  EXPECT_EQ(ready_events(listener.fd.get(), POLLIN), 0);
  // A connection after it is accepted, so the server's queue was looked at.
  const OwnedFd client = test::connect_tcp(listener.port);
  EXPECT_NE(ready_events(listener.fd.get(), POLLIN), 0);
}

TEST_F(CheckTest, AServerThatRefusesFails) {
  const test::Listener bound = test::bind_tcp();
  const CheckOutcome outcome = run(HostPort{"127.0.0.1", bound.port});
  EXPECT_EQ(outcome.result, CheckResult::failed);
  EXPECT_EQ(outcome.reason,
            "connect 127.0.0.1:" + std::to_string(bound.port) + ": Connection refused");
}

TEST_F(CheckTest, OneThatDropsTheHandshakeIsUnanswered) {
  const test::Listener full = test::listen_tcp(0);
  const OwnedFd first = test::connect_tcp(full.port);
  const CheckOutcome outcome = run(HostPort{"127.0.0.1", full.port}, 200ms);
  EXPECT_EQ(outcome.result, CheckResult::unanswered) << outcome.reason;
}

TEST_F(CheckTest, ALackOfDescriptorsSaysNothingAboutTheServer) {
  const test::Listener listener = test::listen_tcp();
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  before_ = [&] {
    const rlimit none{0, limit.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  };
  const CheckOutcome outcome = run(HostPort{"127.0.0.1", listener.port});
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(outcome.result, CheckResult::undecided) << outcome.reason;
}

TEST_F(CheckTest, AUnixServerSeesAConnectionThatEnds) {
  const test::TempDir folder;
  const UnixEndpoint address{folder.file("s")};
  EXPECT_EQ(run(address).result, CheckResult::failed);
  const OwnedFd listener = test::listen_unix(address.path);
  EXPECT_EQ(run(address).result, CheckResult::passed);
  const OwnedFd seen = test::accept_from(listener.get());
  EXPECT_EQ(test::receive_text(seen.get(), 1), "");
}

TEST_F(CheckTest, TheAnswerMayComeInPieces) {
  expect("PING\r\n", "+PONG");
  std::string request;
  bool ended_in_order = false;
  const CheckOutcome outcome = run_against([&](int client) {
    request = test::receive_text(client, 6);
    for (const char* piece : {"junk +P", "ON", "G\r\nmore"}) {
      static_cast<void>(test::send_all(client, std::string_view(piece)));
      std::this_thread::sleep_for(5ms);
    }
    char byte = 0;
    ended_in_order = ::recv(client, &byte, 1, 0) == 0;
  });
  EXPECT_EQ(outcome.result, CheckResult::passed) << outcome.reason;
  EXPECT_EQ(request, "PING\r\n");
  EXPECT_TRUE(ended_in_order);
}

TEST_F(CheckTest, AServerThatSpeaksFirstNeedsNoRequest) {
  expect("", "SSH-2.0");
  EXPECT_EQ(run_against([](int client) {
              static_cast<void>(test::send_all(client, std::string_view("SSH-2.0-x\r\n")));
              static_cast<void>(test::receive_text(client, 1));
            }).result,
            CheckResult::passed);
}

TEST_F(CheckTest, AWrongAnswerFailsAndIsShown) {
  expect("PING\r\n", "+PONG");
  CheckOutcome outcome = run_against([](int client) {
    static_cast<void>(test::receive_text(client, 6));
    static_cast<void>(test::send_all(client, std::string_view("-LOADING\r\n")));
    test::finish_sending(client);
    static_cast<void>(test::receive_text(client, 1));
  });
  EXPECT_EQ(outcome.result, CheckResult::failed);
  EXPECT_EQ(outcome.reason, "the stream ended after \"-LOADING\\x0d\\x0a\"");
  outcome = run_against([](int client) { static_cast<void>(test::receive_text(client, 6)); });
  EXPECT_EQ(outcome.result, CheckResult::failed);
  EXPECT_EQ(outcome.reason, "the stream ended without an answer");
}

TEST_F(CheckTest, OnlyTheFirst16KiBAreLookedAt) {
  expect("", "needle");
  const CheckOutcome outcome = run_against([](int client) {
    static_cast<void>(
        test::send_all(client, std::string_view(std::string(64 << 10, 'x') + "needle")));
    static_cast<void>(test::receive_text(client, 1));
  });
  EXPECT_EQ(outcome.result, CheckResult::failed);
  EXPECT_TRUE(outcome.reason.starts_with("16KiB without the expected bytes after \"xxx"));
  EXPECT_LT(outcome.reason.size(), 120U);
}

TEST_F(CheckTest, SilenceIsUnanswered) {
  expect("PING\r\n", "+PONG");
  const CheckOutcome outcome =
      run_against([](int client) { static_cast<void>(test::receive_text(client, 7)); }, 50ms);
  EXPECT_EQ(outcome.result, CheckResult::unanswered);
  EXPECT_EQ(outcome.reason, "no answer in time");
}

}  // namespace
}  // namespace sluice
