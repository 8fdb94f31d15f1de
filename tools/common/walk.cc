#include "tools/common/walk.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "iolib/base/clock.h"
#include "tools/common/status_line.h"

namespace sluice::capture {
namespace {

// No progress in place if a stream of bytes goes to the same terminal.
StatusLine::Kind kind_of(Stdout use) {
  const StatusLine::Kind kind = StatusLine::kind_of_stderr();
  const bool shared = use == Stdout::streams && ::isatty(STDOUT_FILENO) == 1;
  return kind == StatusLine::Kind::in_place && shared ? StatusLine::Kind::none : kind;
}

class Progress {
 public:
  Progress(const std::vector<Chain>& chains, Stdout use)
      : line_(kind_of(use), Clock::now(), std::chrono::seconds(1)) {
    for (const Chain& chain : chains) {
      for (const SegmentFile& file : chain.segments) total_bytes_ += file.size_bytes;
    }
  }
  // Call it after each event of a reader.
  void take(const Event& event, const ChainReader& reader) {
    if (event.type == Event::Type::segment_end) done_bytes_ += event.segment->size_bytes;
    // Reading the clock for each event would be too slow, so it is read once per kBytesPerLook.
    // Each event counts as kEventBytes besides its payload.
    constexpr std::size_t kEventBytes = 1 << 10;
    constexpr std::size_t kBytesPerLook = 64 << 10;
    unlooked_bytes_ += kEventBytes + event.payload.size();
    if (unlooked_bytes_ < kBytesPerLook) return;
    unlooked_bytes_ = 0;
    look(reader);
  }

 private:
  void look(const ChainReader& reader) {
    const TimePoint now = Clock::now();
    if (!line_.is_due(now)) return;
    constexpr std::uint64_t kMiB = 1 << 20;
    const std::uint64_t bytes =
        done_bytes_ + (reader.segment_reader() ? reader.segment_reader()->offset() : 0);
    const std::uint64_t percent = total_bytes_ == 0 ? 100 : bytes * 100 / total_bytes_;
    line_.show(now,
               std::to_string(percent) + "% of " + std::to_string(total_bytes_ / kMiB) + " MiB");
  }

  std::uint64_t total_bytes_ = 0;
  std::uint64_t done_bytes_ = 0;
  std::size_t unlooked_bytes_ = 0;
  StatusLine line_;
};

ChainReader::Options reading_options() {
  ChainReader::Options options;
  options.reread_delay = kRereadDelay;
  return options;
}

// Merges several chains; it holds the next event of each.
class Merge {
 public:
  void add(std::size_t index, const Chain& chain) {
    readings_.push_back(
        {index, chain, std::make_unique<ChainReader>(chain, reading_options()), {}, 0});
  }
  Result<bool> run(const Visit& visit, Progress& progress) {
    for (Reading& reading : readings_) {
      if (const Result<> read = advance(reading); !read) return read.error();
    }
    while (!readings_.empty()) {
      const auto next = std::ranges::min_element(readings_, {}, &Reading::monotonic_ns);
      const bool ended = next->event.type == Event::Type::end;
      const Result<bool> more = visit(next->event, {next->index, next->chain, *next->reader});
      if (!more || !*more) return more;
      progress.take(next->event, *next->reader);
      if (ended) {
        readings_.erase(next);
      } else if (const Result<> read = advance(*next); !read) {
        return read.error();
      }
    }
    return go_on();
  }

 private:
  struct Reading {
    std::size_t index;
    std::reference_wrapper<const Chain> chain;
    std::unique_ptr<ChainReader> reader;
    Event event;
    std::uint64_t monotonic_ns;  // of the last record that advance() counts
  };
  static Result<> advance(Reading& reading) {
    Result<Event> event = reading.reader->next();
    if (!event) return event.error();
    reading.event = *event;
    // Events without a connection, and repeats, do not count: the time of a `segment` record, or of
    // the table after it, can be later than that of the records that follow.
    const bool counts = event->type == Event::Type::record && event->header.connection != 0 &&
                        !event->effect.repeated;
    if (counts) reading.monotonic_ns = event->header.monotonic_ns;
    return {};
  }

  std::vector<Reading> readings_;
};

}  // namespace

void clear_progress() { StatusLine::clear(); }

Result<> walk(const std::vector<std::string>& paths, const Visit& visit, Stdout use) {
  Result<std::vector<Chain>> chains = list_capture(paths);
  if (!chains) return chains.error();
  Progress progress(*chains, use);
  for (std::size_t i = 0; i < chains->size(); ++i) {
    ChainReader reader((*chains)[i], reading_options());
    const At at{i, (*chains)[i], reader};
    while (true) {
      const Result<Event> event = reader.next();
      if (!event) return event.error();
      if (event->type == Event::Type::end) break;
      const Result<bool> more = visit(*event, at);
      if (!more) return more.error();
      if (!*more) return {};
      progress.take(*event, reader);
    }
  }
  return {};
}

Result<> walk_by_time(const std::vector<std::string>& paths, const Visit& visit, Stdout use) {
  // Each chain needs one frame in memory.
  constexpr std::size_t kMostChains = 256;
  Result<std::vector<Chain>> chains = list_capture(paths);
  if (!chains) return chains.error();
  Progress progress(*chains, use);
  for (std::size_t begin = 0; begin < chains->size();) {
    Merge merge;
    std::size_t end = begin;
    while (end < chains->size() && end - begin < kMostChains &&
           (*chains)[end].run == (*chains)[begin].run) {
      merge.add(end, (*chains)[end]);
      ++end;
    }
    const Result<bool> more = merge.run(visit, progress);
    if (!more) return more.error();
    if (!*more) return {};
    begin = end;
  }
  return {};
}

}  // namespace sluice::capture
