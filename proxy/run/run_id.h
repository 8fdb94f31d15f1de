#pragma once

#include <string>

namespace sluice {

/// An id that is unique over restarts, and sorts after those of before: the time, and a random part
/// for starts within the same millisecond.
[[nodiscard]] std::string run_id();

}  // namespace sluice
