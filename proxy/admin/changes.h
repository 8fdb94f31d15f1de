#pragma once

#include "proxy/admin/commands.h"
#include "proxy/admin/paths.h"
#include "proxy/admin/source.h"

namespace sluice::admin {

/// Adds the paths by which an operator changes what the daemon does. All are borrowed.
void add_changes(Paths& paths, const AdminSource& source, AdminCommands& commands);

}  // namespace sluice::admin
