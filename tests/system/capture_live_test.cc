// The tool reads the capture of a running daemon.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "iolib/json/json.h"
#include "tests/support/pattern.h"
#include "tests/support/regex.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/outcome.h"
#include "tests/system/recorded.h"

namespace sluice::test {
namespace {

class CaptureLiveTest : public testing::TestWithParam<Mode> {
 protected:
  void SetUp() override {
    if (GetParam().engine == "uring" && !io_uring_available()) {
      GTEST_SKIP() << "the kernel refuses io_uring here";
    }
    upstream_ = listen_tcp();
    daemon_ = std::make_unique<Daemon>(
        route_arguments(GetParam(), loopback_address(upstream_.port), {"--capture", directory_}));
  }
  [[nodiscard]] std::string listed() const {
    Process tool({capture_tool(), "ls", directory_});
    EXPECT_EQ(tool.wait(), 0) << tool.standard_error();
    return tool.standard_output();
  }

  TempDir folder_;
  std::string directory_ = folder_.file("capture");
  Listener upstream_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_P(CaptureLiveTest, FollowShowsWhatBecomesDurable) {
  Process follow({capture_tool(), "follow", directory_});
  const Forwarded pair = forward(daemon_->port(), upstream_.fd.get());
  ASSERT_TRUE(send_all(pair.client.get(), "a question"));
  EXPECT_TRUE(follow.wait_for_output_line(Regex("client data 0[+]10")));
  EXPECT_TRUE(follow.wait_for_output_line(Regex("^    a question$")));
  ASSERT_TRUE(send_all(pair.upstream.get(), "an answer"));
  EXPECT_TRUE(follow.wait_for_output_line(Regex("upstream data 0[+]9")));
  ASSERT_TRUE(send_all(pair.client.get(), "more"));
  EXPECT_TRUE(follow.wait_for_output_line(Regex("client data 10[+]4")));
  finish_sending(pair.client.get());
  finish_sending(pair.upstream.get());
  EXPECT_TRUE(follow.wait_for_output_line(Regex("close closed")));
  EXPECT_EQ(daemon_->terminate(), 0) << daemon_->log();
  follow.signal(SIGINT);
  EXPECT_EQ(follow.wait(), 0) << follow.standard_error();
}

TEST_P(CaptureLiveTest, AConnectionIsOpenUntilTheDaemonIsKilled) {
  const Forwarded pair = forward(daemon_->port(), upstream_.fd.get());
  ASSERT_TRUE(send_all(pair.client.get(), "x"));
  EXPECT_TRUE(wait_until([&] { return listed().find(" open ") != std::string::npos; }));
  daemon_->process().signal(SIGKILL);
  EXPECT_EQ(daemon_->process().wait(), -SIGKILL);
  EXPECT_NE(listed().find(" cut "), std::string::npos) << listed();
}

// --- Under load ---

using Load = std::tuple<Mode, bool>;  // mode, and whether retention deletes segments meanwhile

/// Clients that send patterns without end to a durable sink.
class CaptureLoadTest : public testing::TestWithParam<Load> {
 protected:
  static constexpr std::size_t kClients = 4;

  void SetUp() override {
    const auto& [mode, retains] = GetParam();
    if (mode.engine == "uring" && !io_uring_available()) {
      GTEST_SKIP() << "the kernel refuses io_uring here";
    }
    std::vector<std::string> options = {"--capture", directory_, "--segment-size", "8MiB"};
    if (retains) options.insert(options.end(), {"--retain-size", "24MiB", "--workers", "1"});
    daemon_ = std::make_unique<Daemon>(route_arguments(mode, "discard:", options));
    for (std::size_t i = 0; i < kClients; ++i) {
      sockets_.push_back(connect_tcp(daemon_->port()));
      clients_[loopback_address(local_port(sockets_.back().get()))] = i;
    }
    for (std::size_t i = 0; i < kClients; ++i) senders_.emplace_back([this, i] { send(i); });
  }
  void TearDown() override {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    allowed_.notify_all();
    for (std::thread& sender : senders_) sender.join();
  }
  /// Lets each client send more, so that the capture grows during the next step.
  void allow_more() {
    constexpr std::uint64_t kBytes = 4 << 20;
    {
      const std::lock_guard lock(mutex_);
      allowance_ += kBytes;
    }
    allowed_.notify_all();
  }
  void check_extracted(const std::string& out) const;

  TempDir folder_;
  std::string directory_ = folder_.file("capture");
  std::unique_ptr<Daemon> daemon_;

 private:
  void send(std::size_t client) {
    std::vector<std::byte> piece(64 << 10);
    for (std::uint64_t sent = 0; !stopped_; sent += piece.size()) {
      std::unique_lock lock(mutex_);
      allowed_.wait(lock, [&] { return stopped_ || sent < allowance_; });
      lock.unlock();
      Pattern(client).fill(sent, piece);
      if (!send_all(sockets_[client].get(),
                    {reinterpret_cast<const char*>(piece.data()), piece.size()}))
        return;
    }
  }

  std::vector<OwnedFd> sockets_;
  std::map<std::string, std::size_t> clients_;  // by address
  std::vector<std::thread> senders_;
  std::atomic<bool> stopped_ = false;
  std::mutex mutex_;
  std::condition_variable allowed_;
  std::uint64_t allowance_ = 0;  // bytes that each client may send
};

/// Every file has the bytes that its client sent from the index's offset on, except the gaps listed
/// there. There are gaps only where retention deletes.
void CaptureLoadTest::check_extracted(const std::string& out) const {
  const auto index = json::parse(read_text(out + "/index.json"));
  for (const json::value& connection : index.at("connections").as_array()) {
    const std::string client(connection.at("client").as_string());
    ASSERT_TRUE(clients_.contains(client)) << client;
    const json::value& side = connection.at("sides").at("client");
    if (side.at("bytes").to_number<std::uint64_t>() == 0) continue;
    const std::string got =
        read_text(out + '/' + std::string(connection.at("client_file").as_string()));
    const json::array& gaps = side.at("gaps").as_array();
    EXPECT_TRUE(std::get<1>(GetParam()) || gaps.empty()) << json::serialize(gaps);
    std::uint64_t offset = side.at("start").to_number<std::uint64_t>();
    if (!std::get<1>(GetParam())) {
      EXPECT_EQ(offset, 0U);
    }
    std::span<const std::byte> rest = std::as_bytes(std::span(got));
    const auto check = [&](std::size_t bytes) {
      const auto wrong = Pattern(clients_.at(client)).first_mismatch(offset, rest.first(bytes));
      EXPECT_FALSE(wrong) << client << " at " << *wrong;
      rest = rest.subspan(bytes);
      offset += bytes;
    };
    for (const json::value& gap : gaps) {
      const auto begin = gap.at(0).to_number<std::uint64_t>();
      ASSERT_GE(begin, offset);
      ASSERT_LE(begin - offset, rest.size());
      check(begin - offset);
      offset += gap.at(1).to_number<std::uint64_t>();
    }
    check(rest.size());
  }
}

TEST_P(CaptureLoadTest, IsCleanWheneverItIsReadAndExtractedAsItWasSent) {
  // Without retention each round reads more.
  const int rounds = by_scale(2, 6, 50) * (std::get<1>(GetParam()) ? 3 : 1);
  for (int round = 0; round < rounds; ++round) {
    allow_more();
    Process verify({capture_tool(), "verify", directory_});
    ASSERT_EQ(verify.wait(), 0) << round << verify.standard_output() << verify.standard_error();
    allow_more();
    const std::string out = folder_.file("out");
    Process extract({capture_tool(), "extract", "--out", out, directory_});
    ASSERT_EQ(extract.wait(), 0) << round << extract.standard_error();
    check_extracted(out);
    std::filesystem::remove_all(out);
    allow_more();
    Process list({capture_tool(), "ls", directory_});
    ASSERT_EQ(list.wait(), 0) << round << list.standard_error();
  }
  // The load was real: segments were sealed meanwhile, and deleted.
  const auto segments = segments_in(directory_, ".sluice");
  ASSERT_FALSE(segments.empty());
  EXPECT_EQ(segments.front().ends_with("0000000000.sluice"), !std::get<1>(GetParam()));
}

// The tool's stdout is blocked until the segment that it has to read next was deleted.
TEST_P(CaptureLoadTest, IsNotDamagedByRetentionWhileItIsRead) {
  if (!std::get<1>(GetParam())) GTEST_SKIP() << "nothing is deleted";
  const auto listed = [&] { return segments_in(directory_, ".sluice"); };
  const auto sealed = [&] {
    allow_more();
    return listed().size() >= 3;
  };
  ASSERT_TRUE(wait_until(sealed));
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const OwnedFd reader(ends[0]);
  ProcessOptions options;
  options.standard_output = ends[1];
  Process show({capture_tool(), "show", directory_}, options);
  ::close(ends[1]);
  // By now it has listed the segments and reads the first.
  pollfd ready{reader.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&ready, 1, 30'000), 1);
  const std::string next = listed().at(1);
  allow_more();
  ASSERT_TRUE(wait_until([&] { return !std::filesystem::exists(next); }));
  std::vector<char> buffer(1 << 20);
  while (::read(reader.get(), buffer.data(), buffer.size()) > 0) continue;
  EXPECT_EQ(show.wait(), 0);
  // A line of progress appears if all of this takes long.
  for (const std::string& line : lines_of(show.standard_error())) {
    EXPECT_TRUE(Regex("[0-9]+% of .*").matches(line)) << line;
  }
}

std::string name_of_load(const testing::TestParamInfo<Load>& info) {
  return std::get<0>(info.param).engine + (std::get<1>(info.param) ? "_retention" : "");
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, CaptureLoadTest,
                         testing::Combine(testing::Values(Mode{"uring", "auto"},
                                                          Mode{"epoll", "auto"}),
                                          testing::Bool()),
                         name_of_load);

INSTANTIATE_TEST_SUITE_P(EveryEngine, CaptureLiveTest,
                         testing::Values(Mode{"uring", "auto"}, Mode{"epoll", "auto"}),
                         name_of_mode);

}  // namespace
}  // namespace sluice::test
