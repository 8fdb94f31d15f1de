#include "proxy/config/nearest.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace sluice {
namespace {

constexpr std::array<std::string_view, 4> kNames{"listen", "to", "idle-timeout", "workers"};

TEST(EditDistance, CountsEachKindOfSlipOnce) {
  EXPECT_EQ(edit_distance("workers", "workers"), 0u);
  EXPECT_EQ(edit_distance("worker", "workers"), 1u);
  EXPECT_EQ(edit_distance("workerss", "workers"), 1u);
  EXPECT_EQ(edit_distance("wurkers", "workers"), 1u);
  EXPECT_EQ(edit_distance("owrkers", "workers"), 1u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("abc", ""), 3u);
  EXPECT_EQ(edit_distance("ca", "abc"), 3u);
}

TEST(NearestName, FindsTheOneWithinAThirdOfTheLetters) {
  EXPECT_EQ(nearest_name("idle-timeut", kNames), "idle-timeout");
  EXPECT_EQ(nearest_name("idel_timeut", kNames), "idle-timeout");
  EXPECT_EQ(nearest_name("lsten", kNames), "listen");
  EXPECT_EQ(nearest_name("ot", kNames), "to");
}

TEST(NearestName, GuessesNothingFromAfar) {
  EXPECT_EQ(nearest_name("timeout", kNames), "");
  EXPECT_EQ(nearest_name("x", kNames), "");
  EXPECT_EQ(nearest_name("", kNames), "");
  EXPECT_EQ(nearest_name(std::string(1'000, 'w'), kNames), "");
}

TEST(Suggestion, IsTheEndOfAMessageOrNothing) {
  EXPECT_EQ(suggestion("worker", kNames), "; did you mean \"workers\"?");
  EXPECT_EQ(suggestion("colour", kNames), "");
}

}  // namespace
}  // namespace sluice
