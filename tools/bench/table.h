#pragma once

#include <string>

#include "tools/common/json.h"

namespace sluice::bench {

enum class TableStyle : std::uint8_t {
  plain,     ///< text in columns
  terminal,  ///< with the best of each column in bold
  markdown,
};

/// A document for a reader: for each workload a table of medians with their spread, and one of the
/// ratios to the baseline; then what was void, and what makes a figure doubtful. `direct` and the
/// baseline's second run, which are no contenders, are never the best, nor is what has fewer valid
/// runs than another.
[[nodiscard]] std::string to_table(const json::object& document, TableStyle style);

/// The machine, the settings and the contenders' versions, as lines of text.
[[nodiscard]] std::string describe_machine(const json::object& document);

/// All that a reader needs to judge a table and to make it again, as a Markdown list: the command,
/// the machine, the settings, and of each contender the version, the command and the configuration.
[[nodiscard]] std::string describe_conditions(const json::object& document);

}  // namespace sluice::bench
