#pragma once

#include <string>
#include <vector>

#include "iolib/json/json.h"

namespace sluice::bench {

enum class TableStyle : std::uint8_t {
  plain,     ///< text in columns
  terminal,  ///< like plain, with the best of each column in bold
  markdown,
};

/// A document as text: for each workload a table of medians with their spread, and a table of the
/// ratios to the baseline; then the void runs and what makes figures doubtful. `direct` and `A/A`
/// are never marked as best, nor is a contender with fewer valid runs than another.
[[nodiscard]] std::string to_table(const json::object& document, TableStyle style);

/// The machine, the settings and the contenders' versions, as lines of text.
[[nodiscard]] std::string describe_machine(const json::object& document);

/// What a reader needs to judge the tables and to repeat the run, as a Markdown list: the command,
/// the machine, the settings, and each contender's version, command and configuration.
[[nodiscard]] std::string describe_conditions(const json::object& document);

/// The reasons to distrust a workload's figures, one a line, except its void runs.
[[nodiscard]] std::vector<std::string> doubts(const json::object& workload);

}  // namespace sluice::bench
