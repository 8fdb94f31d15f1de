#include "iolib/mirror/backlog.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "tests/support/pattern.h"
#include "tests/support/settings.h"

namespace sluice::mirror {
namespace {

constexpr std::size_t kPlenty = 1 << 30;

std::vector<std::byte> pattern_bytes(std::uint64_t offset, std::size_t size) {
  std::vector<std::byte> bytes(size);
  test::Pattern(1).fill(offset, bytes);
  return bytes;
}

TEST(Backlog, GivesTheBytesInOrderWhateverThePieces) {
  std::mt19937_64 random(test::seed());
  Budget budget{kPlenty};
  Backlog backlog(budget);
  std::uint64_t in = 0;
  test::PatternChecker out{test::Pattern(1)};
  for (int i = 0; i < 5'000; ++i) {
    const std::size_t size = 1 + random() % (random() % 8 == 0 ? 200'000 : 300);
    ASSERT_TRUE(backlog.append(pattern_bytes(in, size)));
    in += size;
    for (std::uint64_t left = random() % 40'000; left > 0 && !backlog.empty();) {
      std::span<const std::byte> front = backlog.front();
      front = front.first(std::min<std::size_t>(front.size(), left));
      ASSERT_FALSE(front.empty());
      out.take(front);
      left -= front.size();
      backlog.pop(front.size());
    }
    ASSERT_EQ(backlog.bytes(), in - out.received_bytes());
    // Bytes bound memory: but for the first buffer and the last, all are full.
    ASSERT_LE(budget.used_bytes, backlog.bytes() + 2 * Backlog::kMostBuffer);
  }
  EXPECT_EQ(out.mismatch(), std::nullopt);
  backlog.clear();
  EXPECT_TRUE(backlog.empty());
  EXPECT_EQ(budget.used_bytes, 0U);
}

TEST(Backlog, SmallPiecesShareABuffer) {
  Budget budget{kPlenty};
  Backlog backlog(budget);
  for (int i = 0; i < 4096; ++i) ASSERT_TRUE(backlog.append(pattern_bytes(0, 1)));
  EXPECT_EQ(budget.used_bytes, Backlog::kLeastBuffer);
  ASSERT_TRUE(backlog.append(pattern_bytes(0, 1)));
  EXPECT_EQ(budget.used_bytes, 2 * Backlog::kLeastBuffer);
}

TEST(Backlog, TakesNoMoreMemoryThanTheBudgetHas) {
  Budget budget{2 * Backlog::kMostBuffer};
  Backlog one(budget);
  Backlog other(budget);
  EXPECT_TRUE(one.append(pattern_bytes(0, Backlog::kMostBuffer)));
  EXPECT_TRUE(other.append(pattern_bytes(0, Backlog::kMostBuffer - 1)));
  // What a buffer has left may still be used.
  EXPECT_TRUE(other.append(pattern_bytes(0, 1)));
  EXPECT_FALSE(other.append(pattern_bytes(0, 1)));
  EXPECT_FALSE(one.append(pattern_bytes(0, 1)));
  EXPECT_EQ(budget.used_bytes, budget.limit_bytes);
  other.pop(other.front().size());
  EXPECT_TRUE(other.empty());
  EXPECT_TRUE(one.append(pattern_bytes(0, 1)));
}

TEST(Backlog, GivesItsMemoryBackWhenItGoes) {
  Budget budget{kPlenty};
  {
    Backlog backlog(budget);
    // Long enough that a recursive end would not fit the stack.
    for (int i = 0; i < 4'000; ++i) {
      ASSERT_TRUE(backlog.append(pattern_bytes(0, Backlog::kMostBuffer)));
    }
  }
  EXPECT_EQ(budget.used_bytes, 0U);
}

}  // namespace
}  // namespace sluice::mirror
