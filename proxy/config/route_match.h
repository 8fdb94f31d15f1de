#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/base/prefix.h"
#include "iolib/wire/first_bytes.h"

namespace sluice {

/// Which connections go to another route: those for which each list that is not empty has an
/// element that fits.
struct RouteMatch {
  std::vector<std::string> sni;   ///< as normal_host_name() gives them; "*.x" is a name below x
  std::vector<std::string> alpn;  ///< one of those that the client offers
  std::vector<wire::Protocol> protocol;
  std::vector<std::string> prefix;  ///< the first bytes
  std::vector<Prefix> source;
  std::string route;         ///< its name
  std::size_t to_route = 0;  ///< its index; set once all routes are known

  /// Whether it takes a TLS hello to tell.
  [[nodiscard]] bool reads_hello() const { return !sni.empty() || !alpn.empty(); }
};

/// The keys of a match but `route`.
inline constexpr std::array<std::string_view, 5> kConditions = {"sni", "alpn", "protocol", "prefix",
                                                                "source"};
/// Adds a value to the condition of that name.
[[nodiscard]] Result<> add_condition(RouteMatch& match, std::string_view condition,
                                     std::string_view text);
/// The values of the condition of that name, as add_condition() takes them back.
[[nodiscard]] std::vector<std::string> condition_texts(const RouteMatch& match,
                                                       std::string_view condition);
/// The bytes of an option: text as it is, or "hex:" and digits.
[[nodiscard]] Result<std::string> parse_bytes(std::string_view text, std::size_t least,
                                              std::size_t most);

}  // namespace sluice
