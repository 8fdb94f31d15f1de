#include "tools/replay/connection.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "iolib/reactor/asio_reactor.h"
#include "tests/support/capture_builder.h"
#include "tests/support/sockets.h"
#include "tests/support/temp_dir.h"

namespace sluice::replay {
namespace {

/// Replays one connection, and runs the reactor until it has ended.
class OneConnection final : public Connection::Owner {
 public:
  explicit OneConnection(std::vector<Endpoint> to) {
    test::write_segment(folder_.path(), {},
                        test::connection_records(1, test::bytes_of("hello"), {}));
    EXPECT_TRUE(make_plan({folder_.path()}, {}, {}, plan_));
    settings_.to = std::move(to);
    settings_.response_timeout = test::kPatience;
    files_.emplace(plan_.segments);
    stage_.emplace(Stage{*reactor_, plan_, *files_, settings_, tally_, address_});
    connection_.emplace(*stage_, schedule_, std::uint64_t{0}, *this);
  }
  void start() { connection_->start(); }
  void run() { reactor_->run(); }
  [[nodiscard]] const Tally& tally() const { return tally_; }
  [[nodiscard]] std::size_t address() const { return address_; }

 private:
  void client_ended(Connection& /*connection*/) override {}
  void ended(Connection& /*connection*/) override { reactor_->stop(); }

  test::TempDir folder_;
  Plan plan_;
  Settings settings_;
  Tally tally_;
  std::size_t address_ = 0;
  std::optional<SegmentFiles> files_;
  std::unique_ptr<AsioReactor> reactor_ = *AsioReactor::create();
  const Gaps gaps_;
  const Schedule schedule_{0, 0, Clock::now(), gaps_};
  std::optional<Stage> stage_;
  std::optional<Connection> connection_;
};

Endpoint endpoint_of(const test::Listener& listener) {
  return make_endpoint(*numeric_address({"127.0.0.1", listener.port}));
}

// A listener without room, which resets a connection before its client looks at it: with room
// again, the kernel answers the SYN that is sent next.
class Resetting {
 public:
  [[nodiscard]] Endpoint endpoint() const { return endpoint_of(listener_); }
  void accept_and_reset() const {
    static_cast<void>(test::accept_from(listener_.fd.get()));
    test::reset(test::accept_from(listener_.fd.get()));
  }

 private:
  test::Listener listener_ = test::listen_tcp(0);
  OwnedFd filler_ = test::connect_tcp(listener_.port);
};

TEST(ReplayedConnection, ThatIsResetAtOnceFailsWithTheAddress) {
  const Resetting resetting;
  OneConnection one({resetting.endpoint()});
  one.start();
  resetting.accept_and_reset();
  one.run();
  ASSERT_EQ(one.tally().failed, 1U);
  EXPECT_EQ(one.tally().failures.begin()->first,
            "connect " + resetting.endpoint().text + ": Connection reset by peer");
}

TEST(ReplayedConnection, ThatIsResetAtOnceGoesOnToTheNextAddress) {
  const Resetting resetting;
  const test::Listener listener = test::listen_tcp();
  OneConnection one({resetting.endpoint(), endpoint_of(listener)});
  one.start();
  resetting.accept_and_reset();
  std::string received;
  std::jthread server([&] {
    const OwnedFd fd = test::accept_from(listener.fd.get());
    received = test::receive_text(fd.get(), 100);
  });
  one.run();
  server.join();
  EXPECT_EQ(received, "hello");
  EXPECT_EQ(one.tally().completed, 1U);
  EXPECT_EQ(one.address(), 1U) << "where the next connection begins";
}

}  // namespace
}  // namespace sluice::replay
