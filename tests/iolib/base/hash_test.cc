#include "iolib/base/hash.h"

#include <gtest/gtest.h>

#include <bit>
#include <string_view>

namespace sluice {
namespace {

std::uint64_t fnv1a_of(std::string_view text) { return fnv1a(std::as_bytes(std::span(text))); }

// From the test vectors that FNV is published with.
TEST(Hash, Fnv1aIsTheOneThatIsPublished) {
  EXPECT_EQ(fnv1a_of(""), 0xcbf29ce484222325U);
  EXPECT_EQ(fnv1a_of("a"), 0xaf63dc4c8601ec8cU);
  EXPECT_EQ(fnv1a_of("foobar"), 0x85944171f73967e8U);
}

TEST(Hash, Fnv1aGoesOnFromEarlierBytes) {
  constexpr std::string_view kRest = "bar";
  EXPECT_EQ(fnv1a(std::as_bytes(std::span(kRest)), fnv1a_of("foo")), fnv1a_of("foobar"));
}

TEST(Hash, EachBitAffectsAboutHalfOfTheFinalizedBits) {
  for (int bit = 0; bit < 64; ++bit) {
    int changed = 0;
    for (std::uint64_t number = 0; number < 1000; ++number) {
      changed += std::popcount(finalized(number) ^ finalized(number ^ std::uint64_t{1} << bit));
    }
    EXPECT_NEAR(changed, 32'000, 1'000) << "bit " << bit;
  }
}

}  // namespace
}  // namespace sluice
