#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "iolib/base/owned_fd.h"
#include "tests/support/process.h"

namespace sluice::test {

/// A child and the reading ends of its stdout (if captured) and stderr.
struct Spawned {
  pid_t pid = -1;
  OwnedFd output;
  OwnedFd error;
};

/// Forks and executes `program`; throws with the child's errno if that fails.
[[nodiscard]] Spawned spawn(const std::string& program, const std::vector<std::string>& argv,
                            const ProcessOptions& options);

}  // namespace sluice::test
