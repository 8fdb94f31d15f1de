#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace sluice {

/// The number of letters to insert, delete, replace or swap with a neighbour to turn `a` into `b`
/// (optimal string alignment: no letter changes twice).
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

/// The name that the user probably meant with `typed`; "" if none is near. A third of the letters
/// may be wrong, but at least one.
[[nodiscard]] std::string_view nearest_name(std::string_view typed,
                                            std::span<const std::string_view> names);

/// "; did you mean "idle-timeout"?", or "" if no name is near.
[[nodiscard]] std::string suggestion(std::string_view typed,
                                     std::span<const std::string_view> names);

}  // namespace sluice
