#pragma once

#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "tools/common/walk.h"

namespace sluice::capture {

/// The exit status of a command that delivers what a capture holds, as far as `event` decides it:
/// kDamage, kGaps for what is lost, or 0.
[[nodiscard]] int status_of(const Event& event);

/// Says on stderr what is wrong. `of`: what it is about, or nothing.
void print_finding(const Event& event, const std::string& of = "");

/// walk(), or walk_by_time().
using Walk = Result<>(const std::vector<std::string>& paths, const Visit& visit, Stdout use);

/// Walks, and says on stderr what is damaged or lost: the first ten findings, then how many more
/// there are. Returns the greatest status_of().
[[nodiscard]] Result<int> walk_and_tell(const std::vector<std::string>& paths, const Visit& visit,
                                        Walk& how = walk);

}  // namespace sluice::capture
