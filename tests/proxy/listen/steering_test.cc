#include "proxy/listen/steering.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace sluice {
namespace {

constexpr std::size_t kMany = 20 * Steering::kWindow;
constexpr std::size_t kLeast = Steering::kWindows * Steering::kWindow;

/// Accepts connections on the workers in this order, again and again; none of them ends. Returns
/// how many came until steering had to stop, or kMany.
std::size_t accepted_until_stop(Steering& steering, const std::vector<std::size_t>& order) {
  std::map<std::size_t, std::uint64_t> live;
  for (std::size_t i = 0; i < kMany; ++i) {
    const std::size_t worker = order[i % order.size()];
    if (steering.accepted(worker, live[worker]++)) return i + 1;
  }
  return kMany;
}

/// All `workers` in turn.
std::vector<std::size_t> round(std::size_t workers) {
  std::vector<std::size_t> order(workers);
  for (std::size_t i = 0; i < workers; ++i) order[i] = i;
  return order;
}

TEST(SteeringTest, StopsWhereOneWorkerHasAll) {
  Steering steering("", 2);
  EXPECT_EQ(accepted_until_stop(steering, {1}), kLeast);
  EXPECT_EQ(accepted_until_stop(steering, {1}), kMany) << "it is said once";
}

TEST(SteeringTest, StopsWhereOneWorkerHasNearlyAll) {
  std::vector<std::size_t> order(19, 0);
  order.push_back(1);
  Steering steering("", 2);
  EXPECT_LT(accepted_until_stop(steering, order), 2 * kLeast);
}

TEST(SteeringTest, StopsWhereAThirdOfTheWorkersHaveAll) {
  Steering steering("", 9);
  EXPECT_LT(accepted_until_stop(steering, round(3)), kMany);
}

TEST(SteeringTest, GoesOnWhereConnectionsSpread) {
  for (const std::size_t workers : {2U, 3U, 8U}) {
    Steering steering("", workers);
    EXPECT_EQ(accepted_until_stop(steering, round(workers)), kMany) << workers;
  }
  Steering uneven("", 2);
  EXPECT_EQ(accepted_until_stop(uneven, {0, 0, 0, 0, 1}), kMany) << "four fifths, and one";
}

TEST(SteeringTest, GoesOnForClientsWithFewConnectionsAtATime) {
  Steering steering("", 2);
  for (std::size_t i = 0; i < kMany; ++i) EXPECT_FALSE(steering.accepted(0, i % Steering::kCrowd));
}

/// A burst from one client, then one from another client, elsewhere.
TEST(SteeringTest, GoesOnAfterABurst) {
  Steering steering("", 2);
  for (std::size_t burst = 0; burst < 10; ++burst) {
    for (std::size_t i = 0; i < kLeast - Steering::kWindow; ++i) {
      EXPECT_FALSE(steering.accepted(burst % 2, i));
    }
  }
}

}  // namespace
}  // namespace sluice
