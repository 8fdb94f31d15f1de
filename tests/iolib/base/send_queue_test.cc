#include "iolib/base/send_queue.h"

#include <gtest/gtest.h>

#include <chrono>

namespace sluice {
namespace {

using namespace std::chrono_literals;

TEST(SendQueueWatchTest, AQueueDrainsWhileItShrinks) {
  SendQueueWatch queue;
  EXPECT_TRUE(queue.drains(1000)) << "the first look is for any that are left";
  EXPECT_FALSE(queue.drains(1000));
  EXPECT_TRUE(queue.drains(999));
  EXPECT_FALSE(queue.drains(5000));
  EXPECT_TRUE(queue.drains(0)) << "it was taken since the last look";
  EXPECT_FALSE(queue.drains(0));
  queue.begin_anew();
  EXPECT_FALSE(queue.drains(0));
}

TEST(SendQueueWatchTest, LooksBecomeRarerUpToABound) {
  SendQueueWatch queue;
  for (const Duration expected : {1ms, 2ms, 4ms, 8ms, 16ms, 32ms, 50ms, 50ms}) {
    EXPECT_EQ(queue.pause(), expected);
  }
}

}  // namespace
}  // namespace sluice
