// Peers and times as users write them, and peers as a capture has them.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "iolib/capture/filter.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice::capture;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(parse_time(text));
  const std::size_t middle = text.find('\n');
  Filter filter;
  filter.ports = {80};
  if (const auto range = Cidr::parse(text.substr(0, middle))) filter.peers = {*range};
  OpenInfo info;
  if (middle != text.npos) info.client = text.substr(middle + 1);
  info.upstream = text;
  static_cast<void>(filter.takes(info));
  return 0;
}
