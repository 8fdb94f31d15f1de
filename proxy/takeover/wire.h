#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/json/json.h"

namespace sluice::takeover {

/// What two processes say to each other in a takeover, in this order. A message is a frame: 4 bytes
/// with the length, big-endian, and that many bytes of JSON, an object whose `type` names the
/// message. Descriptors come with the first byte of their frame.
enum class MessageType : std::uint8_t {
  hello,        ///< successor: `version`, `pid`
  refused,      ///< predecessor: `reason`; nothing follows
  descriptors,  ///< predecessor: some of the descriptors that the state counts, in order
  state,        ///< predecessor: see Handover
  ready,        ///< successor: it could accept now; `runs`
  failed,       ///< successor: `reason`; nothing follows
  go,           ///< predecessor: it accepts no more; `totals`
  done,         ///< successor: it accepts, and has lived
  released,     ///< predecessor: it has let go; `totals`, `connections`
  report,       ///< predecessor, once a second until it ends: `totals` that changed, `connections`
};
inline constexpr std::array<std::string_view, 10> kMessageNames = {
    "hello",  "refused", "descriptors", "state",    "ready",
    "failed", "go",      "done",        "released", "report"};
[[nodiscard]] constexpr std::string_view name_of(MessageType type) {
  return kMessageNames.at(static_cast<std::size_t>(type));
}

struct Message {
  MessageType type = MessageType::hello;
  json::object body = {};  ///< without `type`
};

/// The version of this protocol. Only processes with the same one take over from each other.
inline constexpr std::uint64_t kWireVersion = 1;

inline constexpr std::size_t kHeaderBytes = 4;
/// The most descriptors of a frame. The kernel allows 253.
inline constexpr std::size_t kMostDescriptors = 200;
/// The longest frame that a predecessor sends, and the longest that a successor does.
inline constexpr std::size_t kLongestState = 256 << 20;
inline constexpr std::size_t kLongestAnswer = 64 << 10;

/// The whole frame of a message.
[[nodiscard]] std::string encode(const Message& message);
/// How many bytes follow this header. An error if there are none, or more than `longest`.
[[nodiscard]] Result<std::size_t> decode_header(std::string_view header, std::size_t longest);
/// What the bytes after the header say.
[[nodiscard]] Result<Message> decode(std::string_view text);

// The values of a message. Each is empty or 0 if it is missing or of another kind: the peer is
// older or newer.

[[nodiscard]] std::string text_of(const json::object& object, std::string_view key);
[[nodiscard]] std::uint64_t number_of(const json::object& object, std::string_view key);
[[nodiscard]] bool flag_of(const json::object& object, std::string_view key);
[[nodiscard]] const json::object& object_of(const json::object& object, std::string_view key);
[[nodiscard]] const json::array& array_of(const json::object& object, std::string_view key);
/// The same text, for Boost.JSON.
[[nodiscard]] inline json::string_view json_view(std::string_view text) {
  return {text.data(), text.size()};
}
/// The texts in an array.
[[nodiscard]] std::vector<std::string> texts_of(const json::object& object, std::string_view key);

/// A message with a reason: refused or failed.
[[nodiscard]] Message with_reason(MessageType type, std::string_view reason);

}  // namespace sluice::takeover
