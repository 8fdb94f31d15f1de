#include "tools/bench/protocol.h"

#include <gtest/gtest.h>

#include <random>

namespace sluice::bench {
namespace {

TEST(HelloTest, ComesBackAsItWasSent) {
  Hello hello;
  hello.role = Role::stream;
  hello.send = true;
  hello.plain = true;
  hello.verify = true;
  hello.closes = true;
  hello.threaded = true;
  hello.size_bytes = 70'000;
  hello.number = 12'345;
  hello.run = 0x0123456789abcdef;
  hello.limit = 1ULL << 40;
  hello.proxy_header = 2;
  hello.name = kMaxNames;
  hello.client = 0x7f000105;
  EXPECT_EQ(decode(encode(hello)), hello);
  EXPECT_EQ(decode(encode(Hello{})), Hello{});
}

TEST(HelloTest, OnTheWire) {
  Hello hello;
  hello.role = Role::echo;
  hello.receive = true;
  hello.size_bytes = 0x0102;
  hello.number = 7;
  const Hello::Bytes bytes = encode(hello);
  EXPECT_EQ(std::string(bytes.data(), 14), std::string("SLB1\x02\x02\0\0\x02\x01\0\0\x07\0", 14));
}

TEST(HelloTest, AnythingElseIsNone) {
  const Hello::Bytes good = encode(Hello{});
  std::mt19937 random(1);
  for (std::size_t i = 0; i < good.size(); ++i) {
    // The run, the limit and the client may have any value.
    if ((i >= 16 && i < 32) || i >= 36) continue;
    for (int tries = 0; tries < 20; ++tries) {
      Hello::Bytes bad = good;
      bad[i] = static_cast<char>(random());
      const auto decoded = decode(bad);
      EXPECT_TRUE(!decoded || encode(*decoded) == bad) << "byte " << i;
    }
  }
  Hello::Bytes bad = good;
  bad[0] = 'X';
  EXPECT_FALSE(decode(bad).has_value());
  bad = good;
  bad[4] = 4;
  EXPECT_FALSE(decode(bad).has_value()) << "an unknown role";
  bad = good;
  bad[5] = 64;
  EXPECT_FALSE(decode(bad).has_value()) << "an unknown flag";
  bad = good;
  bad[33] = 1;
  EXPECT_FALSE(decode(bad).has_value()) << "what has to be zero";
}

TEST(HelloTest, BeyondTheBoundsIsNone) {
  Hello hello;
  hello.size_bytes = 0;
  EXPECT_FALSE(decode(encode(hello)).has_value());
  hello.size_bytes = kMaxMessageBytes + 1;
  EXPECT_FALSE(decode(encode(hello)).has_value());
  hello = {};
  hello.number = kMaxRunConnections;
  EXPECT_FALSE(decode(encode(hello)).has_value());
  hello = {};
  hello.name = kMaxNames + 1;
  EXPECT_FALSE(decode(encode(hello)).has_value());
}

}  // namespace
}  // namespace sluice::bench
