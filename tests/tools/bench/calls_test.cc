#include "tools/bench/calls.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/bench/net.h"

namespace sluice::bench {
namespace {

TEST(CallsTest, AreReadFromWhatTheToolPrints) {
  EXPECT_EQ(
      parse_calls(CallTool::perf, "Events enabled\n126847,,raw_syscalls:sys_enter,3000,100.00,,\n"),
      126847U);
  EXPECT_EQ(parse_calls(CallTool::perf, "<not counted>,,raw_syscalls:sys_enter,0,100.00,,\n"), 0U);
  EXPECT_EQ(parse_calls(CallTool::strace,
                        "% time     seconds  usecs/call     calls    errors syscall\n"
                        " 95.00    0.002000          19       100         1 sendto\n"
                        "100.00    0.002100          20       105         1 total\n"),
            105U);
  EXPECT_EQ(parse_calls(CallTool::strace, "100.00    0.002100          20       105 total\n"),
            105U);
  EXPECT_EQ(parse_calls(CallTool::strace, ""), 0U);
  EXPECT_FALSE(parse_calls(CallTool::perf, "").has_value());
  EXPECT_FALSE(parse_calls(CallTool::strace, "strace: attach: Operation not permitted\n"));
}

// A child that makes system calls one after the other until it is killed.
class Busy {
 public:
  Busy() : pid_(::fork()) {
    while (pid_ == 0) ::syscall(SYS_getppid);
  }
  ~Busy() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

class EachTool : public testing::TestWithParam<CallTool> {};

TEST_P(EachTool, CountsOrSaysWhyNot) {
  const Busy busy;
  try {
    // A busy machine may give the child no time for a while.
    std::uint64_t calls = 0;
    for (useconds_t time = 10'000; calls <= 10 && time < 10'000'000; time *= 4) {
      CallCounter counter(GetParam());
      counter.begin({busy.pid()});
      ::usleep(time);
      calls = counter.end();
    }
    EXPECT_GT(calls, 10U);
  } catch (const Failure& failure) {
    EXPECT_NE(std::string(failure.what()), "");
    GTEST_SKIP() << name_of(GetParam()) << ": " << failure.what();
  }
}

TEST_P(EachTool, SaysWhatIsWrongWithAProcess) {
  CallCounter counter(GetParam());
  const auto count = [&] {
    counter.begin({1 << 30});
    static_cast<void>(counter.end());
  };
  EXPECT_THROW(count(), Failure);
}

INSTANTIATE_TEST_SUITE_P(Tools, EachTool, testing::Values(CallTool::perf, CallTool::strace),
                         [](const auto& about) { return name_of(about.param); });

}  // namespace
}  // namespace sluice::bench
