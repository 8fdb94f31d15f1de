#include "proxy/takeover/wire.h"

#include <algorithm>
#include <utility>

#include "iolib/base/text.h"

namespace sluice::takeover {
namespace {

Error bad_frame(std::string_view what) { return Error{0, "the peer sent " + std::string(what)}; }

}  // namespace

std::string encode(const Message& message) {
  json::object whole = message.body;
  const std::string_view name = name_of(message.type);
  whole["type"] = json_view(name);
  const std::string text = json::serialize(whole);
  std::string frame;
  frame.reserve(kHeaderBytes + text.size());
  for (int shift = 24; shift >= 0; shift -= 8) {
    frame += static_cast<char>((text.size() >> shift) & 0xff);
  }
  return frame + text;
}

Result<std::size_t> decode_header(std::string_view header, std::size_t longest) {
  if (header.size() != kHeaderBytes) return bad_frame("half a header");
  std::size_t size_bytes = 0;
  for (const char each : header) size_bytes = size_bytes << 8 | static_cast<unsigned char>(each);
  if (size_bytes == 0 || size_bytes > longest) return bad_frame("a frame of a wrong size");
  return {boost::system::in_place_value, size_bytes};
}

Result<Message> decode(std::string_view text) {
  boost::system::error_code error;
  json::value parsed = json::parse(json_view(text), error);
  if (error || !parsed.is_object()) return bad_frame("what is no object of JSON");
  Message message;
  message.body = std::move(parsed.get_object());
  const std::string name = text_of(message.body, "type");
  const auto found = std::ranges::find(kMessageNames, name);
  if (found == kMessageNames.end()) return bad_frame("an unknown message " + in_quotes(name));
  message.type = static_cast<MessageType>(found - kMessageNames.begin());
  message.body.erase("type");
  return message;
}

std::string text_of(const json::object& object, std::string_view key) {
  const json::value* const found = object.if_contains(json_view(key));
  if (found == nullptr || !found->is_string()) return {};
  return {found->get_string().data(), found->get_string().size()};
}

std::uint64_t number_of(const json::object& object, std::string_view key) {
  const json::value* const found = object.if_contains(json_view(key));
  if (found == nullptr) return 0;
  if (found->is_uint64()) return found->get_uint64();
  return found->is_int64() && found->get_int64() > 0
             ? static_cast<std::uint64_t>(found->get_int64())
             : 0;
}

bool flag_of(const json::object& object, std::string_view key) {
  const json::value* const found = object.if_contains(json_view(key));
  return found != nullptr && found->is_bool() && found->get_bool();
}

const json::object& object_of(const json::object& object, std::string_view key) {
  static const json::object kNone;
  const json::value* const found = object.if_contains(json_view(key));
  return found != nullptr && found->is_object() ? found->get_object() : kNone;
}

const json::array& array_of(const json::object& object, std::string_view key) {
  static const json::array kNone;
  const json::value* const found = object.if_contains(json_view(key));
  return found != nullptr && found->is_array() ? found->get_array() : kNone;
}

std::vector<std::string> texts_of(const json::object& object, std::string_view key) {
  std::vector<std::string> texts;
  for (const json::value& each : array_of(object, key)) {
    if (each.is_string()) texts.emplace_back(each.get_string().data(), each.get_string().size());
  }
  return texts;
}

Message with_reason(MessageType type, std::string_view reason) {
  const std::string text = one_line(valid_utf8(reason));
  return {type, {{"reason", text}}};
}

}  // namespace sluice::takeover
