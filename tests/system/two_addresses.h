#pragma once

#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace sluice::test {

/// A name, known to one program, whose first address is ::1 and the second 127.0.0.1. Without IPv6
/// on the machine it has only the latter.
class TwoAddresses {
 public:
  static constexpr const char* kName = "two.test";
  /// Whether this process may give a program a name. Only root may, and not everywhere.
  [[nodiscard]] static bool possible();

  TwoAddresses();
  /// The command line that runs a program which knows the name.
  [[nodiscard]] std::vector<std::string> known_to(const std::vector<std::string>& command) const;

 private:
  TempDir folder_;
};

}  // namespace sluice::test
