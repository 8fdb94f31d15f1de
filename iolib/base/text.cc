#include "iolib/base/text.h"

namespace sluice {
namespace {

void append_escaped(std::string& result, char c) {
  constexpr std::string_view kHex = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(c);
  if (byte >= 0x20 && byte != 0x7f) {
    result += c;
    return;
  }
  result += "\\x";
  result += kHex[byte >> 4];
  result += kHex[byte & 0xf];
}

// The length in bytes of the UTF-8 character at the start of `text` (RFC 3629, section 4), or 0 if
// it is invalid or a control character from U+0080 to U+009F.
std::size_t character_bytes(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = at(0);
  if (lead < 0x80) return 1;
  const std::size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < size) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((at(i) & 0xc0U) != 0x80) return 0;
  }
  const unsigned second = at(1);
  const bool overlong = (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
  const bool surrogate = lead == 0xed && second > 0x9f;
  const bool too_high = lead == 0xf4 && second > 0x8f;
  const bool control = lead == 0xc2 && second < 0xa0;
  return overlong || surrogate || too_high || control ? 0 : size;
}

}  // namespace

std::string in_quotes(std::string_view text) {
  std::string result = "\"";
  for (const char c : text.substr(0, kQuotedBytes)) {
    if (c == '"' || c == '\\') result += '\\';
    append_escaped(result, c);
  }
  result += text.size() > kQuotedBytes ? "\"..." : "\"";
  return result;
}

Error bad_text(std::string_view what, std::string_view text, std::string_view expected) {
  return Error{0, std::string(what) + " in " + in_quotes(text) + ": " + std::string(expected)};
}

std::string one_line(std::string_view text) {
  std::string result;
  for (const char c : text) append_escaped(result, c);
  return result;
}

std::string valid_utf8(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const std::size_t size = character_bytes(text);
    if (size == 0) {
      result += "\xef\xbf\xbd";
    } else {
      result += text.substr(0, size);
    }
    text.remove_prefix(size == 0 ? 1 : size);
  }
  return result;
}

}  // namespace sluice
