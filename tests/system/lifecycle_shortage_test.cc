// A start that lacks a resource gives one line; a start that is blocked ends with a signal. No
// client is accepted before.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/regex.h"
#include "tests/support/wait.h"
#include "tests/system/forwarding.h"
#include "tests/system/outcome.h"

namespace sluice::test {
namespace {

/// An unused user, so that no other threads count.
constexpr const char* kUser = "64123";

/// Starts the daemon, which has to serve or to fail properly. Empty if it does; `served` says which
/// of the two happened.
std::string start_with(std::vector<std::string> command, const ProcessOptions& options,
                       const std::string& unix_path, bool& served) {
  Process process(std::move(command), options);
  served = false;
  EXPECT_TRUE(wait_until(
      [&] {
        served = process.standard_error().find(" started ") != std::string::npos;
        return served || !process.running();
      },
      kLate));
  if (served) {
    served = echoes(connect_unix(unix_path).get());
    process.signal(SIGTERM);
    const auto status = process.wait(kLate);
    return served && status == 0 ? "" : "it does not serve, or end:\n" + process.standard_error();
  }
  const std::string error = process.standard_error();
  if (process.wait(kLate) != 1 || lines_of(error).size() != 1)
    return "it did not refuse:\n" + error;
  return std::filesystem::exists(unix_path) ? "it left its socket" : "";
}

class ShortageTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    ASSERT_EQ(::chmod(folder_.path().c_str(), 0777), 0);
    binary_ = copy_of_daemon(folder_);
  }
  [[nodiscard]] std::vector<std::string> command(const std::string& capture) const {
    return {binary_,     "--listen", "unix:" + path_, "--listen", "127.0.0.1:0", "--to", "echo:",
            "--workers", "2",        "--engine",      GetParam(), "--capture",   capture};
  }

  TempDir folder_;
  std::string binary_;
  std::string path_ = folder_.file("listen.sock");
};

/// Whichever thread cannot be created: for signals, the log, a worker, or its disk.
TEST_P(ShortageTest, OfThreadsIsOneLine) {
  if (::geteuid() != 0) GTEST_SKIP() << "the limit of threads is another user's";
  if (sanitized()) GTEST_SKIP() << "a sanitizer has threads of its own";
  SLUICE_NEEDS_PROGRAM("prlimit");
  SLUICE_NEEDS_PROGRAM("setpriv");
  bool served = false;
  for (int threads = 1; threads <= 20 && !served; ++threads) {
    std::vector<std::string> limited{
        "setpriv", "--reuid",        kUser,     "--regid",
        kUser,     "--clear-groups", "prlimit", "--nproc=" + std::to_string(threads)};
    const std::string capture = folder_.file("capture" + std::to_string(threads));
    const auto daemon = command(capture);
    limited.insert(limited.end(), daemon.begin(), daemon.end());
    EXPECT_EQ(start_with(limited, {}, path_, served), "") << threads << " threads";
    if (served || !std::filesystem::exists(capture)) continue;
    for (const auto& entry : std::filesystem::directory_iterator(capture)) {
      EXPECT_EQ(entry.path().filename(), "lock") << threads << " threads";
    }
  }
  EXPECT_TRUE(served);
}

TEST_P(ShortageTest, OfDescriptorsIsOneLine) {
  bool served = false;
  // With fewer than eight not even the libraries can be loaded.
  for (rlim_t descriptors = 8; descriptors <= 80 && !served; descriptors += 2) {
    ProcessOptions options;
    options.max_open_files = descriptors;
    const std::string capture = folder_.file("capture" + std::to_string(descriptors));
    EXPECT_EQ(start_with(command(capture), options, path_, served), "")
        << descriptors << " descriptors";
  }
  EXPECT_TRUE(served);
}

INSTANTIATE_TEST_SUITE_P(BothEngines, ShortageTest, testing::Values("auto", "epoll"),
                         [](const auto& about) { return about.param; });

/// The probe and the first worker get a ring, later ones do not.
TEST(RingShortageTest, HasAllWorkersUseEpollOrIsOneLine) {
  const char* const refuse_rings = std::getenv("SLUICE_REFUSE_RINGS");
  if (refuse_rings == nullptr) GTEST_SKIP() << "SLUICE_REFUSE_RINGS names no library";
  if (!io_uring_available()) GTEST_SKIP() << "the kernel refuses io_uring here";
  if (sanitized()) GTEST_SKIP() << "a sanitizer's library wants to be the first";
  const TempDir folder;
  DaemonOptions options;
  options.process.environment = {std::string("LD_PRELOAD=") + refuse_rings, "SLUICE_RINGS=2"};
  std::vector<std::string> arguments{
      "--listen",  "127.0.0.1:0",          "--to",     "echo:", "--workers", "3",
      "--capture", folder.file("capture"), "--engine", "auto"};
  Daemon daemon(arguments, options);
  EXPECT_TRUE(daemon.wait_for_log(Regex("started workers=3 engine=epoll"), kLate));
  EXPECT_EQ(count_lines(daemon.log(), Regex("engine_fallback.*reason=.*io_uring_setup")), 1U);
  EXPECT_TRUE(echoes(connect_tcp(daemon.port()).get()));
  EXPECT_EQ(daemon.terminate(kLate), 0);
  arguments.back() = "uring";
  EXPECT_EQ(refusal(arguments, 1, {"io_uring_setup", "memory"}, options.process), "");
}

/// A lease on a leftover segment blocks the daemon's open(), as a hanging disk would.
TEST(HeldUpStartTest, LetsNobodyInAndEndsWithASignal) {
  const TempDir folder;
  const std::string capture = folder.file("capture");
  ASSERT_EQ(::mkdir(capture.c_str(), 0700), 0);
  const std::string segment = capture + "/run1-w000-0000000000.open";
  const OwnedFd leased(::open(segment.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0600));
  // This signal, which is ignored, reports that the lease is to be broken.
  if (::fcntl(leased.get(), F_SETSIG, SIGURG) != 0 ||
      ::fcntl(leased.get(), F_SETLEASE, F_RDLCK) != 0) {
    GTEST_SKIP() << "this filesystem has no leases";
  }
  const std::uint16_t port = free_port();
  const std::string path = folder.file("listen.sock");
  DaemonOptions options;
  options.listeners = 0;
  Daemon daemon({"--listen", loopback_address(port), "--listen", "unix:" + path, "--to",
                 "echo:", "--capture", capture},
                options);
  ASSERT_TRUE(wait_until([&] { return ::fcntl(leased.get(), F_GETLEASE) != F_RDLCK; }, kLate))
      << daemon.log();
  EXPECT_EQ(try_connect(port), ECONNREFUSED);
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_EQ(refusal({"--listen", loopback_address(port), "--to", "echo:", "--capture", capture}, 1,
                    {"another process"}),
            "");
  daemon.process().signal(SIGTERM);
  EXPECT_EQ(daemon.process().wait(kLate), 0);
  EXPECT_EQ(::fcntl(leased.get(), F_GETLEASE), F_UNLCK) << "the lease was waited for";
}

}  // namespace
}  // namespace sluice::test
