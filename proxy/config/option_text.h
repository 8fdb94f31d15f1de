#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/config/options.h"

namespace sluice {

/// The values of an option as a file writes them: set_option() takes them back. None if the option
/// is not set, or code handles it by its name (such as the addresses of a route); several for a
/// repeated one.
[[nodiscard]] std::vector<std::string> option_texts(const Option& option, const Config& config,
                                                    const RouteConfig& route);
/// Whether the value may be a password. Nobody is shown it: kNotShown stands for it.
[[nodiscard]] bool is_secret(const Option& option);
inline constexpr std::string_view kNotShown = "(not shown)";
/// A number in the unit of the option, with that unit.
[[nodiscard]] std::string format_number(const Option& option, std::uint64_t number);
/// The text that parse_bytes() takes back.
[[nodiscard]] std::string format_bytes(std::string_view bytes);

}  // namespace sluice
