#include "proxy/takeover/predecessor.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

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
  void take_over() {
    send(MessageType::hello, {{"version", kWireVersion}, {"pid", std::int64_t{::getpid()}}});
    while (receive().type == MessageType::descriptors) continue;
    send(MessageType::ready);
    ASSERT_EQ(receive().type, MessageType::go);
    send(MessageType::done);
    ASSERT_EQ(receive().type, MessageType::released);
  }

 private:
  Link link_;
};

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
