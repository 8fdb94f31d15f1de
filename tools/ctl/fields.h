#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "iolib/json/json.h"

namespace sluice::ctl {

// How members of the API's objects are shown to people: always as printable ASCII, whatever the
// daemon has sent, and as "-" if they are missing or null.

/// Text, a number or a boolean as it is; of an array the first element and how many more there are.
[[nodiscard]] std::string text_at(const json::object& object, std::string_view key);
/// All elements of an array, with commas.
[[nodiscard]] std::string all_at(const json::object& object, std::string_view key);
/// A size: "1.5 MiB".
[[nodiscard]] std::string size_at(const json::object& object, std::string_view key);
/// A duration: "0.4s", "1h2m3s".
[[nodiscard]] std::string seconds_at(const json::object& object, std::string_view key);
/// "yes" or "no".
[[nodiscard]] std::string flag_at(const json::object& object, std::string_view key);

/// The member `key` of the object that is the member `outer`.
[[nodiscard]] const json::object* object_at(const json::object& object, std::string_view outer);
/// A size in an inner object.
[[nodiscard]] std::string size_at(const json::object& object, std::string_view outer,
                                  std::string_view key);

/// A number, or the number that a string is; nullopt for everything else, and below 0.
[[nodiscard]] std::optional<double> number_of(const json::value& value);
[[nodiscard]] std::optional<double> number_at(const json::object& object, std::string_view key);
/// The sum of the numbers of an inner object; nullopt if there is no such object.
[[nodiscard]] std::optional<double> sum_at(const json::object& object, std::string_view outer);

/// "0.4s" below a minute, then "1h2m3s".
[[nodiscard]] std::string as_seconds(double seconds);
/// "1.5 MiB/s".
[[nodiscard]] std::string as_rate(double bytes_per_second);

}  // namespace sluice::ctl
