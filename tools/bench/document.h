#pragma once

#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "tools/bench/workload.h"
#include "tools/common/json.h"

namespace sluice::bench {

// The JSON document, as FORMAT.md describes it.
inline constexpr int kFormatVersion = 1;

// From where on a run's figure says that the others are not to be trusted; both are medians.
inline constexpr double kMuchOfOthers = 0.2;  ///< other_cpus
inline constexpr double kSaturated = 0.9;     ///< ends_busiest_thread; of `direct` that is no news

/// A string of a document.
[[nodiscard]] inline std::string text_of(const json::value& value) {
  return std::string(value.as_string());
}

/// A document without workloads: format, version, time, command and machine.
[[nodiscard]] json::object new_document(const std::string& command);

/// The type of the filesystem that a directory is on, "ext4", and where that is mounted; "?" if
/// nobody knows (proc_pid_mountinfo(5)).
[[nodiscard]] std::string filesystem_of(const std::string& directory);

/// A workload's entry, without runs. `local`: CPU and memory of the path are known.
[[nodiscard]] json::object new_workload(const Workload& workload, bool local);

/// Fills in a workload's "summary" from its "runs": for each contender the medians with their
/// spread, the medians of the per-round ratios to `baseline`'s with theirs, and the percentiles'
/// medians.
void summarize(json::object& workload, const std::vector<std::string>& contenders,
               const std::string& baseline);

/// Reads a document from a file; an error that names what is wrong with it.
[[nodiscard]] Result<json::object> read_document(const std::string& path);
/// It, indented.
[[nodiscard]] std::string to_text(const json::object& document);

/// A number of the document, or nothing where there is none.
[[nodiscard]] const json::value* find(const json::object& object, std::string_view key);
[[nodiscard]] double number(const json::value& value);

}  // namespace sluice::bench
