#include "proxy/log/lines.h"

#include <spdlog/fmt/fmt.h>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <variant>

#include "iolib/base/text.h"

namespace sluice::log {
namespace {

// The line of a connection's end fits.
constexpr std::size_t kUsualLine = 256;

constexpr std::string_view kHexDigits = "0123456789abcdef";

// The length of the well-formed UTF-8 character beyond ASCII (RFC 3629, section 4) at the start of
// `text`; 0 if there is none.
std::size_t utf8_length(std::string_view text) {
  const auto at = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto continues = [&](std::size_t i) { return (at(i) & 0xc0U) == 0x80; };
  const unsigned lead = at(0);
  const unsigned second = at(1);
  if (lead >= 0xc2 && lead <= 0xdf) return continues(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    const bool overlong = lead == 0xe0 && second < 0xa0;
    const bool surrogate = lead == 0xed && second > 0x9f;
    return continues(1) && continues(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    const bool overlong = lead == 0xf0 && second < 0x90;
    const bool too_large = lead == 0xf4 && second > 0x8f;
    return continues(1) && continues(2) && continues(3) && !overlong && !too_large ? 4 : 0;
  }
  return 0;
}

// Appends a JSON string literal; text lines use the same form. Bytes that are not UTF-8 (a path can
// have any) become U+FFFD.
void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80) {
      const std::size_t length = utf8_length(text.substr(i));
      out += length > 0 ? text.substr(i, length) : std::string_view("\\ufffd");
      i += length > 0 ? length - 1 : 0;
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\u00";
      out += kHexDigits[byte >> 4];
      out += kHexDigits[byte & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

bool needs_quotes(std::string_view text) {
  if (text.empty()) return true;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte >= 0x7f || c == '"' || c == '\\') return true;
  }
  return false;
}

void append_number(std::string& out, const Field& field) {
  if (const auto* whole = std::get_if<std::uint64_t>(&field.value)) {
    const fmt::format_int digits(*whole);
    out.append(digits.data(), digits.size());
  } else if (const auto* real = std::get_if<double>(&field.value)) {
    fmt::format_to(std::back_inserter(out), "{:.6f}", *real);
  }
}

// How each entry of the journal begins: the priority, one digit, stands between these.
constexpr std::string_view kPriority = "PRIORITY=";
constexpr std::string_view kMessage = "\nMESSAGE=";

// As syslog(3) counts.
char priority_of(LogLevel level) {
  switch (level) {
    case LogLevel::error:
      return '3';
    case LogLevel::warn:
      return '4';
    case LogLevel::info:
      return '6';
    case LogLevel::trace:
    case LogLevel::debug:
    case LogLevel::off:
      break;
  }
  return '7';
}

// Appends SLUICE_<NAME>=value, or the form with a length if the value has lines.
void append_variable(std::string& out, std::string_view name, std::string_view value) {
  out += "SLUICE_";
  for (const char c : name) {
    const bool lower = c >= 'a' && c <= 'z';
    const bool plain = (c >= 'A' && c <= 'Z') || is_digit(c);
    out += lower ? static_cast<char>(c - 'a' + 'A') : plain ? c : '_';
  }
  if (value.find('\n') == std::string_view::npos) {
    out += '=';
  } else {
    out += '\n';
    std::uint64_t size = value.size();  // 64 bits, little endian
    for (int i = 0; i < 8; ++i, size >>= 8) out += static_cast<char>(size & 0xff);
  }
  out += value;
  out += '\n';
}

}  // namespace

std::string format_text(std::string_view event, Fields fields) {
  std::string line;
  line.reserve(kUsualLine);
  line += event;
  for (const Field& field : fields) {
    line += ' ';
    line += field.name;
    line += '=';
    const auto* text = std::get_if<std::string_view>(&field.value);
    if (text == nullptr) {
      append_number(line, field);
    } else if (needs_quotes(*text)) {
      append_quoted(line, *text);
    } else {
      line += *text;
    }
  }
  return line;
}

std::string format_json(std::string_view event, Fields fields) {
  std::string members = "\"event\":";
  append_quoted(members, event);
  for (const Field& field : fields) {
    members += ',';
    append_quoted(members, field.name);
    members += ':';
    if (const auto* text = std::get_if<std::string_view>(&field.value)) {
      append_quoted(members, *text);
    } else {
      append_number(members, field);
    }
  }
  return members;
}

std::string format_journal(LogLevel level, std::string_view message, std::string_view event,
                           Fields fields) {
  std::string entry;
  entry.reserve(3 * kUsualLine);
  entry += kPriority;
  entry += priority_of(level);
  entry += kMessage;
  entry += message;
  entry += "\nSYSLOG_IDENTIFIER=sluice\n";
  append_variable(entry, "EVENT", event);
  for (const Field& field : fields) {
    const auto* text = std::get_if<std::string_view>(&field.value);
    if (text != nullptr) {
      append_variable(entry, field.name, *text);
      continue;
    }
    std::string number;
    append_number(number, field);
    append_variable(entry, field.name, number);
  }
  return entry;
}

std::string line_of_entry(std::string_view entry) {
  std::string line = "<";
  line += entry.substr(kPriority.size(), 1);
  line += '>';
  entry.remove_prefix(kPriority.size() + 1 + kMessage.size());
  line += entry.substr(0, entry.find('\n'));
  return line;
}

}  // namespace sluice::log
