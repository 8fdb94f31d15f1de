#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "tests/system/programs.h"

namespace sluice::test {

/// Where the example configurations are: $SLUICE_EXAMPLES.
[[nodiscard]] std::filesystem::path example_folder();

/// Strings of an example, without their quotes, and what takes their places: addresses, names and
/// intervals. Each must occur.
using Replacements = std::vector<std::pair<std::string, std::string>>;

/// The text of an example with these replaced. Its listeners are 127.0.0.1:0.
[[nodiscard]] std::string example_with(const std::string& name, const Replacements& replaced);

/// A daemon with an example, between real programs.
class ExampleTest : public ProgramTest {
 protected:
  /// Checks come and go, so descriptors are not counted.
  void TearDown() override;
  /// `listeners`: how many the example has.
  void start_example(const std::string& name, const Replacements& replaced,
                     std::size_t listeners = 1);
};

}  // namespace sluice::test
