#include "iolib/wire/first_bytes.h"

#include <array>
#include <string_view>
#include <utility>

#include "iolib/wire/bytes.h"

namespace sluice::wire {
namespace {

// What a stream of each protocol begins with. The third byte of TLS is its minor version, of which
// 1 to 4 are in use: records of a hello say 1 or 3.
constexpr auto kBeginnings = std::to_array<std::pair<std::string_view, Protocol>>({
    {"\x16\x03\x01", Protocol::tls},
    {"\x16\x03\x02", Protocol::tls},
    {"\x16\x03\x03", Protocol::tls},
    {"\x16\x03\x04", Protocol::tls},
    {"SSH-", Protocol::ssh},
    {"GET ", Protocol::http},
    {"HEAD ", Protocol::http},
    {"POST ", Protocol::http},
    {"PUT ", Protocol::http},
    {"DELETE ", Protocol::http},
    {"CONNECT ", Protocol::http},
    {"OPTIONS ", Protocol::http},
    {"TRACE ", Protocol::http},
    {"PATCH ", Protocol::http},
    {"PRI * HTTP/2.0", Protocol::http},
});

}  // namespace

std::variant<NeedsBytes, Protocol> protocol_of(std::span<const std::byte> seen) {
  const std::string_view text = as_text(seen);
  bool may_fit = false;
  for (const auto& [beginning, protocol] : kBeginnings) {
    if (text.starts_with(beginning)) return protocol;
    may_fit = may_fit || beginning.starts_with(text);
  }
  if (!may_fit) return Protocol::other;
  // The next byte can decide: a short message must not wait for a longer one.
  return NeedsBytes{text.size() + 1};
}

}  // namespace sluice::wire
