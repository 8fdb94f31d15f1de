#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace sluice {

/// How many letters must be put in, taken out, exchanged or swapped with their neighbour to make
/// `b` of `a` (the optimal string alignment distance: no letter is touched twice).
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

/// The name that `typed` was probably meant to be, or "" where none is near: one letter in three
/// may be wrong, and at least one.
[[nodiscard]] std::string_view nearest_name(std::string_view typed,
                                            std::span<const std::string_view> names);

/// "; did you mean "idle-timeout"?", or "" where no name is near.
[[nodiscard]] std::string suggestion(std::string_view typed,
                                     std::span<const std::string_view> names);

}  // namespace sluice
