#include "tools/capture/walk.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <utility>

#include "iolib/base/units.h"

namespace sluice::capture {
namespace {

// Of the program: there is one terminal.
bool progress_shown = false;

// One line on a terminal, written over and over, and taken away at the end.
class Progress {
 public:
  Progress(std::uint64_t total_bytes, Stdout use)
      : total_bytes_(total_bytes),
        terminal_(::isatty(STDERR_FILENO) == 1 &&
                  (use == Stdout::lines || ::isatty(STDOUT_FILENO) == 0)) {}
  ~Progress() { clear_progress(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void at(std::uint64_t bytes) {
    const auto now = std::chrono::steady_clock::now();
    if (!terminal_ || now < next_) return;
    next_ = now + kInterval;
    progress_shown = true;
    constexpr std::uint64_t kMiB = 1 << 20;
    const std::uint64_t percent = total_bytes_ == 0 ? 100 : bytes * 100 / total_bytes_;
    std::fprintf(stderr, "\r%llu%% of %llu MiB\033[K", static_cast<unsigned long long>(percent),
                 static_cast<unsigned long long>(total_bytes_ / kMiB));
  }

 private:
  static constexpr std::chrono::milliseconds kInterval{250};
  const std::uint64_t total_bytes_;
  const bool terminal_;
  std::chrono::steady_clock::time_point next_ =
      std::chrono::steady_clock::now() + std::chrono::seconds(1);
};

}  // namespace

void clear_progress() {
  if (std::exchange(progress_shown, false)) std::fputs("\r\033[K", stderr);
}

Result<> walk(const std::vector<std::string>& paths, const Visit& visit, Stdout use) {
  Result<std::vector<Chain>> chains = list_capture(paths);
  if (!chains) return chains.error();
  std::uint64_t total_bytes = 0;
  for (const Chain& chain : *chains) {
    for (const SegmentFile& file : chain.segments) total_bytes += file.size_bytes;
  }
  Progress progress(total_bytes, use);
  std::uint64_t done_bytes = 0;
  // Looking at the clock at each record would be felt.
  constexpr unsigned kEventsPerLook = 64;
  unsigned events = 0;
  for (std::size_t i = 0; i < chains->size(); ++i) {
    ChainReader::Options options;
    options.reread_delay = kRereadDelay;
    ChainReader reader((*chains)[i], options);
    const At at{i, (*chains)[i], reader};
    while (true) {
      const Result<Event> event = reader.next();
      if (!event) return event.error();
      if (event->type == Event::Type::end) break;
      const Result<bool> more = visit(*event, at);
      if (!more) return more.error();
      if (!*more) return {};
      if (event->type == Event::Type::segment_end) done_bytes += event->segment->size_bytes;
      if (++events % kEventsPerLook == 0) {
        progress.at(done_bytes + (reader.segment_reader() ? reader.segment_reader()->offset() : 0));
      }
    }
  }
  return {};
}

}  // namespace sluice::capture
