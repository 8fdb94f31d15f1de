#include "proxy/takeover/predecessor.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "proxy/takeover/link.h"
#include "proxy/takeover/wire.h"
#include "tests/support/settings.h"
#include "tests/support/sockets.h"
#include "tests/support/temp_dir.h"

namespace sluice::takeover {
namespace {

using namespace std::chrono_literals;

/// Hooks of a daemon that always agrees.
Predecessor::Hooks agreeing(std::string report) {
  return {
      .refusal = [] { return std::string(); },
      .hand_over = []() -> Result<Handover> {
        Handover handover;
        handover.pid = ::getpid();
        return handover;
      },
      .hold = [](pid_t) -> Result<json::object> { return json::object{}; },
      .refused = [](pid_t, const std::string&) {},
      .release = [](pid_t, const std::string&) {},
      .confirmed = [](pid_t) {},
      .let_go = [](pid_t) { return json::object{}; },
      .ended = [](const std::vector<std::string>&) {},
      .report =
          [report = std::move(report)] {
            return json::object{{"text", report}};
          },
  };
}

/// The other end, which does all by hand.
class Peer {
 public:
  explicit Peer(const std::string& path) : link_(test::connect_unix(path), wait_in_any_case) {}
  void send(MessageType type, json::object body = {}) {
    ASSERT_TRUE(link_.send({type, std::move(body)}, Clock::now() + test::kPatience).has_value());
  }
  Message receive() {
    Result<Link::Received> received = link_.receive(kLongestState, Clock::now() + test::kPatience);
    if (received.has_value()) return std::move(received->message);
    ADD_FAILURE() << received.error().to_string();
    return {};
  }
  void ready() {
    send(MessageType::hello, {{"version", kWireVersion}, {"pid", std::int64_t{::getpid()}}});
    while (receive().type == MessageType::descriptors) continue;
    send(MessageType::ready);
  }
  void take_over() {
    ready();
    ASSERT_EQ(receive().type, MessageType::go);
    send(MessageType::done);
    ASSERT_EQ(receive().type, MessageType::released);
  }

 private:
  Link link_;
};

/// Who must not let go: tells why the takeover has failed.
struct Keeper {
  explicit Keeper(Predecessor::Hooks hooks) : predecessor(with_release(std::move(hooks))) {
    EXPECT_TRUE(predecessor.start(test::listen_unix(path)).has_value());
  }
  Predecessor::Hooks with_release(Predecessor::Hooks hooks) {
    hooks.let_go = [](pid_t) {
      ADD_FAILURE() << "nobody serves";
      return json::object{};
    };
    hooks.release = [this](pid_t, const std::string& reason) { released.set_value(reason); };
    return hooks;
  }
  test::TempDir folder;
  const std::string path = folder.file("takeover.sock");
  std::promise<std::string> released;
  Predecessor predecessor;
};

TEST(TakeoverPredecessor, GoesOnIfTheSuccessorHasGivenUpWhileItStoodStill) {
  std::promise<void> goes_on;
  Predecessor::Hooks hooks = agreeing("");
  hooks.hold = [&](pid_t) -> Result<json::object> {
    goes_on.get_future().wait();
    return json::object{};
  };
  hooks.confirmed = [](pid_t) { ADD_FAILURE() << "it is told that it has succeeded"; };
  Keeper keeper(std::move(hooks));
  Peer peer(keeper.path);
  peer.ready();
  peer.send(MessageType::done);
  peer.send(MessageType::failed, {{"reason", "it ends"}});
  goes_on.set_value();
  EXPECT_EQ(keeper.released.get_future().get(), "it ends");
}

TEST(TakeoverPredecessor, GoesOnIfTheSuccessorDiesBeforeItLetsGo) {
  std::promise<void> confirmed, killed;
  Predecessor::Hooks hooks = agreeing("");
  hooks.confirmed = [&](pid_t) {
    confirmed.set_value();
    killed.get_future().wait();
  };
  Keeper keeper(std::move(hooks));
  std::optional<Peer> peer(keeper.path);
  peer->ready();
  EXPECT_EQ(peer->receive().type, MessageType::go);
  peer->send(MessageType::done);
  confirmed.get_future().wait();
  peer.reset();
  killed.set_value();
  EXPECT_EQ(keeper.released.get_future().get(), "the successor has ended, or closed the link");
}

TEST(TakeoverPredecessor, AReportThatNobodyReadsForAWhileArrivesWhole) {
  const test::TempDir folder;
  const std::string path = folder.file("takeover.sock");
  // No socket takes it at once.
  const std::string text(4 << 20, 'x');
  Predecessor predecessor(agreeing(text));
  ASSERT_TRUE(predecessor.start(test::listen_unix(path)).has_value());
  Peer peer(path);
  ASSERT_NO_FATAL_FAILURE(peer.take_over());
  // As long as another takeover goes on.
  std::this_thread::sleep_for(4s);
  for (int i = 0; i < 2; ++i) {
    const Message report = peer.receive();
    ASSERT_EQ(report.type, MessageType::report);
    EXPECT_EQ(text_of(report.body, "text").size(), text.size());
  }
  predecessor.end({{"text", "last"}});
}

}  // namespace
}  // namespace sluice::takeover
