#pragma once

#include <string>

namespace sluice::ctl {

/// The exit statuses besides 0; kUsageStatus is the one for wrong usage.
inline constexpr int kRefused = 1;     ///< the daemon refused, or its answer cannot be used
inline constexpr int kNobody = 3;      ///< nobody answers
inline constexpr int kNotAllowed = 4;  ///< this user, or this token, may not do that

/// Why a command cannot be completed. Thrown; main() prints `message` and exits with `status`.
struct Failure {
  int status = kRefused;
  std::string message;  ///< can contain text of the daemon, so it is escaped when it is printed
};

}  // namespace sluice::ctl
