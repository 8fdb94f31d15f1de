#include "proxy/health/verdict.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

constexpr auto kPassed = CheckResult::passed;
constexpr auto kFailed = CheckResult::failed;
constexpr auto kUnanswered = CheckResult::unanswered;
constexpr auto kUndecided = CheckResult::undecided;

TEST(Verdict, TheFirstCheckDecidesAtOnceUnlessItIsUnanswered) {
  Verdict refused(2, 3);
  EXPECT_TRUE(refused.note(kFailed));
  EXPECT_FALSE(refused.is_up());
  Verdict silent(2, 3);
  EXPECT_FALSE(silent.note(kUnanswered));
  EXPECT_TRUE(silent.is_up());
  EXPECT_FALSE(silent.note(kFailed)) << "the second of three";
  EXPECT_TRUE(silent.note(kUnanswered));
  EXPECT_FALSE(silent.is_up());
  Verdict good(2, 3);
  EXPECT_FALSE(good.note(kPassed));
  EXPECT_FALSE(good.note(kFailed)) << "it is no longer the first";
  EXPECT_TRUE(good.is_up());
}

TEST(Verdict, FallsAndRisesAfterThatManyInARow) {
  Verdict verdict(2, 3);
  EXPECT_FALSE(verdict.note(kPassed));
  for (const CheckResult each : {kFailed, kFailed, kPassed, kFailed, kUnanswered}) {
    EXPECT_FALSE(verdict.note(each));
    EXPECT_TRUE(verdict.is_up());
  }
  EXPECT_TRUE(verdict.note(kFailed));
  for (const CheckResult each : {kFailed, kPassed, kFailed, kPassed}) {
    EXPECT_FALSE(verdict.note(each));
    EXPECT_FALSE(verdict.is_up());
  }
  EXPECT_TRUE(verdict.note(kPassed));
  EXPECT_TRUE(verdict.is_up());
}

TEST(Verdict, WhatThisMachineCouldNotCheckSaysNothing) {
  Verdict verdict(1, 2);
  EXPECT_FALSE(verdict.note(kUndecided));
  EXPECT_TRUE(verdict.note(kFailed)) << "this is the first check that says something";
  EXPECT_FALSE(verdict.note(kUndecided));
  EXPECT_TRUE(verdict.note(kPassed));
  EXPECT_FALSE(verdict.note(kFailed));
  EXPECT_FALSE(verdict.note(kUndecided));
  EXPECT_TRUE(verdict.note(kFailed)) << "in a row, since the one between says nothing";
}

}  // namespace
}  // namespace sluice
