// Every decoder of the format. If it accepts a payload, the encoded result decodes to the same.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>

#include "iolib/capture/format.h"

using namespace sluice::capture;

namespace {

template <class Decode, class Encode>
void check(std::span<const std::byte> payload, Decode decode, Encode encode_again) {
  const auto info = decode(payload);
  if (info && decode(encode_again(*info)) != info) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto again = [](const auto& info) { return encode(info); };
  check(bytes, decode_segment, again);
  check(bytes, decode_gap, again);
  check(bytes, decode_close, again);
  check(bytes, decode_footer, again);
  check(bytes, decode_lost, encode_lost);
  check(bytes, decode_open, [](const OpenInfo& info) { return encode(info, true); });
  static_cast<void>(decode_frame_header(bytes));
  static_cast<void>(decode_record_header(bytes, 0));
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto name = parse_segment_name(text)) {
    if (parse_segment_name(to_string(*name)) != name) std::abort();
  }
  return 0;
}
