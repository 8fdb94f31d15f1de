#include "iolib/balance/prefix_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "tests/support/settings.h"

namespace sluice::balance {
namespace {

using Blocks = std::vector<Prefix>;

Blocks blocks(const std::vector<std::string>& texts) {
  Blocks all;
  for (const std::string& each : texts) all.push_back(Prefix::parse(each).value());
  return all;
}

SocketAddress host(const std::string& text) {
  const SocketAddress address = numeric_address({text, 80}).value();
  return SocketAddress::from(address.data(), address.size_bytes());
}

PrefixSet set_of(const std::vector<std::string>& allowed, const std::vector<std::string>& denied) {
  return PrefixSet(blocks(allowed), blocks(denied));
}

/// What the set must say, by looking through all blocks.
bool model(const Blocks& allowed, const Blocks& denied, const SocketAddress& address) {
  const auto longest = [&](const Blocks& list) {
    int bits = -1;
    for (const Prefix& each : list) {
      if (each.contains(address)) bits = std::max(bits, static_cast<int>(each.bits()));
    }
    return bits;
  };
  const int usual = allowed.empty() ? 0 : -1;
  return std::max(longest(allowed), usual) > longest(denied);
}

TEST(PrefixSetTest, WithoutListsEverybodyMayComeIn) {
  const PrefixSet set = set_of({}, {});
  EXPECT_TRUE(set.allows(host("10.0.0.1")));
  EXPECT_TRUE(set.allows(host("::1")));
  EXPECT_TRUE(set.allows(SocketAddress()));
}

TEST(PrefixSetTest, WhoIsDeniedMayNotAndOthersMay) {
  const PrefixSet set = set_of({}, {"10.0.0.0/8", "2001:db8::/32"});
  EXPECT_FALSE(set.allows(host("10.0.0.0")));
  EXPECT_FALSE(set.allows(host("10.255.255.255")));
  EXPECT_TRUE(set.allows(host("9.255.255.255")));
  EXPECT_TRUE(set.allows(host("11.0.0.0")));
  EXPECT_FALSE(set.allows(host("2001:db8:ffff::1")));
  EXPECT_TRUE(set.allows(host("2001:db9::")));
  EXPECT_TRUE(set.allows(SocketAddress()));
}

TEST(PrefixSetTest, AnyAllowedBlockDeniesEverybodyElseOfEveryFamily) {
  const PrefixSet set = set_of({"10.0.0.0/8"}, {});
  EXPECT_TRUE(set.allows(host("10.1.2.3")));
  EXPECT_FALSE(set.allows(host("11.0.0.1")));
  EXPECT_FALSE(set.allows(host("::1")));
  EXPECT_FALSE(set.allows(SocketAddress()));
}

TEST(PrefixSetTest, TheMostSpecificBlockCounts) {
  const PrefixSet set = set_of({"10.1.0.0/16", "10.1.2.3"}, {"10.0.0.0/8", "10.1.2.0/24"});
  EXPECT_FALSE(set.allows(host("10.2.0.0")));
  EXPECT_TRUE(set.allows(host("10.1.1.255")));
  EXPECT_FALSE(set.allows(host("10.1.2.2")));
  EXPECT_TRUE(set.allows(host("10.1.2.3")));
  EXPECT_FALSE(set.allows(host("10.1.2.4")));
  EXPECT_TRUE(set.allows(host("10.1.3.0")));
}

TEST(PrefixSetTest, OfEqualBlocksTheOneThatDeniesCounts) {
  const PrefixSet set = set_of({"10.0.0.0/8", "::/0", "unix:"}, {"10.0.0.0/8", "::/0", "unix:"});
  EXPECT_FALSE(set.allows(host("10.1.2.3")));
  EXPECT_FALSE(set.allows(host("::")));
  EXPECT_FALSE(set.allows(SocketAddress()));
}

TEST(PrefixSetTest, AMappedAddressIsIpv4) {
  const PrefixSet set = set_of({}, {"::ffff:10.0.0.0/104", "192.0.2.1"});
  EXPECT_FALSE(set.allows(host("10.1.2.3")));
  EXPECT_FALSE(set.allows(host("::ffff:10.1.2.3")));
  EXPECT_FALSE(set.allows(host("::ffff:192.0.2.1")));
  EXPECT_TRUE(set_of({}, {"::/0"}).allows(host("192.0.2.1")));
}

TEST(PrefixSetTest, TheFirstAndTheLastAddressAreLikeOthers) {
  const std::string last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
  const PrefixSet set = set_of({}, {"0.0.0.0", "255.255.255.255", "::", last});
  for (const char* each : {"0.0.0.0", "255.255.255.255", "::", last.c_str()}) {
    EXPECT_FALSE(set.allows(host(each))) << each;
  }
  for (const char* each : {"0.0.0.1", "255.255.255.254", "::1", "ffff::"}) {
    EXPECT_TRUE(set.allows(host(each))) << each;
  }
}

TEST(PrefixSetTest, UnixClientsHaveABlockOfTheirOwn) {
  EXPECT_TRUE(set_of({"unix:"}, {}).allows(SocketAddress()));
  EXPECT_FALSE(set_of({"unix:"}, {}).allows(host("127.0.0.1")));
  EXPECT_FALSE(set_of({}, {"unix:"}).allows(SocketAddress()));
}

TEST(PrefixSetTest, SetsAreEqualIfTheyLetTheSameClientsIn) {
  EXPECT_EQ(set_of({}, {"10.0.0.0/8"}), set_of({}, {"10.128.0.0/9", "10.0.0.0/9"}));
  EXPECT_NE(set_of({}, {"10.0.0.0/8"}), set_of({}, {"10.0.0.0/9"}));
  EXPECT_NE(set_of({}, {"10.0.0.0/8"}), set_of({"10.0.0.0/8"}, {}));
  EXPECT_NE(set_of({}, {"unix:"}), set_of({}, {}));
}

/// Few bits vary, so that blocks often contain each other, are equal, or touch.
std::string random_block(std::mt19937_64& random, bool is_v6, bool only_host) {
  const unsigned varied = static_cast<unsigned>(random() % 4096);
  const unsigned bits = only_host ? 12 : static_cast<unsigned>(random() % 13);
  const unsigned place = varied & ~((1U << (12 - bits)) - 1);
  const std::string length = only_host ? "" : "/" + std::to_string((is_v6 ? 58 : 14) + bits);
  if (!is_v6) {
    const unsigned number = place << 6;  // the bits 14 to 26 of the address
    return "10." + std::to_string(number >> 16 & 3) + "." + std::to_string(number >> 8 & 0xff) +
           "." + std::to_string(number & 0xff) + length;
  }
  std::array<char, 64> text{};  // the bits 58 to 70: on both sides of the middle
  std::snprintf(text.data(), text.size(), "2001:db8:0:%x:%x::", place >> 6, (place & 63) << 10);
  return text.data() + length;
}

TEST(PrefixSetTest, RandomListsAgreeWithALookThroughAllBlocks) {
  std::mt19937_64 random(21);
  for (int round = 0; round < 300; ++round) {
    Blocks allowed;
    Blocks denied;
    const std::size_t count = random() % 200;
    for (std::size_t i = 0; i < count; ++i) {
      Blocks& list = round % 3 != 0 && random() % 2 == 0 ? allowed : denied;
      list.push_back(Prefix::parse(random_block(random, random() % 2 == 0, false)).value());
    }
    const PrefixSet set(allowed, denied);
    for (int i = 0; i < 200; ++i) {
      const SocketAddress address = host(random_block(random, random() % 2 == 0, true));
      ASSERT_EQ(set.allows(address), model(allowed, denied, address))
          << address.to_string() << " in round " << round;
    }
  }
}

TEST(PrefixSetTest, HostsOfFewNetworksAreToldApart) {
  Blocks denied;
  const auto text_of = [](unsigned network, unsigned host) {
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), "2001:db8:0:%x::%x:%x", network, host >> 16,
                  host & 0xffff);
    return std::string(text.data());
  };
  for (unsigned network = 0; network < 3; ++network) {
    for (unsigned i = 0; i < 5'000; ++i) {
      denied.push_back(Prefix::parse(text_of(network, 3 * i + network)).value());
    }
  }
  const PrefixSet set({}, denied);
  for (unsigned network = 0; network < 3; ++network) {
    for (unsigned host_of = 0; host_of < 15'003; ++host_of) {
      const bool is_denied =
          host_of >= network && host_of < 15'000 + network && (host_of - network) % 3 == 0;
      ASSERT_EQ(set.allows(host(text_of(network, host_of))), !is_denied)
          << text_of(network, host_of);
    }
  }
}

/// Also if one was built on the way of longer blocks that others outweigh.
TEST(PrefixSetTest, SetsThatAllowTheSameAreEqual) {
  EXPECT_EQ(set_of({}, {"2001:db8::/32"}), set_of({}, {"2001:db8::/32", "2001:db8::1"}));
  EXPECT_EQ(set_of({}, {"2001:db8::/64"}),
            set_of({}, {"2001:db8::/65", "2001:db8::8000:0:0:0/65"}));
  EXPECT_FALSE(set_of({}, {"2001:db8::/64"}) == set_of({}, {"2001:db8::/63"}));
}

TEST(PrefixSetTest, AMillionBlocksTake32MiBAtMost) {
  Blocks denied;
  const auto count = test::by_scale<unsigned>(200'000, 1'000'000, 1'000'000);
  for (unsigned i = 0; i < count; ++i) {
    std::array<char, 64> text{};  // every other /64, so that no two are one range
    std::snprintf(text.data(), text.size(), "2001:%x:%x:%x::/64", i >> 16, i & 0xffff, i & 2);
    denied.push_back(Prefix::parse(text.data()).value());
  }
  const PrefixSet set({}, denied);
  EXPECT_LE(set.size_bytes(), (std::size_t{32} << 20) * count / 1'000'000);
  // One of the last blocks, and what is beside it.
  const std::string near_end = test::by_scale("2001:2:ffff:", "2001:7:ffff:", "2001:7:ffff:");
  EXPECT_FALSE(set.allows(host(near_end + "2::1")));
  EXPECT_TRUE(set.allows(host(near_end + "3::1")));
}

}  // namespace
}  // namespace sluice::balance
