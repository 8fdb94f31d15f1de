#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "tools/bench/contender.h"
#include "tools/bench/workload.h"
#include "tools/common/json.h"

namespace sluice::bench {

struct CompareOptions {
  std::vector<Contender> contenders;
  bool all_contenders = false;  ///< nobody chose among those that are installed
  std::vector<Workload> workloads;
  std::string baseline;  ///< the contender that ratios are relative to
  std::size_t rounds = 5;
  double seconds = 2;
  double warmup_seconds = 0.3;
  std::size_t threads = 0;
  std::size_t workers = 2;  ///< what the contenders were told, for the report
  std::uint64_t verify_bytes = 64 << 20;
  bool verify_all = false;
  std::string command;             ///< as it was typed, for the report
  std::string directory = "/tmp";  ///< each run has one of its own there, for as long as it lasts
};

/// An error, in a reader's words, if there is not as much room in the directory as a run may
/// record: see most_recorded_bytes().
[[nodiscard]] Result<> check_space(const CompareOptions& options);
/// An estimate of what one run records at most; 0 if no contender does. 2 GiB for each second,
/// warm-up included, of a workload with streams or with messages of 4 KiB or more, 128 MiB for each
/// of any other, what is verified, each way, and for each worker two segments of 256 MiB.
[[nodiscard]] std::uint64_t most_recorded_bytes(const CompareOptions& options);

/// Runs every workload on every contender in turn, A B C A B C ..., each run in a process of its
/// own (and, for root, in a network namespace of its own, so that none inherits another's
/// TIME_WAIT), and returns the JSON document (tools/bench/FORMAT.md). Says on stderr how it goes.
/// When the program is interrupted, what was measured until then is returned, with
/// "interrupted":true.
[[nodiscard]] json::object compare(const CompareOptions& options);

/// How long one run may take; it is then ended, and void. What it verifies first counts, each way.
[[nodiscard]] double most_seconds_of_run(const CompareOptions& options);

/// How long that will take.
[[nodiscard]] double estimated_seconds(const CompareOptions& options);

}  // namespace sluice::bench
