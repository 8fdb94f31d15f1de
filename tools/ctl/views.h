#pragma once

#include <string>
#include <string_view>

#include "iolib/json/json.h"
#include "tools/ctl/table.h"

namespace sluice::ctl {

/// The lists of the API as tables for people. Each takes the list's items; one that is no object
/// has a row without values.
[[nodiscard]] Table routes_table(const json::array& items);
[[nodiscard]] Table servers_table(const json::array& items);
[[nodiscard]] Table connections_table(const json::array& items);
[[nodiscard]] Table captures_table(const json::array& items);
[[nodiscard]] Table mirrors_table(const json::array& items);
/// Of a reload.
[[nodiscard]] Table changes_table(const json::array& changes);

/// The status, one line for each figure.
[[nodiscard]] std::string status_text(const json::object& status);

/// An item as an object; an empty one if it is none.
[[nodiscard]] const json::object& object_of(const json::value& item);
/// "on" or "off"; "-" for a route that records nothing.
[[nodiscard]] std::string capture_of(const json::object& route);
/// How many servers can be used, of how many: "1/2"; "-" for a route without servers.
[[nodiscard]] std::string servers_of(const json::object& route);
/// How many connections a route or a server has; "37/100" where `key` limits them: how many count
/// against that, and the limit.
[[nodiscard]] std::string connections_of(const json::object& item, std::string_view key);
/// How many connections of a route wait, and how many may: USED/LIMIT; "-" if it has no queue.
[[nodiscard]] std::string queued_of(const json::object& route);
/// How many clients a route has turned away.
[[nodiscard]] std::string rejected_of(const json::object& route);

}  // namespace sluice::ctl
