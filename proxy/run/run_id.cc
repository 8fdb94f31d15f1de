#include "proxy/run/run_id.h"

#include <chrono>
#include <cstdio>
#include <random>

namespace sluice {

std::string run_id() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  std::random_device random;
  char text[32];
  std::snprintf(text, sizeof text, "%llx%04x",
                static_cast<unsigned long long>(
                    std::chrono::duration_cast<std::chrono::milliseconds>(now).count()),
                random() & 0xffffU);
  return text;
}

}  // namespace sluice
