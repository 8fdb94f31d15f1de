#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "iolib/base/address.h"
#include "iolib/capture/format.h"

namespace sluice::capture {

/// Adds bytes to a sum for the Internet checksum (RFC 1071), in the machine's byte order. All but
/// the last are a multiple of 4 bytes.
[[nodiscard]] std::uint64_t add_to_checksum(std::span<const std::byte> bytes, std::uint64_t sum);
/// What stands for the sum in a header, as it is to lie in memory.
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

/// Two peers, and the frames that they would send each other over Ethernet: with good checksums,
/// from 02:00:00:00:00:01 (the client) and 02:00:00:00:00:02. IPv6, if one of them has it: the
/// other's address is then mapped (::ffff:10.0.0.1).
class TcpPath {
 public:
  /// So much fits in an IPv4 packet, with a few headers; both halves of a record's payload do.
  static constexpr std::size_t kMostPayloadBytes = 32 << 10;
  static constexpr std::size_t kMostHeadBytes = 14 + 40 + 20 + 8;
  using Head = std::array<std::byte, kMostHeadBytes>;

  /// Both IPv4 or IPv6.
  TcpPath(const SocketAddress& client, const SocketAddress& upstream);
  /// All of the segment's frame before its payload, in `to`.
  [[nodiscard]] std::span<const std::byte> head(const TcpSegment& segment, Head& to) const;

 private:
  using Address = std::array<std::byte, 16>;
  [[nodiscard]] std::size_t put_ip(const TcpSegment& segment, std::size_t tcp_bytes,
                                   std::span<std::byte> to) const;

  bool v6_;
  std::array<Address, 2> addresses_{};    // by Side; IPv4 in the first four
  std::array<std::uint16_t, 2> ports_{};  // by Side
};

}  // namespace sluice::capture
