// Configuration files. Each is accepted, or every error in it is reported.

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "proxy/config/config_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const int file = ::memfd_create("config", MFD_CLOEXEC);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  if (::ftruncate(file, 0) != 0) std::abort();
  if (::pwrite(file, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  const auto config = sluice::load_config_file(path, {});
  if (config) {
    if (config->routes.empty()) std::abort();
    return 0;
  }
  const std::string mistakes = config.error().to_string();
  if (mistakes.empty() || mistakes.back() == '\n') std::abort();
  return 0;
}
