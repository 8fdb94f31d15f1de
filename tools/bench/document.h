#pragma once

#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/json/json.h"
#include "tools/bench/workload.h"

namespace sluice::bench {

// The JSON document, as FORMAT.md describes it.
inline constexpr int kFormatVersion = 1;

// Thresholds for two medians. Above them, the report warns that the other figures are unreliable.
inline constexpr double kMuchOfOthers = 0.2;  ///< of other_cpus
inline constexpr double kSaturated = 0.9;     ///< of ends_busiest_thread; not for `direct`

/// A string value as std::string. Throws if it is not a string.
[[nodiscard]] inline std::string text_of(const json::value& value) {
  return std::string(value.as_string());
}

/// A document without workloads: format, version, time, command and machine.
[[nodiscard]] json::object new_document(const std::string& command);

/// The type and the mount point of the filesystem that holds the directory, as in "ext4 at /"; "?"
/// if unknown (proc_pid_mountinfo(5)).
[[nodiscard]] std::string filesystem_of(const std::string& directory);

/// A workload's entry, without runs. `local`: the CPU time and memory of the path are measured.
/// `calls`: its system calls are counted.
[[nodiscard]] json::object new_workload(const Workload& workload, bool local, bool calls = false);

/// Computes a workload's "summary" from its "runs" and "syscalls". For each contender it has: the
/// medians with their spread, the medians of the per-round ratios to `baseline` with their spread,
/// and the medians of the percentiles.
void summarize(json::object& workload, const std::vector<std::string>& contenders,
               const std::string& baseline);

/// Reads a document from a file, or from stdin for "-", and computes the summaries again. An error
/// says what is wrong with the document.
[[nodiscard]] Result<json::object> read_document(const std::string& path);
/// The document as indented JSON.
[[nodiscard]] std::string to_text(const json::object& document);

/// A member of an object; null if it is missing.
[[nodiscard]] const json::value* find(const json::object& object, std::string_view key);
/// A number as a double. Throws if the value is not a number.
[[nodiscard]] double number(const json::value& value);

}  // namespace sluice::bench
