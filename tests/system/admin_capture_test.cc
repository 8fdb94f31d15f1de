// A capture that is switched off and on at the admin API while clients come and go.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "iolib/base/endpoint.h"
#include "tests/support/temp_dir.h"
#include "tests/system/forwarding.h"
#include "tests/system/http.h"
#include "tests/system/outcome.h"
#include "tests/system/recorded.h"

namespace sluice::test {
namespace {

class AdminCaptureTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "uring" && !io_uring_available()) {
      GTEST_SKIP() << "the kernel refuses io_uring here";
    }
  }
  [[nodiscard]] std::string switch_it(AdminDaemon& admin, bool on) const {
    return admin
        .ask_unix(change_request("POST", "/v1/routes/default/capture",
                                 on ? R"({"enabled":true})" : R"({"enabled":false})"))
        .body;
  }
  /// A connection that the daemon serves by now.
  [[nodiscard]] static OwnedFd served(AdminDaemon& admin) {
    OwnedFd client = connect_tcp(admin.daemon().port());
    EXPECT_TRUE(echoes(client.get()));
    return client;
  }
  [[nodiscard]] static std::string name_of(const OwnedFd& client) {
    return local_name(client.get()).to_string();
  }

  TempDir folder_;
  const std::string directory_ = folder_.file("capture");
};

TEST_P(AdminCaptureTest, OnlyConnectionsThatBeginWhileItIsOnAreRecorded) {
  constexpr int kRounds = 10;
  AdminDaemon admin({"--engine", GetParam(), "--capture", directory_});
  std::atomic<bool> over = false;
  std::array<std::thread, 4> load;
  for (std::thread& thread : load) {
    thread = std::thread([&] {
      while (!over) static_cast<void>(served(admin));
    });
  }
  // They stay open, so that no other client gets their addresses.
  std::vector<OwnedFd> recorded;
  std::vector<OwnedFd> others;
  const OwnedFd first = served(admin);
  for (int round = 0; round < kRounds; ++round) {
    EXPECT_EQ(switch_it(admin, false), "{\"capture_enabled\":false}\n");
    others.push_back(served(admin));
    EXPECT_TRUE(echoes(first.get()));
    EXPECT_EQ(switch_it(admin, true), "{\"capture_enabled\":true}\n");
    recorded.push_back(served(admin));
    EXPECT_TRUE(echoes(others.front().get()));
  }
  over = true;
  for (std::thread& thread : load) thread.join();
  std::vector<std::string> recorded_names{name_of(first)};
  for (const OwnedFd& each : recorded) recorded_names.push_back(name_of(each));
  std::vector<std::string> other_names;
  for (const OwnedFd& each : others) other_names.push_back(name_of(each));
  finish_sending(first.get());
  EXPECT_EQ(receive_text(first.get(), 1), "");
  recorded.clear();
  others.clear();
  EXPECT_EQ(admin.daemon().terminate(kLate), 0);

  EXPECT_EQ(verify_status(directory_), 0);
  const Recorded capture = read_capture(directory_);
  EXPECT_EQ(capture.status(), 0) << capture.findings;
  for (const std::string& name : recorded_names) EXPECT_NE(capture.from(name), nullptr) << name;
  for (const std::string& name : other_names) EXPECT_EQ(capture.from(name), nullptr) << name;
  const RecordedConnection* longest = capture.from(recorded_names.front());
  ASSERT_NE(longest, nullptr);
  EXPECT_TRUE(longest->close);
  EXPECT_EQ(longest->client().recorded, 1U + kRounds) << "whatever was switched meanwhile";
}

TEST_P(AdminCaptureTest, ItCanBeginSwitchedOff) {
  const std::string admin = folder_.file("admin.sock");
  const std::string file = folder_.write(
      "sluice.toml", "[defaults]\nengine = \"" + GetParam() + "\"\nadmin = \"unix:" + admin +
                         "\"\n[[route]]\nname = \"a.b\"\nlisten = \"127.0.0.1:0\"\n"
                         "to = \"echo:\"\ncapture = \"" +
                         directory_ + "\"\ncapture-enabled = false\n");
  Daemon daemon({"--config", file});
  const OwnedFd before = connect_tcp(daemon.port());
  EXPECT_TRUE(echoes(before.get()));
  EXPECT_EQ(exchange(connect_unix(admin).get(),
                     change_request("POST", "/v1/routes/a%2Eb/capture", R"({"enabled":true})"))
                .status,
            200);
  const OwnedFd after = connect_tcp(daemon.port());
  EXPECT_TRUE(echoes(after.get()));
  const std::string name = name_of(after);
  for (const int client : {before.get(), after.get()}) {
    finish_sending(client);
    EXPECT_EQ(receive_text(client, 1), "");
  }
  EXPECT_EQ(daemon.terminate(kLate), 0);
  EXPECT_EQ(verify_status(directory_), 0);
  EXPECT_EQ(read_capture(directory_).only().open.client, name);
  EXPECT_NE(daemon.log().find("operator change=capture route=a.b from=off to=on"),
            std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, AdminCaptureTest, testing::Values("uring", "epoll"),
                         [](const auto& engine) { return engine.param; });

}  // namespace
}  // namespace sluice::test
