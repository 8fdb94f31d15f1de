#include "tools/capture/pcapng.h"

#include <algorithm>
#include <array>
#include <vector>

namespace sluice::capture {
namespace {

// --- Kinds of blocks, and their options ---
constexpr std::uint32_t kSectionHeader = 0x0A0D0D0A;
constexpr std::uint32_t kInterface = 1;
constexpr std::uint32_t kStatistics = 5;
constexpr std::uint32_t kEnhancedPacket = 6;
constexpr std::uint32_t kSecrets = 10;

constexpr std::uint16_t kEndOfOptions = 0;
constexpr std::uint16_t kComment = 1;
constexpr std::uint16_t kSectionProgram = 4;
constexpr std::uint16_t kInterfaceName = 2;
constexpr std::uint16_t kInterfaceTimeUnit = 9;
constexpr std::uint16_t kPacketFlags = 2;
constexpr std::uint16_t kPacketDropped = 4;
constexpr std::uint16_t kStatisticsFirst = 2;
constexpr std::uint16_t kStatisticsLast = 3;
constexpr std::uint16_t kStatisticsFrames = 4;
constexpr std::uint16_t kStatisticsDropped = 5;

constexpr std::uint32_t kTlsKeyLog = 0x544C534B;  // "TLSK"

constexpr std::uint32_t kByteOrder = 0x1A2B3C4D;
constexpr std::uint16_t kEthernet = 1;
constexpr std::uint8_t kNanoseconds = 9;  // a decimal exponent: 10^-9 s

constexpr std::size_t kGrid = 4;
constexpr std::size_t padding(std::size_t bytes) { return (kGrid - bytes % kGrid) % kGrid; }
constexpr std::array<std::byte, kGrid> kZeros{};

// Builds a part of a block, in little-endian order.
class Part {
 public:
  Part& u16(std::uint16_t value) { return number(value, 2); }
  Part& u32(std::uint32_t value) { return number(value, 4); }
  Part& u64(std::uint64_t value) { return number(value, 8); }
  // A time has two 32-bit numbers, the upper half first.
  Part& time(std::uint64_t value) {
    return u32(static_cast<std::uint32_t>(value >> 32)).u32(static_cast<std::uint32_t>(value));
  }
  Part& option(std::uint16_t code, std::size_t bytes) {
    return u16(code).u16(static_cast<std::uint16_t>(bytes));
  }
  Part& text_option(std::uint16_t code, std::string_view text) {
    constexpr std::size_t kMostBytes = 4096;
    text = text.substr(0, kMostBytes);
    option(code, text.size());
    for (const char c : text) bytes_.push_back(static_cast<std::byte>(c));
    bytes_.resize(bytes_.size() + padding(text.size()));
    return *this;
  }
  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

 private:
  Part& number(std::uint64_t value, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
      bytes_.push_back(static_cast<std::byte>(value >> (8 * i) & 0xff));
    }
    return *this;
  }
  std::vector<std::byte> bytes_;
};

// The type, and the length twice: before and after the body.
constexpr std::size_t kFrameOfBlock = 12;

void write_block(OutStream& out, std::uint32_t type, const Part& body) {
  const auto size = static_cast<std::uint32_t>(body.bytes().size() + kFrameOfBlock);
  out.append(Part().u32(type).u32(size).bytes());
  out.append(body.bytes());
  out.append(Part().u32(size).bytes());
}

// Writes one number of an enhanced packet block. It avoids Part's allocation, because there are
// many of these blocks.
std::byte* put(std::uint32_t value, std::byte* to) {
  for (std::size_t i = 0; i < sizeof value; ++i) *to++ = static_cast<std::byte>(value >> (8 * i));
  return to;
}

}  // namespace

PcapngWriter::PcapngWriter(OutStream& out) : out_(out) {
  Part body;
  body.u32(kByteOrder).u16(1).u16(0).u64(~std::uint64_t{0});  // the section's length is unspecified
  body.text_option(kSectionProgram, "sluice-capture " SLUICE_VERSION).option(kEndOfOptions, 0);
  write_block(out_, kSectionHeader, body);
}

void PcapngWriter::write_secrets(std::string_view keylog) {
  constexpr std::size_t kFixedBytes = 8;  // the type and the length of the secrets
  const std::size_t padding_bytes = padding(keylog.size());
  const auto size =
      static_cast<std::uint32_t>(kFrameOfBlock + kFixedBytes + keylog.size() + padding_bytes);
  out_.append(Part().u32(kSecrets).u32(size).bytes());
  out_.append(Part().u32(kTlsKeyLog).u32(static_cast<std::uint32_t>(keylog.size())).bytes());
  out_.append(keylog);
  out_.append(std::span(kZeros).first(padding_bytes));
  out_.append(Part().u32(size).bytes());
}

std::uint32_t PcapngWriter::add_interface(std::string_view name) {
  Part body;
  body.u16(kEthernet).u16(0).u32(0);  // frames of any length
  body.text_option(kInterfaceName, name);
  body.option(kInterfaceTimeUnit, 1).u32(kNanoseconds).option(kEndOfOptions, 0);
  write_block(out_, kInterface, body);
  return interfaces_++;
}

void PcapngWriter::write(const Frame& frame) {
  const std::size_t frame_bytes = frame.head.size() + frame.payload.size();
  Part more;
  if (frame.dropped > 0) more.option(kPacketDropped, 8).u64(frame.dropped);
  if (!frame.comment.empty()) more.text_option(kComment, frame.comment);
  constexpr std::size_t kFixedBytes = 28;
  constexpr std::size_t kFlagsBytes = 8;
  constexpr std::size_t kTailBytes = 8;
  const auto size = static_cast<std::uint32_t>(kFixedBytes + frame_bytes + padding(frame_bytes) +
                                               kFlagsBytes + more.bytes().size() + kTailBytes);
  std::array<std::byte, kFixedBytes> fixed{};
  std::byte* at = fixed.data();
  for (const std::uint32_t value :
       {kEnhancedPacket, size, frame.interface, static_cast<std::uint32_t>(frame.wall_ns >> 32),
        static_cast<std::uint32_t>(frame.wall_ns), static_cast<std::uint32_t>(frame_bytes),
        static_cast<std::uint32_t>(frame_bytes)}) {
    at = put(value, at);
  }
  out_.append(fixed);
  out_.append(frame.head);
  out_.append(frame.payload);
  out_.append(std::span(kZeros).first(padding(frame_bytes)));
  std::array<std::byte, kFlagsBytes> flags{};
  put(static_cast<std::uint32_t>(frame.direction), put(kPacketFlags | 4U << 16, flags.data()));
  out_.append(flags);
  out_.append(more.bytes());
  std::array<std::byte, kTailBytes> tail{};
  put(size, put(kEndOfOptions, tail.data()));
  out_.append(tail);
}

void PcapngWriter::write(std::uint32_t interface, const Statistics& statistics) {
  Part body;
  body.u32(interface).time(statistics.last_ns);
  body.option(kStatisticsFirst, 8).time(statistics.first_ns);
  body.option(kStatisticsLast, 8).time(statistics.last_ns);
  body.option(kStatisticsFrames, 8).u64(statistics.frames);
  body.option(kStatisticsDropped, 8).u64(statistics.dropped).option(kEndOfOptions, 0);
  write_block(out_, kStatistics, body);
}

}  // namespace sluice::capture
