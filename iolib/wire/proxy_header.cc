#include "iolib/wire/proxy_header.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <cstring>

#include "iolib/base/crc32c.h"
#include "iolib/wire/bytes.h"

namespace sluice::wire {
namespace {

using Parsed = std::variant<NeedsBytes, NotProxy, ProxyHeader>;

constexpr std::string_view kV1 = "PROXY ";
constexpr std::string_view kV2("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr std::size_t kV2Fixed = 16;  // signature, command, family, length

// Fields of version 2.
enum Command : std::uint8_t { kLocal = 0x20, kProxy = 0x21 };
enum Family : std::uint8_t { kUnspecified = 0x00, kTcp4 = 0x11, kTcp6 = 0x21, kUnixStream = 0x31 };
enum Type : std::uint8_t { kAuthority = 0x02, kCrc32c = 0x03, kUniqueId = 0x05 };
constexpr std::size_t kUnixBytes = 216;
constexpr std::size_t kCrcBytes = 4;

std::size_t number16(std::string_view text, std::size_t at) {
  return std::size_t{byte_at(text, at)} << 8 | byte_at(text, at + 1);
}

SocketAddress address_of(int family, const void* host, std::uint16_t port) {
  if (family == AF_INET) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, host, sizeof v4.sin_addr);
    return SocketAddress(v4);
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  std::memcpy(&v6.sin6_addr, host, sizeof v6.sin6_addr);
  // A mapped address becomes IPv4.
  return SocketAddress::from(reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
}

// --- Version 1 ---

// Takes the next word of the line; empty if there is none.
std::string_view next_word(std::string_view& line) {
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

std::optional<std::uint16_t> port_of(std::string_view word) {
  std::uint16_t port = 0;
  const char* const end = word.data() + word.size();
  const auto [after, error] = std::from_chars(word.data(), end, port);
  const bool padded = word.size() > 1 && word.front() == '0';
  if (error != std::errc() || after != end || padded) return std::nullopt;
  return port;
}

std::optional<SocketAddress> address_of_words(int family, std::string_view host,
                                              std::string_view port) {
  in6_addr bytes{};
  const std::string text(host);  // inet_pton() stops at a NUL
  const std::optional<std::uint16_t> number = port_of(port);
  if (!number || text.find('\0') != text.npos) return std::nullopt;
  if (::inet_pton(family, text.c_str(), &bytes) != 1) return std::nullopt;
  return address_of(family, &bytes, *number);
}

// The line without its end.
Parsed parse_v1_line(std::string_view header_line) {
  ProxyHeader header{header_line.size() + 2, {}, {}};
  std::string_view line = header_line.substr(kV1.size());
  const std::string_view protocol = next_word(line);
  if (protocol == "UNKNOWN") return header;
  if (protocol != "TCP4" && protocol != "TCP6") return NotProxy{"unknown protocol"};
  const int family = protocol == "TCP4" ? AF_INET : AF_INET6;
  std::array<std::string_view, 4> words;
  for (std::string_view& word : words) word = next_word(line);
  const auto client = address_of_words(family, words[0], words[2]);
  const auto target = address_of_words(family, words[1], words[3]);
  const bool spaced = header_line.ends_with(' ');
  if (!client || !target || !line.empty() || spaced) return NotProxy{"wrong addresses"};
  header.client = *client;
  header.target = *target;
  return header;
}

Parsed parse_v1(std::string_view seen) {
  const std::size_t end = seen.substr(0, kLongestProxyV1).find("\r\n");
  if (end != seen.npos) return parse_v1_line(seen.substr(0, end));
  if (seen.size() >= kLongestProxyV1) return NotProxy{"a line that is too long"};
  return NeedsBytes{seen.size() + 1};
}

// --- Version 2 ---

std::size_t address_bytes(std::uint8_t family) {
  switch (family) {
    case kTcp4:
      return 2 * (sizeof(in_addr) + 2);
    case kTcp6:
      return 2 * (sizeof(in6_addr) + 2);
    case kUnixStream:
      return kUnixBytes;
    default:
      return 0;
  }
}

// Whether the checksum at `at` is that of the header with zeros in its place.
bool crc_is_right(std::string_view header, std::size_t at) {
  std::string zeroed(header);
  std::fill_n(zeroed.begin() + static_cast<std::ptrdiff_t>(at), kCrcBytes, '\0');
  const std::size_t told = number16(header, at) << 16 | number16(header, at + 2);
  return crc32c(std::as_bytes(std::span(zeroed))) == told;
}

// Checks the fields that follow the addresses, up to the end of the header.
std::optional<NotProxy> check_fields(std::string_view header, std::size_t at) {
  while (at < header.size()) {
    if (header.size() - at < 3) return NotProxy{"a field that is cut off"};
    const std::uint8_t type = byte_at(header, at);
    const std::size_t length = number16(header, at + 1);
    at += 3;
    if (header.size() - at < length) return NotProxy{"a field that is cut off"};
    if (type == kCrc32c && (length != kCrcBytes || !crc_is_right(header, at))) {
      return NotProxy{"a wrong checksum"};
    }
    at += length;
  }
  return std::nullopt;
}

Parsed parse_v2(std::string_view seen) {
  if (seen.size() < kV2Fixed) return NeedsBytes{kV2Fixed};
  const std::uint8_t command = byte_at(seen, 12);
  const std::uint8_t family = byte_at(seen, 13);
  const std::size_t size = kV2Fixed + number16(seen, 14);
  if (command != kLocal && command != kProxy) return NotProxy{"an unknown version or command"};
  if (size > kLongestProxyV2) return NotProxy{"a header that is too long"};
  if (seen.size() < size) return NeedsBytes{size};
  const std::string_view header = seen.substr(0, size);
  ProxyHeader parsed{size, {}, {}};
  const std::size_t fields = kV2Fixed + address_bytes(family);
  // What LOCAL says besides is to be ignored, so nothing of it can be wrong.
  if (command == kLocal) return parsed;
  if (family != kUnspecified && address_bytes(family) == 0) return NotProxy{"an unknown family"};
  if (header.size() < fields) return NotProxy{"addresses that are cut off"};
  if (const auto wrong = check_fields(header, fields)) return *wrong;
  if (family != kTcp4 && family != kTcp6) return parsed;
  const int af = family == kTcp4 ? AF_INET : AF_INET6;
  const std::size_t host = af == AF_INET ? sizeof(in_addr) : sizeof(in6_addr);
  const char* const addresses = header.data() + kV2Fixed;
  const std::size_t ports = kV2Fixed + 2 * host;
  parsed.client = address_of(af, addresses, static_cast<std::uint16_t>(number16(header, ports)));
  parsed.target =
      address_of(af, addresses + host, static_cast<std::uint16_t>(number16(header, ports + 2)));
  return parsed;
}

// --- Writing ---

// Of both addresses: IPv6 unless both are IPv4, AF_UNSPEC if one is unnamed.
int common_family(const ProxyOut& out) {
  if (out.client.family() == AF_UNSPEC || out.target.family() == AF_UNSPEC) return AF_UNSPEC;
  const bool both = out.client.family() == AF_INET && out.target.family() == AF_INET;
  return both ? AF_INET : AF_INET6;
}

// The bytes of an address in that family.
std::string host_in(int family, const SocketAddress& address) {
  std::string host(as_text(address.host_bytes()));
  const bool maps = family == AF_INET6 && address.family() == AF_INET;
  return maps ? std::string(10, '\0') + "\xff\xff" + host : host;
}

std::string host_text(int family, const SocketAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  return ::inet_ntop(family, host_in(family, address).data(), text.data(), text.size());
}

std::string two_bytes(std::size_t number) {
  return {static_cast<char>(number >> 8), static_cast<char>(number & 0xff)};
}

void add_field(std::string& header, Type type, std::string_view value) {
  header += static_cast<char>(type) + two_bytes(value.size());
  header += value;
}

// Sets the length, and the checksum if there is one at `crc_at`.
std::string finished(std::string header, std::optional<std::size_t> crc_at) {
  header.replace(14, 2, two_bytes(header.size() - kV2Fixed));
  if (crc_at) {
    const std::uint32_t crc = crc32c(std::as_bytes(std::span(header)));
    header.replace(*crc_at, kCrcBytes, two_bytes(crc >> 16) + two_bytes(crc & 0xffff));
  }
  return header;
}

std::string begun(Command command, Family family) {
  return std::string(kV2) + static_cast<char>(command) + static_cast<char>(family) + two_bytes(0);
}

}  // namespace

Parsed parse_proxy_header(std::span<const std::byte> seen) {
  const std::string_view text = as_text(seen);
  for (const std::string_view signature : {kV1, kV2}) {
    if (!signature.starts_with(text.substr(0, signature.size()))) continue;
    if (text.size() < signature.size()) return NeedsBytes{signature.size()};
    return signature == kV1 ? parse_v1(text) : parse_v2(text);
  }
  return NotProxy{"no header"};
}

std::string proxy_header_v1(const ProxyOut& out) {
  const int family = common_family(out);
  if (family == AF_UNSPEC) return local_header_v1();
  return std::string(kV1) + (family == AF_INET ? "TCP4 " : "TCP6 ") +
         host_text(family, out.client) + ' ' + host_text(family, out.target) + ' ' +
         std::to_string(out.client.port()) + ' ' + std::to_string(out.target.port()) + "\r\n";
}

std::string proxy_header_v2(const ProxyOut& out) {
  assert(out.authority.size() <= 255 && out.unique_id.size() <= 128);
  const int family = common_family(out);
  std::string header = begun(kProxy, family == AF_INET    ? kTcp4
                                     : family == AF_INET6 ? kTcp6
                                                          : kUnspecified);
  if (family != AF_UNSPEC) {
    header += host_in(family, out.client) + host_in(family, out.target) +
              two_bytes(out.client.port()) + two_bytes(out.target.port());
  }
  if (!out.authority.empty()) add_field(header, kAuthority, out.authority);
  if (!out.unique_id.empty()) add_field(header, kUniqueId, out.unique_id);
  if (!out.crc32c) return finished(std::move(header), std::nullopt);
  add_field(header, kCrc32c, std::string(kCrcBytes, '\0'));
  const std::size_t crc_at = header.size() - kCrcBytes;
  return finished(std::move(header), crc_at);
}

std::string local_header_v1() { return std::string(kV1) + "UNKNOWN\r\n"; }

std::string local_header_v2() { return begun(kLocal, kUnspecified); }

}  // namespace sluice::wire
