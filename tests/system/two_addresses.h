#pragma once

#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace sluice::test {

/// A name for one program, of which ::1 is the first address and 127.0.0.1 the second: where the
/// machine has no IPv6, the latter alone.
class TwoAddresses {
 public:
  static constexpr const char* kName = "two.test";
  /// Whether this process may give a program a name: only root may, and not everywhere.
  [[nodiscard]] static bool possible();

  TwoAddresses();
  /// The command line, for a program that knows the name.
  [[nodiscard]] std::vector<std::string> known_to(const std::vector<std::string>& command) const;

 private:
  TempDir folder_;
};

}  // namespace sluice::test
