// The main() of the system tests. A broken connection must not end them, and thousands of
// connections need thousands of descriptors.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
