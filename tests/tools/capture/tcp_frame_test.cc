#include "tools/capture/tcp_frame.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "tests/support/capture_builder.h"
#include "tests/support/settings.h"

namespace sluice::capture {
namespace {

// The sum as RFC 1071 defines it, over words in network byte order.
std::uint32_t plain_sum(std::span<const std::byte> bytes, std::uint32_t sum = 0) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = std::to_integer<std::uint32_t>(bytes[i]);
    sum += i % 2 == 0 ? byte << 8 : byte;
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return sum;
}

std::vector<std::byte> frame_of(const TcpPath& path, const TcpSegment& segment) {
  TcpPath::Head head{};
  const auto bytes = path.head(segment, head);
  std::vector<std::byte> frame(bytes.begin(), bytes.end());
  frame.insert(frame.end(), segment.payload.begin(), segment.payload.end());
  return frame;
}

std::uint32_t number_at(std::span<const std::byte> bytes, std::size_t at, std::size_t size) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < size; ++i) {
    value = value << 8 | std::to_integer<std::uint32_t>(bytes[at + i]);
  }
  return value;
}

constexpr std::size_t kIp = 14;

// Whether a frame's checksums are right: everything that each one covers adds up to ones.
void expect_good_checksums(std::span<const std::byte> frame, bool v6) {
  const std::size_t ip_bytes = v6 ? 40 : 20;
  if (!v6) {
    EXPECT_EQ(plain_sum(frame.subspan(kIp, ip_bytes)), 0xffffU);
  }
  const auto tcp = frame.subspan(kIp + ip_bytes);
  const auto addresses = v6 ? frame.subspan(kIp + 8, 32) : frame.subspan(kIp + 12, 8);
  EXPECT_EQ(number_at(frame, v6 ? kIp + 4 : kIp + 2, 2) + (v6 ? ip_bytes : 0), frame.size() - kIp);
  const std::uint32_t pseudo = plain_sum(addresses, static_cast<std::uint32_t>(tcp.size()) + 6);
  EXPECT_EQ(plain_sum(tcp, pseudo), 0xffffU);
}

SocketAddress address(const std::string& host, std::uint16_t port) {
  return *numeric_address({host, port});
}

TEST(Checksum, OfTheExampleOfRfc1071) {
  const std::vector<std::byte> bytes = {std::byte{0x00}, std::byte{0x01}, std::byte{0xf2},
                                        std::byte{0x03}, std::byte{0xf4}, std::byte{0xf5},
                                        std::byte{0xf6}, std::byte{0xf7}};
  const std::uint16_t checksum = folded_checksum(add_to_checksum(bytes, 0));
  std::array<std::byte, 2> in_memory{};
  std::memcpy(in_memory.data(), &checksum, in_memory.size());
  EXPECT_EQ(number_at(in_memory, 0, 2), 0xffffU - 0xddf2U);
}

TEST(TcpPath, HasGoodChecksumsWhateverItCarries) {
  std::mt19937_64 random(test::seed());
  for (const bool v6 : {false, true}) {
    const TcpPath path(v6 ? address("2001:db8::1", 4000) : address("10.0.0.1", 4000),
                       v6 ? address("fe80::2", 80) : address("192.168.255.254", 80));
    for (int round = 0; round < 300; ++round) {
      const std::size_t size =
          round == 0 ? TcpPath::kMostPayloadBytes : random() % (std::size_t{1} << random() % 15);
      const auto payload = test::random_bytes(size, random());
      const TcpSegment segment{random() % 2 == 0 ? Side::client : Side::upstream,
                               static_cast<std::uint32_t>(random()),
                               static_cast<std::uint32_t>(random()),
                               static_cast<std::uint8_t>(random() & 0x1f), payload};
      const auto frame = frame_of(path, segment);
      expect_good_checksums(frame, v6);
      const std::size_t tcp = kIp + (v6 ? 40 : 20);
      EXPECT_EQ(number_at(frame, tcp, 2), segment.from == Side::client ? 4000U : 80U);
      EXPECT_EQ(number_at(frame, tcp + 4, 4), segment.sequence);
      EXPECT_EQ(number_at(frame, tcp + 8, 4), segment.acknowledged);
      EXPECT_EQ(number_at(frame, tcp + 13, 1), segment.flags);
      ASSERT_GE(frame.size(), tcp + number_at(frame, tcp + 12, 1) / 16 * 4 + size);
    }
  }
}

TEST(TcpPath, BetweenAFourAndASixMapsTheFour) {
  const TcpPath path(address("10.1.2.3", 4000), address("::1", 80));
  const auto frame = frame_of(path, {});
  expect_good_checksums(frame, true);
  EXPECT_EQ(number_at(frame, 12, 2), 0x86ddU);
  EXPECT_EQ(number_at(frame, kIp + 8 + 10, 2), 0xffffU);
  EXPECT_EQ(number_at(frame, kIp + 8 + 12, 4), 0x0a010203U);
}

}  // namespace
}  // namespace sluice::capture
