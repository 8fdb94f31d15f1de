#include "tests/support/settings.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>

#include "iolib/base/sanitizers.h"

namespace sluice::test {
namespace {

bool is_set(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' && std::strcmp(value, "0") != 0;
}

std::uint64_t choose_seed() {
  const char* given = std::getenv("SLUICE_SEED");
  std::random_device device;
  const std::uint64_t chosen = given != nullptr
                                   ? std::strtoull(given, nullptr, 0)
                                   : (std::uint64_t{device()} << 32 | std::uint64_t{device()});
  std::printf("seed: SLUICE_SEED=%llu\n", static_cast<unsigned long long>(chosen));
  std::fflush(stdout);
  return chosen;
}

}  // namespace

Scale scale() {
  if (is_set("SLUICE_QUICK")) return Scale::quick;
  return is_set("SLUICE_LONG") ? Scale::thorough : Scale::normal;
}

bool sanitized() { return kAddressSanitizer || kThreadSanitizer; }

std::string without_leak_check() {
  const char* inherited = std::getenv("ASAN_OPTIONS");
  const std::string options = inherited != nullptr ? inherited + std::string(":") : "";
  return "ASAN_OPTIONS=" + options + "detect_leaks=0";
}

std::uint64_t seed() {
  static const std::uint64_t chosen = choose_seed();
  return chosen;
}

}  // namespace sluice::test
