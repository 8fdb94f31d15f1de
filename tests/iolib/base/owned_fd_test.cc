#include "iolib/base/owned_fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <type_traits>
#include <utility>

namespace sluice {
namespace {

int new_fd() { return ::eventfd(0, EFD_CLOEXEC); }
bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

static_assert(!std::is_copy_constructible_v<OwnedFd> && !std::is_copy_assignable_v<OwnedFd>);
static_assert(!std::is_convertible_v<int, OwnedFd>, "taking ownership is said, never implied");

TEST(OwnedFdTest, ClosesWhatItHoldsAtTheEnd) {
  const int raw = new_fd();
  {
    const OwnedFd owner(raw);
    EXPECT_EQ(owner.get(), raw);
    EXPECT_TRUE(owner);
    EXPECT_TRUE(is_open(raw));
  }
  EXPECT_FALSE(is_open(raw));
}

TEST(OwnedFdTest, HoldsNothingAtFirst) {
  const OwnedFd owner;
  EXPECT_FALSE(owner);
  EXPECT_EQ(owner.get(), -1);
}

TEST(OwnedFdTest, DescriptorZeroIsOne) {
  OwnedFd owner(0);
  EXPECT_TRUE(owner);
  EXPECT_EQ(owner.release(), 0);
}

TEST(OwnedFdTest, MovingTransfersAndEmptiesTheSource) {
  const int raw = new_fd();
  OwnedFd source(raw);
  {
    const OwnedFd target(std::move(source));
    EXPECT_FALSE(source);  // NOLINT(bugprone-use-after-move): the test checks the moved-from state
    EXPECT_EQ(target.get(), raw);
  }
  EXPECT_FALSE(is_open(raw));
}

TEST(OwnedFdTest, AssigningClosesTheOldAndKeepsTheNew) {
  const int old_raw = new_fd();
  const int new_raw = new_fd();
  OwnedFd owner(old_raw);
  owner = OwnedFd(new_raw);
  EXPECT_FALSE(is_open(old_raw));
  EXPECT_TRUE(is_open(new_raw));
  EXPECT_EQ(owner.get(), new_raw);
}

TEST(OwnedFdTest, AssigningToItselfKeepsTheDescriptor) {
  const int raw = new_fd();
  OwnedFd owner(raw);
  OwnedFd& same = owner;
  owner = std::move(same);
  EXPECT_EQ(owner.get(), raw);
  EXPECT_TRUE(is_open(raw));
}

TEST(OwnedFdTest, ReleaseGivesAwayWithoutClosing) {
  const int raw = new_fd();
  int given = -1;
  {
    OwnedFd owner(raw);
    given = owner.release();
    EXPECT_FALSE(owner);
  }
  EXPECT_EQ(given, raw);
  EXPECT_TRUE(is_open(raw));
  ::close(raw);
}

TEST(OwnedFdTest, ResetClosesNowAndOnlyOnce) {
  const int raw = new_fd();
  OwnedFd owner(raw);
  owner.reset();
  EXPECT_FALSE(is_open(raw));
  // Another descriptor gets the number: the former owner must not touch it.
  const int reused = ::fcntl(0, F_DUPFD_CLOEXEC, raw);
  ASSERT_EQ(reused, raw);
  owner.reset();
  EXPECT_TRUE(is_open(reused));
  ::close(reused);
}

}  // namespace
}  // namespace sluice
