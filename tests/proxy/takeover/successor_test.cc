#include "proxy/takeover/successor.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <string>
#include <thread>

#include "proxy/takeover/wire.h"
#include "tests/support/settings.h"
#include "tests/support/sockets.h"
#include "tests/support/temp_dir.h"

namespace sluice::takeover {
namespace {

using namespace std::chrono_literals;

/// Another user than root, until it ends.
class AsUser {
 public:
  explicit AsUser(uid_t user) { EXPECT_EQ(::seteuid(user), 0); }
  ~AsUser() { EXPECT_EQ(::seteuid(0), 0); }
  AsUser(const AsUser&) = delete;
  AsUser& operator=(const AsUser&) = delete;
};

TEST(TakeoverSuccessor, TakesNothingFromAnotherUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  constexpr uid_t kUser = 65534, kOther = 65533;
  const test::TempDir folder;
  ASSERT_EQ(::chmod(folder.path().c_str(), 0777), 0);
  const std::string path = folder.file("takeover.sock");
  OwnedFd listener;
  {
    const AsUser other(kOther);
    listener = test::listen_unix(path);
    ASSERT_EQ(::chmod(path.c_str(), 0777), 0);
  }
  Successor successor;
  const AsUser user(kUser);
  const Result<Handover> asked = successor.ask(path);
  ASSERT_TRUE(asked.has_error());
  EXPECT_EQ(asked.error().to_string(),
            "takeover: user 65533 listens there, who is neither root nor this user");
  EXPECT_FALSE(successor.pending());
}

TEST(TakeoverSuccessor, WaitsForAProcessThatIsStoppedBeforeItLetsGo) {
  const test::TempDir folder;
  const std::string path = folder.file("takeover.sock");
  const OwnedFd listener = test::listen_unix(path);
  Link other;
  std::thread old([&] {
    other = Link(test::accept_from(listener.get()), wait_in_any_case);
    const TimePoint deadline = Clock::now() + test::kPatience;
    EXPECT_TRUE(other.receive(kLongestAnswer, deadline).has_value());
    EXPECT_TRUE(other.send({MessageType::state, to_message({}).body}, deadline).has_value());
    const Result<Link::Received> ready = other.receive(kLongestAnswer, deadline);
    EXPECT_TRUE(ready.has_value() && ready->message.type == MessageType::ready);
    EXPECT_TRUE(other.send({MessageType::go}, deadline).has_value());
  });
  Successor successor({.life = 0ms, .silence = 1ms});
  EXPECT_TRUE(successor.ask(path).has_value());
  EXPECT_TRUE(successor.await_go({}).has_value());
  old.join();
  std::promise<std::string> outcome;
  successor.settle({.answers = [] { return true; },
                    .settled = [&](const json::object& released,
                                   const Link&) { outcome.set_value(text_of(released, "text")); },
                    .lost = [&](const Error& why) { outcome.set_value(why.to_string()); }});
  const Result<Link::Received> done = other.receive(kLongestAnswer, Clock::now() + test::kPatience);
  ASSERT_TRUE(done.has_value());
  EXPECT_EQ(done->message.type, MessageType::done);
  std::future<std::string> said = outcome.get_future();
  EXPECT_EQ(said.wait_for(200ms), std::future_status::timeout);
  EXPECT_TRUE(
      other.send({MessageType::released, {{"text", "go on"}}}, Clock::now() + test::kPatience)
          .has_value());
  EXPECT_EQ(said.get(), "go on");
}

}  // namespace
}  // namespace sluice::takeover
