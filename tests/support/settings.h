#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace sluice::test {

/// How large a run is: SLUICE_QUICK=1 for sanitizers, SLUICE_LONG=1 for a soak, else neither.
enum class Scale { quick, normal, thorough };
[[nodiscard]] Scale scale();

/// The value for scale().
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

/// True if this program was built with a sanitizer. The daemon comes from the same build.
[[nodiscard]] bool sanitized();

/// For a child's environment: turns off its LeakSanitizer, if it has one. That would wait for
/// threads that it cannot stop, and it cannot work while the child is traced.
[[nodiscard]] std::string without_leak_check();

/// From SLUICE_SEED, else from the system's randomness. Printed once, so that a run can be
/// repeated.
[[nodiscard]] std::uint64_t seed();

/// How long a test waits for something that should come soon. It is generous, since a wait ends
/// with its condition and only a failure lasts this long.
inline constexpr std::chrono::seconds kPatience{30};

}  // namespace sluice::test
