#include "tools/bench/protocol.h"

#include <cstring>
#include <string_view>

namespace sluice::bench {
namespace {

constexpr std::string_view kMagic = "SLB1";
constexpr std::size_t kRoleAt = 4;
constexpr std::size_t kFlagsAt = 5;
constexpr std::size_t kSizeAt = 8;
constexpr std::size_t kNumberAt = 12;
constexpr std::size_t kRunAt = 16;
constexpr std::size_t kLimitAt = 24;
constexpr std::size_t kProxyHeaderAt = 32;
constexpr std::size_t kNameAt = 34;
constexpr std::size_t kClientAt = 36;

constexpr unsigned kSend = 1;
constexpr unsigned kReceive = 2;
constexpr unsigned kPlain = 4;
constexpr unsigned kVerify = 8;
constexpr unsigned kCloses = 16;
constexpr unsigned kThreaded = 32;

void put(char* at, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) at[i] = static_cast<char>(value >> (8 * i));
}

std::uint64_t get(const char* at, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes; i-- > 0;) value = value << 8U | static_cast<unsigned char>(at[i]);
  return value;
}

}  // namespace

Hello::Bytes encode(const Hello& hello) {
  Hello::Bytes bytes{};
  std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
  bytes[kRoleAt] = static_cast<char>(hello.role);
  bytes[kFlagsAt] =
      static_cast<char>((hello.send ? kSend : 0) | (hello.receive ? kReceive : 0) |
                        (hello.plain ? kPlain : 0) | (hello.verify ? kVerify : 0) |
                        (hello.closes ? kCloses : 0) | (hello.threaded ? kThreaded : 0));
  put(&bytes[kSizeAt], hello.size_bytes, 4);
  put(&bytes[kNumberAt], hello.number, 4);
  put(&bytes[kRunAt], hello.run, 8);
  put(&bytes[kLimitAt], hello.limit, 8);
  put(&bytes[kProxyHeaderAt], hello.proxy_header, 1);
  put(&bytes[kNameAt], hello.name, 2);
  put(&bytes[kClientAt], hello.client, 4);
  return bytes;
}

std::optional<Hello> decode(const Hello::Bytes& bytes) {
  if (std::string_view(bytes.data(), kMagic.size()) != kMagic) return std::nullopt;
  const auto role = static_cast<unsigned char>(bytes[kRoleAt]);
  const auto flags = static_cast<unsigned char>(bytes[kFlagsAt]);
  Hello hello;
  hello.role = static_cast<Role>(role);
  hello.send = (flags & kSend) != 0;
  hello.receive = (flags & kReceive) != 0;
  hello.plain = (flags & kPlain) != 0;
  hello.verify = (flags & kVerify) != 0;
  hello.closes = (flags & kCloses) != 0;
  hello.threaded = (flags & kThreaded) != 0;
  hello.size_bytes = static_cast<std::uint32_t>(get(&bytes[kSizeAt], 4));
  hello.number = static_cast<std::uint32_t>(get(&bytes[kNumberAt], 4));
  hello.run = get(&bytes[kRunAt], 8);
  hello.limit = get(&bytes[kLimitAt], 8);
  hello.proxy_header = static_cast<std::uint8_t>(get(&bytes[kProxyHeaderAt], 1));
  hello.name = static_cast<std::uint16_t>(get(&bytes[kNameAt], 2));
  hello.client = static_cast<std::uint32_t>(get(&bytes[kClientAt], 4));
  if (role > static_cast<unsigned char>(Role::call) || encode(hello) != bytes) return std::nullopt;
  if (hello.size_bytes == 0 || hello.size_bytes > kMaxMessageBytes ||
      hello.number >= kMaxRunConnections || hello.name > kMaxNames) {
    return std::nullopt;
  }
  return hello;
}

}  // namespace sluice::bench
