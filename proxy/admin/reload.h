#pragma once

#include "iolib/json/json.h"
#include "proxy/admin/commands.h"
#include "proxy/admin/paths.h"
#include "proxy/admin/source.h"

namespace sluice::admin {

/// Adds the path by which the configuration is read again. Borrows `source` and `commands`.
void add_reload(Paths& paths, const AdminSource& source, AdminCommands& commands);
/// Adds the path by which another process takes over. Borrows `source` and `commands`.
void add_takeover(Paths& paths, const AdminSource& source, AdminCommands& commands);

/// The answer to a reload.
[[nodiscard]] json::object reload_json(const ReloadResult& result);
/// What /v1/status tells about reloads; null if there was none.
[[nodiscard]] json::value last_reload_json(const Reloads& reloads);

}  // namespace sluice::admin
