#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tests/system/outcome.h"

namespace sluice::test {

/// The path of sluice-ctl, from $SLUICE_CTL.
[[nodiscard]] std::string ctl_program();
/// Runs it to its end with these arguments; throws if it does not end.
[[nodiscard]] Outcome run_ctl(std::vector<std::string> arguments,
                              const ProcessOptions& options = {});
/// The same with --socket.
[[nodiscard]] Outcome run_ctl_at(const std::string& socket, std::vector<std::string> arguments);

[[nodiscard]] inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != text.npos;
}

}  // namespace sluice::test
