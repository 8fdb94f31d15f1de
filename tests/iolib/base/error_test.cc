#include "iolib/base/error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <stdexcept>
#include <string>

namespace sluice {
namespace {

Result<std::string> name_of_digit(int digit) {
  if (digit != 4) return Error{0, "not a four"};
  return std::string("four");
}

TEST(ErrorTest, TextIsTheContextAndWhatTheErrnoMeans) {
  EXPECT_EQ((Error{ECONNREFUSED, "connect 127.0.0.1:9"}.to_string()),
            "connect 127.0.0.1:9: Connection refused");
}

TEST(ErrorTest, WithoutAnErrnoTheContextIsTheWholeText) {
  EXPECT_EQ((Error{0, "port out of range"}.to_string()), "port out of range");
}

TEST(ErrorTest, AnUnknownErrnoStillNamesItsNumber) {
  EXPECT_NE((Error{9999, "call"}.to_string().find("9999")), std::string::npos);
}

TEST(ErrorTest, ErrnoIsTakenFromTheCallingThread) {
  errno = EMFILE;
  const Error error = errno_error("pipe2");
  EXPECT_EQ(error.code, EMFILE);
  EXPECT_EQ(error.context, "pipe2");
}

// The context is an argument, made before errno is read. Making it must not change errno.
TEST(ErrorTest, ErrnoSurvivesALongContext) {
  errno = EADDRINUSE;
  const Error error = errno_error("bind " + std::string(4096, 'x'));
  EXPECT_EQ(error.code, EADDRINUSE);
}

TEST(ErrorTest, AResultIsAValueOrAnError) {
  const Result<std::string> good = name_of_digit(4);
  ASSERT_TRUE(good.has_value());
  EXPECT_EQ(*good, "four");
  const Result<std::string> bad = name_of_digit(5);
  ASSERT_TRUE(bad.has_error());
  EXPECT_EQ(bad.error().context, "not a four");
}

TEST(ErrorTest, AResultWithoutValueIsGoodByItself) {
  const Result<> done;
  EXPECT_TRUE(done.has_value());
  const Result<> failed = Error{EIO, "fsync"};
  EXPECT_TRUE(failed.has_error());
}

TEST(ErrorTest, AResultCarriesWhatCanOnlyBeMoved) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(5);
  ASSERT_TRUE(result.has_value());
  const std::unique_ptr<int> taken = std::move(*result);
  EXPECT_EQ(*taken, 5);
}

TEST(ErrorTest, AskingAnErrorForItsValueIsADefectAndSaysWhich) {
  const Result<std::string> bad = Error{ENOENT, "open /nowhere"};
  try {
    static_cast<void>(bad.value());
    FAIL() << "value() of an error returned";
  } catch (const std::logic_error& defect) {
    EXPECT_NE(std::string(defect.what()).find("open /nowhere"), std::string::npos) << defect.what();
  }
}

}  // namespace
}  // namespace sluice
