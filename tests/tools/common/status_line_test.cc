#include "tools/common/status_line.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace sluice {
namespace {

using std::chrono::milliseconds;

constexpr TimePoint kStart{std::chrono::hours(1)};

/// Updates the status every 50 ms for 31 s. Returns what stderr shows.
std::string shown(StatusLine::Kind kind, Duration rest = StatusLine::kInPlaceInterval) {
  testing::internal::CaptureStderr();
  {
    StatusLine line(kind, kStart, rest);
    for (milliseconds at{0}; at <= std::chrono::seconds(31); at += milliseconds(50)) {
      if (line.is_due(kStart + at)) line.show(kStart + at, std::to_string(at.count()));
    }
  }
  return testing::internal::GetCapturedStderr();
}

TEST(StatusLineTest, IsALineEachTenSecondsWithoutATerminal) {
  EXPECT_EQ(shown(StatusLine::Kind::lines), "10000\n20000\n30000\n");
}

TEST(StatusLineTest, IsWrittenOverOnATerminalAndTakenAwayAtTheEnd) {
  const std::string all = shown(StatusLine::Kind::in_place, std::chrono::seconds(1));
  EXPECT_TRUE(all.starts_with("\r1000\033[K\r1250\033[K"));
  EXPECT_TRUE(all.ends_with("\r31000\033[K\r\033[K"));
}

TEST(StatusLineTest, IsNothingWhereThereIsNoRoomForIt) {
  EXPECT_EQ(shown(StatusLine::Kind::none), "");
}

}  // namespace
}  // namespace sluice
