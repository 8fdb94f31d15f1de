#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "proxy/admin/commands.h"
#include "proxy/config/config.h"

namespace sluice {

/// How one configuration differs from another.
struct ConfigDiff {
  using Change = admin::ReloadResult::Change;
  std::vector<Change> changes;  ///< keys of the process, then by route of the new one, then removed
  /// Those of `changes` that a running process cannot apply.
  std::vector<Change> not_hot;
  /// By route of the new configuration: the index of the route of the old one that it continues: of
  /// the same name, or, under a new name, of one of the same addresses whose name is gone.
  std::vector<std::optional<std::size_t>> continues;
  /// By route of the new configuration: whether anything of it has changed. True for new ones.
  std::vector<bool> differs;
};

/// Compares two configurations. Pure.
[[nodiscard]] ConfigDiff diff(const Config& from, const Config& to);

}  // namespace sluice
