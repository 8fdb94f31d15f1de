#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "iolib/json/json.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"
#include "tests/system/programs.h"

namespace sluice::test {

/// $SLUICE_REPLAY, the program under test.
[[nodiscard]] std::string replay_tool();

/// The output of a replay.
struct Replayed {
  std::optional<int> status;
  std::string output;
  std::string error;
  json::object report;  ///< what --json has written, if anything

  /// A number of the report's part "replay".
  [[nodiscard]] std::uint64_t count(const char* key) const {
    return report.at("replay").at(key).to_number<std::uint64_t>();
  }
};

/// Runs a replay to its end with these arguments and --json.
[[nodiscard]] Replayed replay(std::vector<std::string> arguments,
                              const ProcessOptions& options = {},
                              std::chrono::seconds patience = kProgramPatience);

}  // namespace sluice::test
