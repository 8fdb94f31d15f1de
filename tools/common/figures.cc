#include "tools/common/figures.h"

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>

namespace sluice {

std::string as_bytes(double bytes) {
  constexpr double kUnit = 1024;
  constexpr std::array<const char*, 5> kNames{"bytes", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  for (; bytes >= kUnit && unit + 1 < kNames.size(); ++unit) bytes /= kUnit;
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.*f %s", bytes == std::floor(bytes) ? 0 : 1, bytes,
                kNames[unit]);
  return text.data();
}

}  // namespace sluice
