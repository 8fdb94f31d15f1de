#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "iolib/base/error.h"
#include "tools/capture/options.h"
#include "tools/common/walk.h"

namespace sluice::capture {

/// The contribution of `event` to the exit status of a command that reads a capture's contents:
/// kDamage for damage, kGaps for a loss, otherwise 0.
[[nodiscard]] int status_of(const Event& event);

/// The ids of the live connections, for callers that need nothing else. take() must see every event
/// of a walk.
class ConnectionNames {
 public:
  /// `sought`: the id of a connection that check() requires, or empty.
  explicit ConnectionNames(std::string sought = {}) : sought_(std::move(sought)) {}
  void take(const Event& event, const At& at);
  /// The id of a connection of the chain `at`, or its stand-in if its `open` was not seen.
  [[nodiscard]] std::string of(std::uint64_t connection, const At& at) const;
  /// Fails if the sought connection was not found.
  [[nodiscard]] Result<> check() const;

 private:
  // The limit of all ids together. Further connections are named as if their `open` were lost.
  static constexpr std::size_t kMostBytes = 128 << 20;

  std::map<std::pair<std::size_t, std::uint64_t>, std::string> names_;  // by chain and number
  std::size_t bytes_ = 0;
  std::string sought_;
  bool found_ = false;
};

/// Formats "FILE, offset N: WHAT, connection ID, SIDE from OFFSET, N bytes". The connection and
/// side, or the number of bytes, are left out if `finding` has none. `id`: of its connection.
[[nodiscard]] std::string finding_line(const SegmentFile& file, const Finding& finding,
                                       std::string_view what, const std::string& id);

/// Prints a finding on stderr.
void print_finding(const Event& event, const At& at, const ConnectionNames& names);

/// The type of walk() and walk_by_time().
using Walk = Result<>(const std::vector<std::string>& paths, const Visit& visit, Stdout use);

/// Walks the invocation's paths, and reports on stderr what is damaged or lost: the first ten
/// findings, then the number of the others. Returns the greatest status_of(). Fails if the
/// connection that the filter names was not found.
[[nodiscard]] Result<int> walk_and_tell(const Invocation& invocation, const Visit& visit,
                                        Walk& how = walk);

}  // namespace sluice::capture
