// Lists of who may come in, a line for each block: "+10.0.0.0/8" allows it, "-10.0.0.0/8" denies
// it. Addresses in lines such as "?10.1.2.3", and the first ones of all blocks, are looked up, and
// must be found as by looking through all blocks.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/balance/prefix_set.h"

using namespace sluice;

namespace {

bool model(const std::vector<Prefix>& allowed, const std::vector<Prefix>& denied,
           const SocketAddress& address) {
  int allowed_bits = allowed.empty() ? 0 : -1;
  int denied_bits = -1;
  for (const Prefix& each : allowed) {
    if (each.contains(address))
      allowed_bits = std::max(allowed_bits, static_cast<int>(each.bits()));
  }
  for (const Prefix& each : denied) {
    if (each.contains(address)) denied_bits = std::max(denied_bits, static_cast<int>(each.bits()));
  }
  return allowed_bits > denied_bits;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  std::vector<Prefix> allowed;
  std::vector<Prefix> denied;
  std::vector<SocketAddress> asked(1);
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) continue;
    const std::string_view what = line.substr(1);
    const auto prefix = Prefix::parse(what);
    if (!prefix) continue;
    if (line[0] == '+') allowed.push_back(*prefix);
    if (line[0] == '-') denied.push_back(*prefix);
    const auto address = numeric_address({std::string(what.substr(0, what.find('/'))), 0});
    if (address) asked.push_back(SocketAddress::from(address->data(), address->size_bytes()));
  }
  const balance::PrefixSet set(allowed, denied);
  for (const SocketAddress& each : asked) {
    if (set.allows(each) != model(allowed, denied, each)) std::abort();
  }
  return 0;
}
