#include "iolib/relay/promotion.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>

namespace sluice {
namespace {

using Finding = Promotion::Finding;

// A direction that is alone on its thread, except for the turns of others().
class PromotionTest : public testing::Test {
 protected:
  [[nodiscard]] Finding turn(std::size_t bytes) { return promotion_.spliced(bytes, ++turns_); }
  [[nodiscard]] bool receive(bool full, bool left_more) {
    return promotion_.received(full, left_more);
  }
  void promote() { promotion_.promote(turns_); }
  // Stops one turn before the direction becomes heavy.
  void nearly_heavy() {
    for (int i = 1; i < Promotion::kHeavyAfter; ++i) {
      ASSERT_EQ(turn(Promotion::kLargeTurnBytes), Finding::nothing);
    }
  }
  void others(std::uint32_t turns) { turns_ += turns; }

  Promotion promotion_;
  std::uint32_t turns_ = 1000;
};

TEST_F(PromotionTest, ADirectionIsCopiedUntilFullReceivesHaveLeftMore) {
  EXPECT_FALSE(promotion_.streaming());
  for (int i = 1; i < Promotion::kPromoteAfter; ++i) EXPECT_FALSE(receive(true, true));
  EXPECT_TRUE(receive(true, true));
  promote();
  EXPECT_TRUE(promotion_.streaming());
  EXPECT_FALSE(promotion_.heavy());
}

TEST_F(PromotionTest, TheRestOfALargeMessageDoesNotCountAgainstIt) {
  for (int i = 1; i < Promotion::kPromoteAfter; ++i) {
    EXPECT_FALSE(receive(true, true));
    EXPECT_FALSE(receive(false, false));
  }
  EXPECT_TRUE(receive(true, true));
}

TEST_F(PromotionTest, AMessageInBetweenDoes) {
  for (int i = 1; i < Promotion::kPromoteAfter; ++i) EXPECT_FALSE(receive(true, true));
  EXPECT_FALSE(receive(false, false));
  EXPECT_FALSE(receive(false, false));
  EXPECT_FALSE(receive(true, true));
}

TEST_F(PromotionTest, MessagesThatFillABufferAndLeaveNothingAreCopiedForEver) {
  for (int i = 0; i < 10 * Promotion::kPromoteAfter; ++i) EXPECT_FALSE(receive(true, false));
}

TEST_F(PromotionTest, SmallTurnsInARowFindItSmall) {
  promote();
  for (int i = 1; i < Promotion::kDemoteAfter; ++i) EXPECT_EQ(turn(1), Finding::nothing);
  EXPECT_EQ(turn(Promotion::kSmallTurnBytes + 1), Finding::nothing);
  for (int i = 1; i < Promotion::kDemoteAfter; ++i) {
    EXPECT_EQ(turn(Promotion::kSmallTurnBytes), Finding::nothing);
  }
  EXPECT_EQ(turn(1), Finding::small);
  EXPECT_EQ(turn(1), Finding::small) << "whoever splices all the same is told again";
  promotion_.demote();
  EXPECT_FALSE(promotion_.streaming());
  EXPECT_FALSE(receive(true, true)) << "it begins anew";
}

TEST_F(PromotionTest, LargeTurnsMakeItHeavyAndAloneItIsPatient) {
  promote();
  nearly_heavy();
  EXPECT_EQ(turn(1), Finding::nothing) << "they need not follow each other";
  EXPECT_FALSE(promotion_.take_proof());
  EXPECT_EQ(turn(Promotion::kLargeTurnBytes), Finding::heavy);
  EXPECT_TRUE(promotion_.heavy() && promotion_.patient());
  EXPECT_TRUE(promotion_.take_proof());
  EXPECT_FALSE(promotion_.take_proof()) << "asked already";
}

TEST_F(PromotionTest, AmongManyStreamsItIsHeavyWithoutPatience) {
  promote();
  nearly_heavy();
  others(Promotion::kFewStreams * Promotion::kHeavyAfter);
  EXPECT_EQ(turn(Promotion::kLargeTurnBytes), Finding::heavy);
  EXPECT_TRUE(promotion_.heavy());
  EXPECT_FALSE(promotion_.patient());
  // The next window belongs to this direction alone.
  nearly_heavy();
  EXPECT_EQ(turn(Promotion::kLargeTurnBytes), Finding::heavy);
  EXPECT_TRUE(promotion_.patient());
}

TEST_F(PromotionTest, OneOtherStreamLeavesItItsPatience) {
  promote();
  nearly_heavy();
  others((Promotion::kFewStreams - 1) * Promotion::kHeavyAfter);
  EXPECT_EQ(turn(Promotion::kLargeTurnBytes), Finding::heavy);
  EXPECT_TRUE(promotion_.patient());
}

TEST_F(PromotionTest, SilenceEndsItsPatienceUntilItProvesHeavyAgain) {
  promote();
  nearly_heavy();
  ASSERT_EQ(turn(Promotion::kLargeTurnBytes), Finding::heavy);
  promotion_.lose_patience(turns_);
  EXPECT_TRUE(promotion_.heavy());
  EXPECT_FALSE(promotion_.patient());
  nearly_heavy();
  EXPECT_EQ(turn(Promotion::kLargeTurnBytes), Finding::heavy);
  EXPECT_TRUE(promotion_.patient());
}

TEST_F(PromotionTest, OnAnotherThreadItsWindowBeginsAnew) {
  promote();
  nearly_heavy();
  turns_ = 7;
  promotion_.begin_window(turns_);
  nearly_heavy();
  EXPECT_EQ(turn(Promotion::kLargeTurnBytes), Finding::heavy);
  EXPECT_TRUE(promotion_.patient());
}

TEST_F(PromotionTest, DemotedItIsNeitherHeavyNorPatient) {
  promote();
  nearly_heavy();
  ASSERT_EQ(turn(Promotion::kLargeTurnBytes), Finding::heavy);
  promotion_.demote();
  EXPECT_FALSE(promotion_.streaming() || promotion_.heavy() || promotion_.patient());
}

}  // namespace
}  // namespace sluice
