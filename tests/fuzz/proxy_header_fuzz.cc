// A stream that may begin with a PROXY header. A prefix is never judged otherwise than the whole,
// and what is read can be written and read again.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <variant>

#include "iolib/wire/proxy_header.h"

using namespace sluice::wire;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

ProxyHeader read_again(const std::string& header) {
  const auto parsed = parse_proxy_header(std::as_bytes(std::span(header)));
  require(std::holds_alternative<ProxyHeader>(parsed));
  return std::get<ProxyHeader>(parsed);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> stream = std::as_bytes(std::span(data, size));
  // As it is read from a socket: each look asks for more until there is an answer.
  std::size_t seen = 0;
  for (;;) {
    const auto parsed = parse_proxy_header(stream.first(seen));
    if (const auto* needs = std::get_if<NeedsBytes>(&parsed)) {
      require(needs->total > seen && needs->total <= kLongestProxyV2);
      if (needs->total > size) return 0;
      seen = needs->total;
      continue;
    }
    const auto whole = parse_proxy_header(stream);
    require(whole.index() == parsed.index());
    const auto* header = std::get_if<ProxyHeader>(&parsed);
    if (header == nullptr) return 0;
    require(header->size_bytes <= seen);
    require(std::get<ProxyHeader>(whole).size_bytes == header->size_bytes);
    if (header->client.family() == 0) return 0;
    const ProxyOut out{header->client, header->target, "name", "id", true};
    for (const std::string& text : {proxy_header_v1(out), proxy_header_v2(out)}) {
      const ProxyHeader again = read_again(text);
      require(again.client == header->client && again.target == header->target);
    }
    return 0;
  }
}
