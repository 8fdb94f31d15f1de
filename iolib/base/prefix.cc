#include "iolib/base/prefix.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <span>
#include <string>

#include "iolib/base/text.h"

namespace sluice {
namespace {

constexpr std::string_view kForm = "expected an address, a block such as 10.0.0.0/8, or unix:";

// Of an IPv4-mapped address before the IPv4 address.
constexpr unsigned kMappedBits = 96;

// The first `bits` bits; the others become 0.
std::array<std::byte, 16> masked(std::span<const std::byte> host, unsigned bits) {
  std::array<std::byte, 16> first{};
  for (std::size_t i = 0; i < host.size() && 8 * i < bits; ++i) {
    const unsigned left = bits - 8 * static_cast<unsigned>(i);
    const std::byte mask = left >= 8 ? std::byte{0xff} : std::byte{0xff} << (8 - left);
    first[i] = host[i] & mask;
  }
  return first;
}

std::optional<unsigned> length_of(std::string_view text, unsigned longest) {
  unsigned length = 0;
  const char* const end = text.data() + text.size();
  const auto [after, error] = std::from_chars(text.data(), end, length);
  const bool padded = text.size() > 1 && text.front() == '0';
  if (error != std::errc() || after != end || padded || length > longest) return std::nullopt;
  return length;
}

}  // namespace

Result<Prefix> Prefix::parse(std::string_view text) {
  Prefix prefix;
  if (text == "unix:") return prefix;
  const std::size_t slash = std::min(text.find('/'), text.size());
  const Result<SocketAddress> address =
      text.find('%') == text.npos && text.find('\0') == text.npos
          ? numeric_address({std::string(text.substr(0, slash)), 0})
          : Result<SocketAddress>(Error{0, "scope or NUL"});
  if (!address) return bad_text("no address or block", text, kForm);
  const std::span<const std::byte> host = address->host_bytes();
  const auto longest = 8 * static_cast<unsigned>(host.size());
  prefix.family_ = address->family();
  prefix.bits_ = longest;
  if (slash < text.size()) {
    const auto length = length_of(text.substr(slash + 1), longest);
    if (!length) {
      return bad_text("wrong length of a block", text,
                      "expected a length of 0 to " + std::to_string(longest));
    }
    prefix.bits_ = *length;
  }
  prefix.host_ = masked(host, prefix.bits_);
  if (!std::ranges::equal(host, std::span(prefix.host_).first(host.size()))) {
    return bad_text("an address inside a block", text, "expected the first address of the block");
  }
  const SocketAddress unmapped = SocketAddress::from(address->data(), address->size_bytes());
  if (unmapped.family() != prefix.family_ && prefix.bits_ >= kMappedBits) {
    prefix.family_ = unmapped.family();
    prefix.bits_ -= kMappedBits;
    prefix.host_ = masked(unmapped.host_bytes(), prefix.bits_);
  }
  return prefix;
}

std::string Prefix::to_string() const {
  if (family_ == AF_UNSPEC) return "unix:";
  std::array<char, INET6_ADDRSTRLEN> host{};
  ::inet_ntop(family_, host_.data(), host.data(), host.size());
  const unsigned longest = family_ == AF_INET ? 32 : 128;
  return bits_ == longest ? host.data() : std::string(host.data()) + "/" + std::to_string(bits_);
}

bool Prefix::contains(const SocketAddress& address) const {
  return address.family() == family_ && masked(address.host_bytes(), bits_) == host_;
}

}  // namespace sluice
