#include "iolib/base/byte_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>

#include "tests/support/settings.h"

namespace sluice {
namespace {

// Takes at most `most` bytes from the front.
std::string take(ByteQueue& queue, std::size_t most) {
  const std::span<const std::byte> front = queue.front();
  const std::size_t bytes = std::min(front.size(), most);
  std::string taken(reinterpret_cast<const char*>(front.data()), bytes);
  queue.pop(bytes);
  return taken;
}

void put(ByteQueue& queue, const std::string& text) {
  queue.append(std::as_bytes(std::span(text)));
}

TEST(ByteQueue, GivesBackWhatItGotInOrder) {
  ByteQueue queue;
  std::mt19937_64 random(test::seed());
  std::string in;
  std::string out;
  for (int i = 0; i < 5000; ++i) {
    if (random() % 2 == 0) {
      std::string part(random() % (random() % 50 == 0 ? 100'000 : 300), '\0');
      std::ranges::generate(part, [&] { return static_cast<char>(random()); });
      put(queue, part);
      in += part;
    } else {
      out += take(queue, random() % 1000);
    }
    ASSERT_EQ(queue.size(), in.size() - out.size());
  }
  while (!queue.empty()) out += take(queue, in.size());
  EXPECT_TRUE(in == out);
}

TEST(ByteQueue, WhatIsReadIntoAnEmptyOneLiesInOnePiece) {
  ByteQueue queue;
  put(queue, "gone");
  take(queue, 4);
  for (std::size_t left = 60'000; left > 0;) {
    const std::span<std::byte> space = queue.space(left);
    ASSERT_EQ(space.size(), left);
    const std::size_t got = std::min<std::size_t>(left, 30'000);
    std::memset(space.data(), 'x', got);
    queue.commit(got);
    left -= got;
  }
  EXPECT_EQ(queue.front().size(), 60'000U);
  queue.clear();
  EXPECT_TRUE(queue.empty());
  EXPECT_TRUE(queue.front().empty());
}

TEST(ByteQueue, BytesBoundItsMemoryHoweverSmallTheyCome) {
  constexpr std::size_t kMost = ByteQueue::kMostInAPiece;
  ByteBudget budget{1 << 30};
  ByteQueue queue(&budget);
  for (std::size_t i = 0; i < 3 * kMost; ++i) {
    put(queue, "x");
    ASSERT_LE(budget.used_bytes, 2 * queue.size());
  }
  while (!queue.empty()) {
    ASSERT_LE(budget.used_bytes, queue.size() + 2 * kMost);
    take(queue, 1000);
  }
  EXPECT_EQ(budget.used_bytes, 0U);
}

TEST(ByteQueue, TakesNoMoreMemoryThanTheBudgetHas) {
  constexpr std::size_t kMost = ByteQueue::kMostInAPiece;
  ByteBudget budget{2 * kMost};
  ByteQueue one(&budget);
  ByteQueue other(&budget);
  const std::string piece(kMost, 'x');
  put(one, piece);
  put(other, piece);
  EXPECT_FALSE(other.append(std::as_bytes(std::span("x"))));
  EXPECT_FALSE(one.append(std::as_bytes(std::span("x"))));
  EXPECT_EQ(budget.used_bytes, budget.limit_bytes);
  take(other, kMost);
  EXPECT_TRUE(one.append(std::as_bytes(std::span("x"))));
}

// Long enough that a recursive destructor would overflow the stack.
TEST(ByteQueue, GivesItsMemoryBackWhenItGoes) {
  ByteBudget budget{1 << 30};
  {
    ByteQueue queue(&budget);
    for (int i = 0; i < 4'000; ++i) put(queue, std::string(ByteQueue::kMostInAPiece, 'x'));
  }
  EXPECT_EQ(budget.used_bytes, 0U);
}

}  // namespace
}  // namespace sluice
