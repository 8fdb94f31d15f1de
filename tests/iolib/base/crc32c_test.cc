#include "iolib/base/crc32c.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace sluice {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST(Crc32c, KnowsTheValuesOfRfc3720) {
  EXPECT_EQ(crc32c(bytes_of("123456789")), 0xE3069283U);
  const std::array<std::byte, 32> zeros{};
  EXPECT_EQ(crc32c(zeros), 0x8A9136AAU);
  EXPECT_EQ(crc32c({}), 0U);
}

TEST(Crc32c, GoesOnFromWhatCameBefore) {
  const std::uint32_t first = crc32c(bytes_of("1234"));
  EXPECT_EQ(crc32c(bytes_of("56789"), first), 0xE3069283U);
}

TEST(Crc32c, CombinesTheValuesOfTwoParts) {
  std::vector<std::byte> data(200'000);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i * i + i / 251);
  const std::span<const std::byte> all = data;
  for (const std::size_t cut : {0U, 1U, 7U, 4096U, 65'537U, 199'999U, 200'000U}) {
    const std::uint32_t a = crc32c(all.first(cut));
    const std::uint32_t b = crc32c(all.subspan(cut));
    EXPECT_EQ(crc32c_combine(a, b, all.size() - cut), crc32c(all)) << cut;
  }
}

}  // namespace
}  // namespace sluice
