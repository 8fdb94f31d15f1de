#include "iolib/mirror/sample.h"

#include <array>
#include <cstddef>
#include <cstring>
#include <span>

#include "iolib/base/hash.h"

namespace sluice::mirror {
namespace {

template <class Number>
std::array<std::byte, sizeof(Number)> most_significant_first(Number number) {
  std::array<std::byte, sizeof(Number)> bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[bytes.size() - 1 - i] = static_cast<std::byte>(number >> (8 * i));
  }
  return bytes;
}

}  // namespace

std::uint64_t sample_hash(const SocketAddress& client) {
  std::array<std::byte, sizeof(in6_addr)> address;
  std::size_t size = 0;
  if (client.family() == AF_INET) {
    size = sizeof(in_addr);
    std::memcpy(address.data(), &reinterpret_cast<const sockaddr_in*>(client.data())->sin_addr,
                size);
  } else if (client.family() == AF_INET6) {
    size = sizeof(in6_addr);
    std::memcpy(address.data(), &reinterpret_cast<const sockaddr_in6*>(client.data())->sin6_addr,
                size);
  } else {
    return finalized(fnv1a({}));
  }
  const std::uint64_t hash = fnv1a(std::span(address).first(size));
  return finalized(fnv1a(most_significant_first(client.port()), hash));
}

std::uint64_t sample_hash(std::uint64_t number) {
  return finalized(fnv1a(most_significant_first(number)));
}

}  // namespace sluice::mirror
