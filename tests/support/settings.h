#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace sluice::test {

/// How large a run is: SLUICE_QUICK=1 for sanitizers, SLUICE_LONG=1 for a soak, else neither.
enum class Scale { quick, normal, thorough };
[[nodiscard]] Scale scale();

/// The one of the three that fits scale().
template <class T>
[[nodiscard]] T by_scale(T quick, T normal, T thorough) {
  switch (scale()) {
    case Scale::quick:
      return quick;
    case Scale::thorough:
      return thorough;
    case Scale::normal:
      break;
  }
  return normal;
}

/// True if this program was built with a sanitizer, and so, by the same build, was the daemon.
[[nodiscard]] bool sanitized();

/// For a child's environment: its LeakSanitizer, if it has one, looks for nothing. It would wait
/// for threads that it cannot stop, and cannot work while somebody traces.
[[nodiscard]] std::string without_leak_check();

/// From SLUICE_SEED, else from the system's randomness. Printed once, so that a run can be had
/// again.
[[nodiscard]] std::uint64_t seed();

/// How long a test waits for what ought to come soon before it calls it lost. Generous, since a
/// wait ends with its condition and only a failure lasts this long.
inline constexpr std::chrono::seconds kPatience{30};

}  // namespace sluice::test
