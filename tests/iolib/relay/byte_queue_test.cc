#include "iolib/relay/byte_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>

#include "tests/support/settings.h"

namespace sluice {
namespace {

// What is taken from the front, at most `most` bytes.
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
  for (std::size_t left = 100'000; left > 0;) {
    const std::span<std::byte> space = queue.space(left);
    ASSERT_EQ(space.size(), left);
    const std::size_t got = std::min<std::size_t>(left, 30'000);
    std::memset(space.data(), 'x', got);
    queue.commit(got);
    left -= got;
  }
  EXPECT_EQ(queue.front().size(), 100'000U);
  queue.clear();
  EXPECT_TRUE(queue.empty());
  EXPECT_TRUE(queue.front().empty());
}

}  // namespace
}  // namespace sluice
