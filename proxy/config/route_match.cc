#include "proxy/config/route_match.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "iolib/base/text.h"
#include "iolib/wire/client_hello.h"
#include "proxy/config/nearest.h"
#include "proxy/config/option_text.h"
#include "proxy/config/options.h"

namespace sluice {
namespace {

// Each connection looks at all of them.
constexpr std::size_t kMostValues = 1'024;
constexpr std::size_t kLongestPrefix = 1'024;
constexpr std::size_t kLongestProtocolName = 255;
constexpr auto kProtocols = std::to_array<std::pair<std::string_view, wire::Protocol>>(
    {{"tls", wire::Protocol::tls}, {"ssh", wire::Protocol::ssh}, {"http", wire::Protocol::http}});

/// The bytes of "0aff".
std::optional<std::string> parse_hex(std::string_view digits) {
  if (digits.size() % 2 != 0) return std::nullopt;
  std::string bytes;
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    const auto high = hex_digit(digits[i]);
    const auto low = hex_digit(digits[i + 1]);
    if (!high || !low) return std::nullopt;
    bytes += static_cast<char>(*high << 4 | *low);
  }
  return bytes;
}

Result<> add_name(std::string_view text, std::vector<std::string>& names) {
  constexpr std::string_view kAnyBelow = "*.";
  const bool any_below = text.starts_with(kAnyBelow);
  const std::string name = wire::normal_host_name(any_below ? text.substr(kAnyBelow.size()) : text);
  if (name.empty()) {
    return bad_text("no name of a host", text,
                    "expected a name such as example.com or *.example.com");
  }
  names.push_back((any_below ? std::string(kAnyBelow) : "") + name);
  return {};
}

Result<> add_protocol(std::string_view text, std::vector<wire::Protocol>& protocols) {
  std::vector<std::string_view> names;
  for (const auto& [name, protocol] : kProtocols) {
    if (name == text) {
      protocols.push_back(protocol);
      return {};
    }
    names.push_back(name);
  }
  return Error{0, "unknown value " + in_quotes(text) + ": expected " + joined(names) +
                      suggestion(text, names)};
}

Result<> add_bytes(std::string_view text, std::size_t most, std::vector<std::string>& values) {
  Result<std::string> bytes = parse_bytes(text, 1, most);
  if (!bytes) return bytes.error();
  values.push_back(*std::move(bytes));
  return {};
}

Result<> add_source(std::string_view text, std::vector<Prefix>& sources) {
  const Result<Prefix> prefix = Prefix::parse(text);
  if (!prefix) return prefix.error();
  sources.push_back(*prefix);
  return {};
}

}  // namespace

std::vector<std::string> condition_texts(const RouteMatch& match, std::string_view condition) {
  if (condition == "sni") return match.sni;
  std::vector<std::string> texts;
  if (condition == "alpn" || condition == "prefix") {
    const std::vector<std::string>& values = condition == "alpn" ? match.alpn : match.prefix;
    for (const std::string& each : values) texts.push_back(format_bytes(each));
  } else if (condition == "protocol") {
    for (const wire::Protocol each : match.protocol) {
      const auto* known =
          std::ranges::find(kProtocols, each, &decltype(kProtocols)::value_type::second);
      texts.emplace_back(known->first);
    }
  } else {
    for (const Prefix& each : match.source) texts.push_back(each.to_string());
  }
  return texts;
}

Result<std::string> parse_bytes(std::string_view text, std::size_t least, std::size_t most) {
  constexpr std::string_view kHex = "hex:";
  std::optional<std::string> bytes =
      text.starts_with(kHex) ? parse_hex(text.substr(kHex.size())) : std::string(text);
  if (!bytes) {
    return bad_text("no pairs of hexadecimal digits", text,
                    "expected hex: and digits such as 0d0a");
  }
  if (bytes->size() < least || bytes->size() > most) {
    return Error{0, std::to_string(bytes->size()) + " bytes, expected " + std::to_string(least) +
                        " to " + std::to_string(most) + " bytes"};
  }
  return *std::move(bytes);
}

Result<> add_condition(RouteMatch& match, std::string_view condition, std::string_view text) {
  const std::size_t values = match.sni.size() + match.alpn.size() + match.protocol.size() +
                             match.prefix.size() + match.source.size();
  if (values == kMostValues) {
    return Error{0, in_quotes(text) + " is one value too many, expected at most " +
                        std::to_string(kMostValues) + " in a match"};
  }
  if (condition == "sni") return add_name(text, match.sni);
  if (condition == "alpn") return add_bytes(text, kLongestProtocolName, match.alpn);
  if (condition == "protocol") return add_protocol(text, match.protocol);
  if (condition == "prefix") return add_bytes(text, kLongestPrefix, match.prefix);
  return add_source(text, match.source);
}

}  // namespace sluice
