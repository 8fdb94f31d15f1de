// A stream that may begin with a TLS hello. A prefix is never judged otherwise than the whole.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <variant>

#include "iolib/wire/client_hello.h"
#include "iolib/wire/first_bytes.h"

using namespace sluice::wire;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> stream = std::as_bytes(std::span(data, size));
  std::size_t seen = 0;
  for (;;) {
    const auto parsed = parse_client_hello(stream.first(seen));
    if (const auto* needs = std::get_if<NeedsBytes>(&parsed)) {
      require(needs->total > seen && needs->total <= kLongestHello);
      if (needs->total > size) break;
      seen = needs->total;
      continue;
    }
    const auto whole = parse_client_hello(stream);
    require(whole.index() == parsed.index());
    if (const auto* hello = std::get_if<ClientHello>(&parsed)) {
      const auto& again = std::get<ClientHello>(whole);
      require(again.server_name == hello->server_name && again.protocols == hello->protocols);
      require(normal_host_name(hello->server_name) == hello->server_name);
      require(std::get<Protocol>(protocol_of(stream)) == Protocol::tls || data[2] > 4 ||
              data[2] == 0);
    }
    break;
  }
  for (std::size_t length = 0; length <= size && length < 32; ++length) {
    const auto protocol = protocol_of(stream.first(length));
    if (const auto* needs = std::get_if<NeedsBytes>(&protocol)) require(needs->total > length);
  }
  return 0;
}
