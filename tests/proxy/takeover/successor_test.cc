#include "proxy/takeover/successor.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "tests/support/sockets.h"
#include "tests/support/temp_dir.h"

namespace sluice::takeover {
namespace {

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

}  // namespace
}  // namespace sluice::takeover
