#include "iolib/mirror/sample.h"

#include <array>
#include <cstddef>

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
  const std::uint64_t hash = fnv1a(client.host_bytes());
  if (client.family() == AF_UNSPEC) return finalized(hash);
  return finalized(fnv1a(most_significant_first(client.port()), hash));
}

std::uint64_t sample_hash(std::uint64_t number) {
  return finalized(fnv1a(most_significant_first(number)));
}

}  // namespace sluice::mirror
