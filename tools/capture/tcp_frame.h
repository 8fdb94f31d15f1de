#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "iolib/base/address.h"
#include "iolib/capture/format.h"

namespace sluice::capture {

/// Adds bytes to a sum for the Internet checksum (RFC 1071), in host byte order. Every span except
/// the last must be a multiple of 4 bytes long.
[[nodiscard]] std::uint64_t add_to_checksum(std::span<const std::byte> bytes, std::uint64_t sum);
/// The checksum for a header, in the byte order in which it is stored.
[[nodiscard]] std::uint16_t folded_checksum(std::uint64_t sum);

/// A TCP segment of one side.
struct TcpSegment {
  static constexpr std::uint8_t kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16;
  Side from = Side::client;
  std::uint32_t sequence = 0;
  std::uint32_t acknowledged = 0;
  std::uint8_t flags = kAck;
  std::span<const std::byte> payload = {};
};

/// Builds the Ethernet frames that two peers would exchange, with valid checksums. The client's MAC
/// address is 02:00:00:00:00:01, the upstream's 02:00:00:00:00:02. If one peer has an IPv6 address,
/// the other's is mapped to IPv6 (::ffff:10.0.0.1).
class TcpPath {
 public:
  /// Fits in an IPv4 packet with all headers. A record's payload fits in two frames.
  static constexpr std::size_t kMostPayloadBytes = 32 << 10;
  static constexpr std::size_t kMostHeadBytes = 14 + 40 + 20 + 8;
  using Head = std::array<std::byte, kMostHeadBytes>;

  /// The smallest MTU that every IPv4 host accepts (RFC 791).
  static constexpr std::size_t kLeastMtuBytes = 576;
  static constexpr std::size_t kMostMtuBytes = 65535;

  /// Both addresses are IPv4 or IPv6. With `mtu_bytes`, kLeastMtuBytes to kMostMtuBytes, no IP
  /// packet is larger; 0: only kMostPayloadBytes applies.
  TcpPath(const SocketAddress& client, const SocketAddress& upstream, std::size_t mtu_bytes = 0);
  /// The most bytes in a segment. The SYNs announce it.
  [[nodiscard]] std::size_t most_payload_bytes() const { return most_payload_bytes_; }
  /// Writes the part of the segment's frame before its payload to `to`, and returns it.
  [[nodiscard]] std::span<const std::byte> head(const TcpSegment& segment, Head& to) const;

 private:
  using Address = std::array<std::byte, 16>;
  [[nodiscard]] std::size_t put_ip(const TcpSegment& segment, std::size_t tcp_bytes,
                                   std::span<std::byte> to) const;

  bool v6_;
  std::size_t most_payload_bytes_;
  std::array<Address, 2> addresses_{};    // by Side; IPv4 in the first four
  std::array<std::uint16_t, 2> ports_{};  // by Side
};

}  // namespace sluice::capture
