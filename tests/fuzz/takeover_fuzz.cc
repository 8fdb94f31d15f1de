// What another process sends in a takeover. Whatever it is, reading it ends, and a message that can
// be read says the same once it was written again.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include "proxy/takeover/handover.h"
#include "proxy/takeover/totals.h"
#include "proxy/takeover/wire.h"

using namespace sluice::takeover;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(decode_header(text.substr(0, kHeaderBytes), kLongestAnswer));
  sluice::Result<Message> message = decode(text);
  if (!message) return 0;
  const std::string frame = encode(*message);
  const auto size_bytes = decode_header(std::string_view(frame).substr(0, kHeaderBytes), 1 << 30);
  if (!size_bytes || *size_bytes != frame.size() - kHeaderBytes) std::abort();
  if (!decode(std::string_view(frame).substr(kHeaderBytes))) std::abort();
  const Totals totals = totals_from_json(object_of(message->body, "totals"));
  Totals sums = totals;
  add(sums, totals);
  replace(sums, totals);
  if (!changed(totals_from_json(to_json(totals)), totals).empty()) std::abort();
  // It has no descriptors, so only one without any can be read.
  const auto handover = from_message({message->body, {}});
  if (handover && !handover->sockets.empty()) std::abort();
  return 0;
}
