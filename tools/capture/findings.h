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

/// The exit status of a command that delivers what a capture holds, as far as `event` decides it:
/// kDamage, kGaps for what is lost, or 0.
[[nodiscard]] int status_of(const Event& event);

/// What the connections that are alive are called, for who needs no more of them. It is shown every
/// event of a walk.
class ConnectionNames {
 public:
  /// `sought`: the id of one that has to be there, or nothing.
  explicit ConnectionNames(std::string sought = {}) : sought_(std::move(sought)) {}
  void take(const Event& event, const At& at);
  [[nodiscard]] std::string of(std::uint64_t connection, const At& at) const;
  /// Fails if the one sought was not there.
  [[nodiscard]] Result<> check() const;

 private:
  // Those beyond are called like one whose `open` is lost.
  static constexpr std::size_t kMostBytes = 128 << 20;

  std::map<std::pair<std::size_t, std::uint64_t>, std::string> names_;  // by chain and number
  std::size_t bytes_ = 0;
  std::string sought_;
  bool found_ = false;
};

/// A part of a stream, as it is said of a finding.
struct StreamPlace {
  std::string id;
  Side side = Side::client;
  std::uint64_t offset = 0;
};
/// "FILE, offset N: WHAT, connection ID, SIDE from OFFSET, N bytes". `stream` may be null; no bytes
/// are not said.
[[nodiscard]] std::string finding_line(const SegmentFile& file, std::uint64_t offset,
                                       std::string_view what, const StreamPlace* stream,
                                       std::uint64_t bytes);

/// Says on stderr what is wrong.
void print_finding(const Event& event, const At& at, const ConnectionNames& names);

/// walk(), or walk_by_time().
using Walk = Result<>(const std::vector<std::string>& paths, const Visit& visit, Stdout use);

/// Walks the invocation's paths, and says on stderr what is damaged or lost: the first ten
/// findings, then how many more there are. Returns the greatest status_of(). Fails if the
/// connection that the filter names was not there.
[[nodiscard]] Result<int> walk_and_tell(const Invocation& invocation, const Visit& visit,
                                        Walk& how = walk);

}  // namespace sluice::capture
