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

}  // namespace sluice
