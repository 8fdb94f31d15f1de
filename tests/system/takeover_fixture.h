#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proxy/takeover/link.h"
#include "proxy/takeover/wire.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/outcome.h"

namespace sluice::test {

/// A successor that goes as far as a test wants, and then closes everything that it has, as one
/// does that is killed.
class Stub {
 public:
  explicit Stub(const std::string& path) : link_(connect_unix(path), takeover::wait_in_any_case) {}

  void send(takeover::MessageType type, json::object body = {}) {
    const Result<> sent = link_.send({type, std::move(body)}, Clock::now() + kLate);
    EXPECT_TRUE(sent.has_value()) << sent.error().to_string();
  }
  void hello() {
    send(takeover::MessageType::hello,
         {{"version", takeover::kWireVersion}, {"pid", std::int64_t{::getpid()}}});
  }
  /// The next message; what comes with it is kept.
  takeover::Message receive() {
    Result<takeover::Link::Received> received =
        link_.receive(takeover::kLongestState, Clock::now() + kLate);
    if (received.has_error()) {
      ADD_FAILURE() << received.error().to_string();
      return {};
    }
    for (OwnedFd& each : received->descriptors) descriptors_.push_back(std::move(each));
    return std::move(received->message);
  }
  /// Receives the whole state.
  void receive_state() {
    while (receive().type == takeover::MessageType::descriptors) continue;
  }
  /// What has come, which stays open.
  [[nodiscard]] std::vector<OwnedFd> take_descriptors() { return std::move(descriptors_); }

  /// Goes on to this step.
  void go_to(takeover::MessageType step) {
    hello();
    if (step == takeover::MessageType::hello) return;
    receive_state();
    if (step == takeover::MessageType::state) return;
    send(takeover::MessageType::ready);
    if (step == takeover::MessageType::ready) return;
    EXPECT_EQ(receive().type, takeover::MessageType::go);
  }

 private:
  takeover::Link link_;
  std::vector<OwnedFd> descriptors_;
};

[[nodiscard]] inline DaemonOptions two_listeners() {
  DaemonOptions options;
  options.listeners = 2;
  return options;
}

/// A daemon with a TCP and a unix listener, from which others may take over. The parameter is the
/// engine.
class TakeoverFixture : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "uring" && !io_uring_available()) {
      GTEST_SKIP() << "the kernel refuses io_uring here";
    }
    daemon_ = std::make_unique<Daemon>(arguments(), two_listeners());
  }
  void TearDown() override {
    if (daemon_ == nullptr) return;
    EXPECT_EQ(daemon_->terminate(), 0) << daemon_->log();
  }
  [[nodiscard]] std::string socket() const { return folder_.file("takeover.sock"); }
  [[nodiscard]] std::vector<std::string> arguments(
      const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all = {"--listen",
                                    loopback_address(port_),
                                    "--listen",
                                    "unix:" + folder_.file("echo.sock"),
                                    "--to",
                                    "echo:",
                                    "--engine",
                                    GetParam(),
                                    "--workers",
                                    "2",
                                    "--takeover-socket",
                                    socket()};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  [[nodiscard]] std::vector<std::string> successor(
      const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all = arguments(more);
    all.insert(all.begin(), daemon_binary());
    all.emplace_back("--takeover");
    return all;
  }
  /// Both listeners serve a new client.
  void expect_service() const {
    EXPECT_TRUE(echoes(connect_tcp(port_).get()));
    EXPECT_TRUE(echoes(connect_unix(folder_.file("echo.sock")).get()));
  }

  TempDir folder_;
  std::uint16_t port_ = free_port();
  std::unique_ptr<Daemon> daemon_;
};

}  // namespace sluice::test
