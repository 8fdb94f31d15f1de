#include "iolib/balance/token_bucket.h"

#include <gtest/gtest.h>

namespace sluice::balance {
namespace {

using namespace std::chrono_literals;

class TokenBucketTest : public testing::Test {
 protected:
  /// How often `tokens` can be taken now.
  int taken(TokenBucket& bucket, std::uint64_t tokens) {
    int count = 0;
    while (bucket.take(now_, tokens)) ++count;
    return count;
  }

  TimePoint now_{1h};
};

TEST_F(TokenBucketTest, ABurstComesAtOnceAndThenTheRate) {
  TokenBucket bucket(10, 5);
  EXPECT_EQ(taken(bucket, 1), 5);
  now_ += 100ms - 1ns;
  EXPECT_EQ(taken(bucket, 1), 0);
  now_ += 1ns;
  EXPECT_EQ(taken(bucket, 1), 1);
  now_ += 10s;
  EXPECT_EQ(taken(bucket, 1), 5);
}

// 7 a second is a token every 142,857,142.857... ns, and every step is a prime number of ns.
TEST_F(TokenBucketTest, NothingIsLostToRoundingHoweverOftenItIsAsked) {
  TokenBucket bucket(7, 3);
  EXPECT_EQ(taken(bucket, 1), 3);
  const TimePoint begin = now_;
  int count = 0;
  while (now_ < begin + 10min) {
    now_ += 1'000'003ns;
    count += taken(bucket, 1);
  }
  EXPECT_EQ(count, (now_ - begin) * 7 / 1s);
}

TEST_F(TokenBucketTest, ARefusedTakeTakesNothing) {
  TokenBucket bucket(1, 10);
  EXPECT_TRUE(bucket.take(now_, 8));
  EXPECT_FALSE(bucket.take(now_, 3));
  EXPECT_FALSE(bucket.take(now_, 11));
  EXPECT_FALSE(bucket.take(now_, UINT64_MAX));
  EXPECT_TRUE(bucket.take(now_, 2));
  EXPECT_FALSE(bucket.take(now_, 1));
  EXPECT_TRUE(bucket.take(now_, 0));
}

TEST_F(TokenBucketTest, AddedTokensCountUpToTheBurst) {
  TokenBucket bucket(1, 10);
  EXPECT_EQ(taken(bucket, 1), 10);
  bucket.add(3);
  EXPECT_EQ(taken(bucket, 1), 3);
  // More than 2^64 billionths.
  bucket.add(18'446'744'074);
  EXPECT_EQ(taken(bucket, 1), 10);
  bucket.add(UINT64_MAX);
  EXPECT_EQ(taken(bucket, 1), 10);
  bucket.add(9);
  now_ += 10s;
  bucket.add(1);
  EXPECT_EQ(taken(bucket, 1), 10);
}

TEST_F(TokenBucketTest, AYearWithoutATakeFillsItAndNoMore) {
  for (const std::uint64_t per_second : {std::uint64_t{1}, std::uint64_t{100'000'000'000}}) {
    TokenBucket bucket(per_second, TokenBucket::kMostBurst);
    EXPECT_TRUE(bucket.take(now_, TokenBucket::kMostBurst));
    now_ += 24h * 365 * 290;
    EXPECT_TRUE(bucket.take(now_, TokenBucket::kMostBurst));
    EXPECT_FALSE(bucket.take(now_, 1));
    now_ = TimePoint(1h);
  }
}

TEST_F(TokenBucketTest, ATimeBeforeTheLastOneAddsNothing) {
  TokenBucket bucket(1000, 1);
  EXPECT_TRUE(bucket.take(now_, 1));
  now_ -= 30min;
  EXPECT_FALSE(bucket.take(now_, 1));
  now_ += 30min;
  EXPECT_FALSE(bucket.take(now_, 1));
  now_ += 1ms;
  EXPECT_TRUE(bucket.take(now_, 1));
}

// The budget of retries: 0.2 for each connection and 10 a second, 100 at most. During an outage of
// a minute, each of 6,000 connections wants as many retries as it can get.
TEST_F(TokenBucketTest, RetriesAreBoundedDuringAnOutage) {
  constexpr std::uint64_t kRetry = 1000;
  TokenBucket bucket(10 * kRetry, 100 * kRetry);
  EXPECT_EQ(taken(bucket, kRetry), 100);
  int retries = 0;
  for (int connection = 0; connection < 6000; ++connection) {
    now_ += 10ms;
    bucket.add(kRetry / 5);
    retries += taken(bucket, kRetry);
  }
  EXPECT_EQ(retries, 6000 / 5 + 60 * 10);
}

TEST_F(TokenBucketTest, ReservationsComeOneAfterTheOther) {
  TokenBucket bucket(10, 5);
  EXPECT_EQ(bucket.reserve(now_, 5), now_);
  EXPECT_EQ(bucket.reserve(now_, 1), now_ + 100ms);
  EXPECT_EQ(bucket.reserve(now_, 2), now_ + 300ms);
  now_ += 250ms;
  EXPECT_FALSE(bucket.take(now_, 0));
  EXPECT_EQ(bucket.reserve(now_, 1), now_ + 150ms);
  bucket.add(1);
  now_ += 150ms;
  EXPECT_EQ(taken(bucket, 1), 1);
}

TEST_F(TokenBucketTest, WhatIsReservedWithoutEndIsForgottenInTheEnd) {
  TokenBucket bucket(TokenBucket::kMostBurst, TokenBucket::kMostBurst);
  EXPECT_EQ(bucket.reserve(now_, UINT64_MAX), now_);
  EXPECT_EQ(bucket.reserve(now_, UINT64_MAX), now_ + 1s);
  EXPECT_EQ(bucket.reserve(now_, 1), now_ + 1s);
  now_ += 2s;
  EXPECT_TRUE(bucket.take(now_, TokenBucket::kMostBurst));
  EXPECT_FALSE(bucket.take(now_, 1));
  now_ += 1h;
  EXPECT_TRUE(bucket.take(now_, TokenBucket::kMostBurst));
  EXPECT_FALSE(bucket.take(now_, 1));
}

}  // namespace
}  // namespace sluice::balance
