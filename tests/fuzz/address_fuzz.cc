// Addresses and quantities as users write them. An accepted one is printed as one with the same
// meaning.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <variant>

#include "iolib/base/address.h"
#include "iolib/base/units.h"

using namespace sluice;

namespace {

template <class Parse, class Write>
void check(std::string_view text, Parse parse, Write write) {
  const auto value = parse(text);
  if (!value) {
    if (value.error().to_string().empty()) std::abort();
    return;
  }
  const auto again = parse(write(*value));
  if (!again || *again != *value) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto write_address = [](const auto& address) { return to_string(address); };
  check(text, parse_listen_address, write_address);
  check(text, parse_target_address, write_address);
  check(text, parse_duration, format_duration);
  check(text, parse_size_bytes, format_size_bytes);
  if (const auto target = parse_target_address(text)) {
    const auto* place = std::get_if<HostPort>(&*target);
    if (place == nullptr) return 0;
    if (const auto address = numeric_address(*place)) {
      if (address->port() != place->port || address->to_string().empty()) std::abort();
    }
  }
  return 0;
}
