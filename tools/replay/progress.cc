#include "tools/replay/progress.h"

#include <chrono>
#include <cstdio>
#include <string>

#include "iolib/base/units.h"

namespace sluice::replay {

Progress::Progress() : line_(StatusLine::kind_of_stderr(), Clock::now()), last_(Clock::now()) {}

void Progress::show(const Figures& figures) {
  const TimePoint now = Clock::now();
  if (!line_.is_due(now)) return;
  const double seconds = std::chrono::duration<double>(now - last_).count();
  constexpr double kMiB = 1 << 20;
  constexpr double kNsPerMs = 1e6;
  char buffer[256];
  std::snprintf(buffer, sizeof buffer,
                "%llu of %llu connections, %zu open, %.1f MiB sent, %.1f MiB/s, %.1f ms behind",
                static_cast<unsigned long long>(figures.begun),
                static_cast<unsigned long long>(figures.connections), figures.open,
                static_cast<double>(figures.sent_bytes) / kMiB,
                static_cast<double>(figures.sent_bytes - last_bytes_) / kMiB / seconds,
                static_cast<double>(figures.lag_ns) / kNsPerMs);
  std::string text = buffer;
  // Otherwise a long gap looks like a standstill.
  constexpr std::chrono::seconds kLong{10};
  if (figures.next > kLong) {
    text +=
        ", the next in " + format_duration(std::chrono::floor<std::chrono::seconds>(figures.next));
  }
  line_.show(now, text);
  last_ = now;
  last_bytes_ = figures.sent_bytes;
}

}  // namespace sluice::replay
