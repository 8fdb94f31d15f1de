#include "tools/capture/tcp_frame.h"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace sluice::capture {
namespace {

constexpr std::size_t kEthernetBytes = 14;
constexpr std::size_t kIpv4Bytes = 20;
constexpr std::size_t kIpv6Bytes = 40;
constexpr std::size_t kTcpBytes = 20;
constexpr std::size_t kSynOptionBytes = 8;
constexpr std::uint8_t kTcp = 6;
constexpr std::uint8_t kHops = 64;

// Writes a number in network byte order.
void put16(std::uint32_t value, std::byte* to) {
  to[0] = static_cast<std::byte>(value >> 8 & 0xff);
  to[1] = static_cast<std::byte>(value & 0xff);
}
void put32(std::uint32_t value, std::byte* to) {
  put16(value >> 16, to);
  put16(value & 0xffff, to + 2);
}

void put_checksum(std::uint64_t sum, std::byte* to) {
  const std::uint16_t checksum = folded_checksum(sum);
  std::memcpy(to, &checksum, sizeof checksum);
}

// The bytes of an address, as IPv4 or mapped to IPv6 (RFC 4291, section 2.5.5.2).
std::array<std::byte, 16> bytes_of(const SocketAddress& address, bool as_v6) {
  std::array<std::byte, 16> bytes{};
  if (address.family() == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address.data());
    std::memcpy(bytes.data(), &v6->sin6_addr, bytes.size());
    return bytes;
  }
  constexpr std::size_t kMappedAt = 12;
  const auto* v4 = reinterpret_cast<const sockaddr_in*>(address.data());
  std::memcpy(bytes.data() + (as_v6 ? kMappedAt : 0), &v4->sin_addr, sizeof v4->sin_addr);
  if (as_v6) bytes[10] = bytes[11] = std::byte{0xff};
  return bytes;
}

std::size_t payload_of(std::size_t mtu_bytes, bool v6) {
  if (mtu_bytes == 0) return TcpPath::kMostPayloadBytes;
  const std::size_t head_bytes = (v6 ? kIpv6Bytes : kIpv4Bytes) + kTcpBytes;
  return std::min(mtu_bytes - head_bytes, TcpPath::kMostPayloadBytes);
}

void put_ethernet(Side from, bool v6, std::byte* to) {
  std::fill_n(to, kEthernetBytes, std::byte{0});
  to[0] = to[6] = std::byte{2};  // locally administered
  to[5] = std::byte{from == Side::client ? std::uint8_t{2} : std::uint8_t{1}};
  to[11] = std::byte{from == Side::client ? std::uint8_t{1} : std::uint8_t{2}};
  put16(v6 ? 0x86dd : 0x0800, to + 12);
}

}  // namespace

std::uint64_t add_to_checksum(std::span<const std::byte> bytes, std::uint64_t sum) {
  // 32-bit words work: a carry out of the lower half goes into the upper half (RFC 1071, section
  // 2).
  std::size_t at = 0;
  for (; at + sizeof(std::uint32_t) <= bytes.size(); at += sizeof(std::uint32_t)) {
    std::uint32_t word = 0;
    std::memcpy(&word, bytes.data() + at, sizeof word);
    sum += word;
  }
  std::uint32_t rest = 0;
  if (at < bytes.size()) std::memcpy(&rest, bytes.data() + at, bytes.size() - at);
  return sum + rest;
}

std::uint16_t folded_checksum(std::uint64_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

TcpPath::TcpPath(const SocketAddress& client, const SocketAddress& upstream, std::size_t mtu_bytes)
    : v6_(client.family() == AF_INET6 || upstream.family() == AF_INET6),
      most_payload_bytes_(payload_of(mtu_bytes, v6_)),
      addresses_{bytes_of(client, v6_), bytes_of(upstream, v6_)},
      ports_{client.port(), upstream.port()} {}

std::size_t TcpPath::put_ip(const TcpSegment& segment, std::size_t tcp_bytes,
                            std::span<std::byte> to) const {
  const Address& source = addresses_[static_cast<std::size_t>(segment.from)];
  const Address& target = addresses_[1 - static_cast<std::size_t>(segment.from)];
  if (v6_) {
    std::fill_n(to.begin(), 8, std::byte{0});
    to[0] = std::byte{0x60};
    put16(static_cast<std::uint32_t>(tcp_bytes), &to[4]);
    to[6] = std::byte{kTcp};
    to[7] = std::byte{kHops};
    std::ranges::copy(source, &to[8]);
    std::ranges::copy(target, &to[24]);
    return kIpv6Bytes;
  }
  std::fill_n(to.begin(), kIpv4Bytes, std::byte{0});
  to[0] = std::byte{0x45};
  put16(static_cast<std::uint32_t>(kIpv4Bytes + tcp_bytes), &to[2]);
  to[6] = std::byte{0x40};  // don't fragment
  to[8] = std::byte{kHops};
  to[9] = std::byte{kTcp};
  std::copy_n(source.begin(), 4, &to[12]);
  std::copy_n(target.begin(), 4, &to[16]);
  put_checksum(add_to_checksum(to.first(kIpv4Bytes), 0), &to[10]);
  return kIpv4Bytes;
}

std::span<const std::byte> TcpPath::head(const TcpSegment& segment, Head& to) const {
  const bool syn = (segment.flags & TcpSegment::kSyn) != 0;
  const std::size_t tcp_head_bytes = kTcpBytes + (syn ? kSynOptionBytes : 0);
  const std::size_t tcp_bytes = tcp_head_bytes + segment.payload.size();
  put_ethernet(segment.from, v6_, to.data());
  const std::size_t ip_bytes = put_ip(segment, tcp_bytes, std::span(to).subspan(kEthernetBytes));
  std::byte* tcp = &to[kEthernetBytes + ip_bytes];
  std::fill_n(tcp, tcp_head_bytes, std::byte{0});
  put16(ports_[static_cast<std::size_t>(segment.from)], tcp);
  put16(ports_[1 - static_cast<std::size_t>(segment.from)], tcp + 2);
  put32(segment.sequence, tcp + 4);
  put32(segment.acknowledged, tcp + 8);
  tcp[12] = static_cast<std::byte>(tcp_head_bytes / 4 << 4);
  tcp[13] = std::byte{segment.flags};
  put16(0xffff, tcp + 14);  // the window
  if (syn) {
    constexpr std::uint32_t kSegmentOption = 2U << 24 | 4U << 16;
    constexpr std::uint32_t kScaleOption = 1U << 24 | 3U << 16 | 3U << 8;
    constexpr std::uint32_t kMostScale = 14;
    put32(kSegmentOption | static_cast<std::uint32_t>(most_payload_bytes_), tcp + kTcpBytes);
    put32(kScaleOption | kMostScale, tcp + kTcpBytes + 4);
  }
  // The pseudo header that the checksum also covers (RFC 9293, section 3.1; RFC 8200, section 8.1).
  std::array<std::byte, 8> pseudo{};
  put32(static_cast<std::uint32_t>(tcp_bytes), pseudo.data());
  pseudo[7] = std::byte{kTcp};
  const std::size_t address_bytes = v6_ ? 16 : 4;
  std::uint64_t sum = add_to_checksum(pseudo, 0);
  for (const Address& address : addresses_) {
    sum = add_to_checksum(std::span(address).first(address_bytes), sum);
  }
  sum = add_to_checksum({tcp, tcp_head_bytes}, sum);
  put_checksum(add_to_checksum(segment.payload, sum), tcp + 16);
  return std::span(to).first(kEthernetBytes + ip_bytes + tcp_head_bytes);
}

}  // namespace sluice::capture
