#include "proxy/admin/token.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "tests/support/temp_dir.h"

namespace sluice::admin {
namespace {

class TokenTest : public testing::Test {
 protected:
  /// The token, or what is wrong with the file.
  std::string read(const std::string& text, mode_t mode = 0600) {
    const std::string path = folder_.write("token", text);
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    const Result<std::string> token = read_token(path);
    if (token.has_value()) return *token;
    const std::string error = token.error().to_string();
    EXPECT_TRUE(error.starts_with("admin-token-file " + path + ": ")) << error;
    return error.substr(error.find(path) + path.size() + 2);
  }

  const std::string good_ = "abcdefghijklmnopqrstuvwxyz-._~+/=0123";
  test::TempDir folder_;
};

TEST_F(TokenTest, IsOneLine) {
  EXPECT_EQ(read(good_), good_);
  EXPECT_EQ(read(good_ + "\n"), good_);
  EXPECT_EQ(read(std::string(32, 'x')), std::string(32, 'x'));
  EXPECT_EQ(read(std::string(1024, 'x') + "\n"), std::string(1024, 'x'));
  for (const std::string& wrong : {good_ + "\n\n", good_ + "\r\n", good_ + " ", " " + good_,
                                   good_ + "\n" + good_, good_ + "\xc3\xa4", good_ + ":"}) {
    EXPECT_EQ(read(wrong), "expected one line of letters, digits and -._~+/=") << wrong;
  }
}

TEST_F(TokenTest, IsNeitherShortNorLong) {
  EXPECT_EQ(read(""), "0 characters, expected one line of 32 to 1024");
  EXPECT_EQ(read(std::string(31, 'x') + "\n"), "31 characters, expected one line of 32 to 1024");
  EXPECT_EQ(read(std::string(1025, 'x')), "over 1024 characters, expected one line of 32 to 1024");
}

TEST_F(TokenTest, IsSecret) {
  for (const mode_t mode : {0400U, 0440U, 0600U, 0640U}) EXPECT_EQ(read(good_, mode), good_);
  EXPECT_EQ(read(good_, 0644), "its mode is 0644, expected 0640 or less: the token is secret");
  EXPECT_EQ(read(good_, 0660), "its mode is 0660, expected 0640 or less: the token is secret");
  EXPECT_EQ(read(good_, 0602), "its mode is 0602, expected 0640 or less: the token is secret");
}

TEST_F(TokenTest, IsInARegularFile) {
  EXPECT_EQ(read_token(folder_.file("missing")).error().code, ENOENT);
  const std::string fifo = folder_.file("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(read_token(fifo).error().to_string(),
            "admin-token-file " + fifo + ": is not a regular file");
}

}  // namespace
}  // namespace sluice::admin
