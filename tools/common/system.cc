#include "tools/common/system.h"

#include <sys/resource.h>

#include <ctime>
#include <fstream>

namespace sluice {

std::size_t allow_many_descriptors() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return 0;
  const rlim_t before = files.rlim_cur;
  files.rlim_cur = files.rlim_max;
  return ::setrlimit(RLIMIT_NOFILE, &files) == 0 ? files.rlim_max : before;
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

Result<> write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text << std::flush;
  if (!file) return errno_error("write " + path);
  return {};
}

Result<> check_writable(const std::string& path) {
  const std::ofstream file(path, std::ios::binary | std::ios::app);
  if (!file) return errno_error("write " + path);
  return {};
}

}  // namespace sluice
