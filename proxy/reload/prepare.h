#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "proxy/admin/commands.h"
#include "proxy/config/config.h"
#include "proxy/listen/listen_sockets.h"
#include "proxy/reload/diff.h"
#include "proxy/reload/listen_plan.h"
#include "proxy/taps/capture_directories.h"

namespace sluice {

/// What a reload starts from.
struct ReloadInput {
  std::vector<std::string> arguments;     ///< the command line
  std::shared_ptr<const Config> current;  ///< what holds now
  std::vector<OpenAddress> open;          ///< where the daemon listens now
  std::vector<ListenSockets::Bound> bound;
  std::size_t next_group = 0;
  std::size_t workers = 1;
  /// Shared, because a signal can end the daemon before a slow disk or name server answers.
  std::shared_ptr<CaptureDirectories> captures;
  std::string run;  ///< see CapturePlan
};

/// A reload that can be applied, or why not. Destroying it undoes the preparation.
struct PreparedReload {
  admin::ReloadResult result;  ///< `applied` if it can be
  // The rest only then.
  std::shared_ptr<const Config> config = {};
  ConfigDiff diff = {};
  ListenPlan listeners = {};
  ListenSockets sockets = {};  ///< of the addresses that are added: bound, but not listening
  CapturePlan captures = {};
};

/// Reads the configuration again, and prepares whatever can fail, except for names of targets. Can
/// block on disks and name servers. Changes nothing that others see.
[[nodiscard]] PreparedReload prepare_reload(const ReloadInput& input);

}  // namespace sluice
