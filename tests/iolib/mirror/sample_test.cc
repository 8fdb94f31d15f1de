#include "iolib/mirror/sample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

namespace sluice::mirror {
namespace {

std::uint64_t hash_of(const std::string& host, std::uint16_t port) {
  return sample_hash(*numeric_address({host, port}));
}

// Computed by another program from the man page's words. A choice that changed with a version would
// not be reproducible.
TEST(Sample, HashesAreTheSameForEver) {
  EXPECT_EQ(hash_of("127.0.0.1", 40'000), 0x6a9045744d117367U);
  EXPECT_EQ(hash_of("10.1.2.3", 1), 0x81081fda2db42bedU);
  EXPECT_EQ(hash_of("2001:db8::1", 65'535), 0x18709e7d0ea92865U);
  EXPECT_EQ(sample_hash(std::uint64_t{1}), 0xd4ad0eb39c50357U);
  EXPECT_EQ(sample_hash(std::uint64_t{2} << 48 | 3), 0x400b56899d420932U);
}

TEST(Sample, AMappedAddressIsTheIpv4Address) {
  sockaddr_in6 mapped{};
  mapped.sin6_family = AF_INET6;
  mapped.sin6_port = htons(40'000);
  mapped.sin6_addr.s6_addr[10] = mapped.sin6_addr.s6_addr[11] = 0xff;
  mapped.sin6_addr.s6_addr[12] = 127;
  mapped.sin6_addr.s6_addr[15] = 1;
  const auto* address = reinterpret_cast<const sockaddr*>(&mapped);
  EXPECT_EQ(sample_hash(SocketAddress::from(address, sizeof mapped)), hash_of("127.0.0.1", 40'000));
}

TEST(Sample, TheWholeShareIsEverybodyAndLessHasItsShareOfPortsInARow) {
  for (const std::uint32_t share : {1'000U, 100'000U, 500'000U, kWholeShare}) {
    std::uint32_t chosen = 0;
    std::uint32_t longest_run = 0;
    std::uint32_t run = 0;
    constexpr std::uint32_t kPorts = 60'000;
    for (std::uint32_t port = 1; port <= kPorts; ++port) {
      const bool in = in_sample(hash_of("192.0.2.7", static_cast<std::uint16_t>(port)), share);
      chosen += in ? 1U : 0U;
      run = in ? run + 1 : 0;
      longest_run = std::max(longest_run, run);
    }
    const double expected = static_cast<double>(share) / kWholeShare * kPorts;
    EXPECT_NEAR(chosen, expected, 5 * std::sqrt(expected)) << share;
    if (share <= 100'000) {
      EXPECT_LT(longest_run, 9U) << share;
    }
    if (share == kWholeShare) {
      EXPECT_EQ(chosen, kPorts);
    }
  }
}

TEST(Sample, ALargerShareHasAllOfASmallerOne) {
  for (std::uint64_t number = 0; number < 10'000; ++number) {
    const std::uint64_t hash = sample_hash(number);
    if (in_sample(hash, 50'000)) {
      EXPECT_TRUE(in_sample(hash, 300'000));
    }
  }
}

}  // namespace
}  // namespace sluice::mirror
