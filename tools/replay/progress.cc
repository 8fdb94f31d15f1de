#include "tools/replay/progress.h"

#include <unistd.h>

#include <cstdio>

namespace sluice::replay {
namespace {

constexpr std::chrono::milliseconds kInterval{250};

}  // namespace

Progress::Progress() : terminal_(::isatty(STDERR_FILENO) == 1), last_(Clock::now()) {}

Progress::~Progress() {
  if (shown_) std::fputs("\r\033[K", stderr);
}

void Progress::show(const Figures& figures) {
  const TimePoint now = Clock::now();
  if (!terminal_ || now - last_ < kInterval) return;
  const double seconds = std::chrono::duration<double>(now - last_).count();
  constexpr double kMiB = 1 << 20;
  constexpr double kNsPerMs = 1e6;
  std::fprintf(stderr,
               "\r%llu of %llu connections, %zu open, %.1f MiB sent, %.1f MiB/s, %.1f ms behind"
               "\033[K",
               static_cast<unsigned long long>(figures.begun),
               static_cast<unsigned long long>(figures.connections), figures.open,
               static_cast<double>(figures.sent_bytes) / kMiB,
               static_cast<double>(figures.sent_bytes - last_bytes_) / kMiB / seconds,
               static_cast<double>(figures.lag_ns) / kNsPerMs);
  last_ = now;
  last_bytes_ = figures.sent_bytes;
  shown_ = true;
}

}  // namespace sluice::replay
