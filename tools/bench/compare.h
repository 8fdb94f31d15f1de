#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/json/json.h"
#include "tools/bench/calls.h"
#include "tools/bench/contender.h"
#include "tools/bench/workload.h"

namespace sluice::bench {

/// The options of a comparison.
struct CompareOptions {
  std::vector<Contender> contenders;
  bool all_contenders = false;  ///< true if the user did not choose contenders
  std::vector<Workload> workloads;
  std::string baseline;  ///< ratios are relative to this contender
  std::size_t rounds = 5;
  double seconds = 2;
  double warmup_seconds = 0.3;
  std::size_t threads = 0;
  std::size_t workers = 2;  ///< per contender, for the report
  std::size_t servers = 1;  ///< that the contenders balance over
  std::size_t names = 0;    ///< of the servers, which connections ask for by a TLS hello
  std::uint64_t verify_bytes = 64 << 20;
  bool verify_all = false;
  /// Counts the system calls of each forwarder, in one more run of each workload.
  CallTool call_tool = CallTool::none;
  std::string no_calls = {};       ///< why they are not counted, although they should be
  std::string command;             ///< the command line, for the report
  std::string directory = "/tmp";  ///< each run makes a temporary directory in it
};

/// Returns an error, worded for the user, if the directory has less free space than one run may
/// record; see most_recorded_bytes().
[[nodiscard]] Result<> check_space(const CompareOptions& options);
/// The estimated maximum that one run records, in bytes; 0 if no contender records. It is the sum
/// of:
/// - for each second, warm-up included: 2 GiB if a workload has streams or messages of 4 KiB or
///   more, otherwise 128 MiB;
/// - `verify_bytes`, for each direction;
/// - two segments of 256 MiB for each worker.
[[nodiscard]] std::uint64_t most_recorded_bytes(const CompareOptions& options);

/// Runs every workload on every contender in turn, A B C A B C ..., and returns the JSON document
/// (tools/bench/FORMAT.md). Each run has its own process and, for root, its own network namespace,
/// so that no run inherits another's TIME_WAIT. Shows progress on stderr. If the program is
/// interrupted, returns the results so far with "interrupted":true. Makes this process a child
/// subreaper.
[[nodiscard]] json::object compare(const CompareOptions& options);

/// The time limit of one run, which includes verification in both directions. A run that exceeds it
/// is ended and void.
[[nodiscard]] double most_seconds_of_run(const CompareOptions& options);

/// The estimated duration of compare().
[[nodiscard]] double estimated_seconds(const CompareOptions& options);

}  // namespace sluice::bench
