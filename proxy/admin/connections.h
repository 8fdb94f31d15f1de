#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "iolib/base/error.h"
#include "proxy/admin/paths.h"
#include "proxy/admin/source.h"
#include "proxy/serve/session_info.h"

namespace sluice::admin {

/// The query of a target, after its question mark, as GET /v1/connections takes it: route, sort,
/// limit and after. The error is a sentence for people.
[[nodiscard]] Result<SessionQuery> session_query(std::string_view query);
/// As `after` in the query of the next page.
[[nodiscard]] std::string cursor_of(const SessionPlace& place);

/// Adds the paths that list connections and end one. `source` is borrowed.
void add_connection_paths(Paths& paths, const AdminSource& source);

}  // namespace sluice::admin
