#include "proxy/taps/capture.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "iolib/base/clock.h"
#include "iolib/base/text.h"
#include "iolib/base/units.h"

namespace sluice {
namespace {

using capture::Durability;
using capture::WhenFull;

constexpr Duration kAgeCheck = std::chrono::seconds(1);

WhenFull when_full(const CaptureConfig& config) {
  switch (config.capture_full) {
    case CaptureFull::block:
      return WhenFull::block;
    case CaptureFull::drop:
      return WhenFull::drop;
    case CaptureFull::close:
      return WhenFull::close;
    case CaptureFull::automatic:
      break;
  }
  const bool strict =
      config.durability == Durability::batch || config.durability == Durability::before_forward;
  return strict ? WhenFull::block : WhenFull::drop;
}

capture::RecorderOptions recorder_options(const CaptureConfig& config, const std::string& run,
                                          std::uint64_t buffer_bytes) {
  capture::RecorderOptions options;
  options.segments.durability = config.durability;
  options.segments.sync_interval = config.sync_interval;
  options.segments.segment_bytes = config.segment_size_bytes;
  options.segments.kept_bytes = buffer_bytes;
  options.segments.run = run;
  options.segments.program = "sluice " SLUICE_VERSION;
  options.when_full = when_full(config);
  options.buffer_bytes = buffer_bytes;
  options.flush_interval = config.flush_interval;
  options.segment_time = config.segment_time;
  options.exact = config.capture_exact || config.durability == Durability::before_forward;
  return options;
}

// Logs the first detour of all workers.
void log_detour(const Error& error) {
  static std::atomic<bool> said = false;
  if (said.exchange(true)) return;
  const std::string reason = error.to_string();
  log::warn("capture_detour", {{"reason", reason}});
}

void log_deletion(const std::string& path, const capture::Store::Deletion& deletion) {
  const std::string segment = one_line(deletion.segment);
  if (deletion.error) {
    const std::string reason = deletion.error->to_string();
    return log::error("capture_not_deleted",
                      {{"directory", path}, {"segment", segment}, {"reason", reason}});
  }
  if (deletion.reason == capture::Store::Reason::room) {
    return log::warn("capture_deleted_for_room",
                     {{"directory", path}, {"segment", segment}, {"bytes", deletion.size_bytes}});
  }
  const bool old = deletion.reason == capture::Store::Reason::age;
  log::info("capture_deleted", {{"directory", path},
                                {"segment", segment},
                                {"bytes", deletion.size_bytes},
                                {"reason", old ? "retain-age" : "retain-size"}});
}

}  // namespace

// --- CaptureDirectories ---

Directory::Mode capture_mode(const CaptureConfig& config) {
  return config.capture_io == CaptureIo::buffered ? Directory::Mode::buffered
                                                  : Directory::Mode::direct_if_possible;
}

Result<CaptureDirectories> CaptureDirectories::open(const Config& config, const std::string& run) {
  std::vector<const CaptureConfig*> wanted;
  for (const RouteConfig& route : config.routes) {
    const auto same = [&](const CaptureConfig* other) { return other->capture == route.capture; };
    if (!route.capture.empty() && std::ranges::none_of(wanted, same)) wanted.push_back(&route);
  }
  CaptureDirectories opened;
  for (const CaptureConfig* each : wanted) {
    auto target = std::make_unique<CaptureDirectory>();
    target->path = each->capture;
    target->buffered = each->capture_io == CaptureIo::buffered;
    Result<std::unique_ptr<Directory>> directory =
        Directory::open(each->capture, capture_mode(*each));
    if (directory.has_error()) return directory.error();
    target->directory = std::move(*directory);
    target->store = std::make_unique<capture::Store>(
        *target->directory, capture::Retention{each->retain_size_bytes, each->retain_age});
    target->store->set_on_deletion(
        [path = each->capture](const capture::Store::Deletion& deletion) {
          log_deletion(path, deletion);
        });
    target->store->set_on_smaller([path = each->capture](std::uint64_t asked, std::uint64_t made) {
      log::warn("capture_segments_smaller", {{"directory", path},
                                             {"segment_size", format_size_bytes(asked)},
                                             {"made", format_size_bytes(made)}});
    });
    Result<capture::Store::Leftovers> leftovers = target->store->recover();
    if (leftovers.has_error()) return leftovers.error();
    target->leftovers = *leftovers;
    target->recorder = recorder_options(*each, run, config.capture_buffers_bytes / wanted.size());
    opened.directories_.push_back(std::move(target));
  }
  return opened;
}

void CaptureDirectories::keep() const {
  for (const auto& each : directories_) each->directory->keep();
}

void CaptureDirectories::log() const {
  for (const auto& each : directories_) {
    if (each->leftovers.sealed > 0) {
      log::warn("capture_recovered",
                {{"directory", each->path}, {"segments", std::uint64_t{each->leftovers.sealed}}});
    }
    if (!each->directory->direct() && !each->buffered) {
      log::warn("capture_buffered",
                {{"directory", each->path}, {"reason", "the filesystem has no O_DIRECT"}});
    }
    log::info("capturing",
              {{"directory", each->path},
               {"durability", capture::to_string(each->recorder.segments.durability)}});
  }
}

// --- WorkerCapture ---

Result<> WorkerCapture::open(FileRing* ring, const CaptureDirectories& directories,
                             std::size_t worker) {
  background_ = std::make_unique<BackgroundThreads>(1);
  disk_ = RealDisk::create(reactor_, ring, *background_);
  disk_->set_on_detour(log_detour);
  for (const auto& each : directories.all()) {
    capture::RecorderOptions options = each->recorder;
    options.segments.worker = static_cast<std::uint32_t>(worker);
    Result<std::unique_ptr<capture::Recorder>> recorder =
        capture::Recorder::create(reactor_, *disk_, *each->store, options);
    if (recorder.has_error()) return recorder.error();
    Voice& voice = voices_.emplace_back();
    voice.directory = each->path;
    voice.worker = worker;
    voice.when_full = to_string(options.when_full);
    (*recorder)->set_on_event([this, &voice](capture::Recorder::Event event, const Error& error) {
      log_event(voice, event, error);
    });
    recorders_.push_back(std::move(*recorder));
    if (worker == 0 && each->store->deletes_by_age()) aging_.push_back(each->store.get());
  }
  return {};
}

void WorkerCapture::start() {
  for (const auto& recorder : recorders_) recorder->start();
  if (!aging_.empty()) check_ages();
}

void WorkerCapture::log_event(Voice& voice, capture::Recorder::Event event,
                              const Error& error) const {
  using Event = capture::Recorder::Event;
  const TimePoint now = reactor_.now();
  const auto say = [&](LogLevel level, std::string_view what, std::optional<std::uint64_t> times,
                       log::Field more) {
    if (!times) return;
    const log::Field fields[] = {
        {"directory", voice.directory}, {"worker", voice.worker}, more, {"times", *times}};
    log::write(level, what, fields);
  };
  const std::string text = error.to_string();
  const log::Field reason{"reason", text};
  const log::Field policy{"when_full", voice.when_full};
  switch (event) {
    case Event::disk_failed:
      return say(LogLevel::error, "capture_disk_failed", voice.disk_failures.happened(now), reason);
    case Event::segment_refused:
      return say(LogLevel::error, "capture_no_segment", voice.segments_refused.happened(now),
                 reason);
    case Event::segment_granted:
      return say(LogLevel::info, "capture_goes_on", voice.segments_refused.ended(now), policy);
    case Event::seal_failed:
      return say(LogLevel::error, "capture_not_sealed", voice.seals_failed.happened(now), reason);
    case Event::behind:
      return say(LogLevel::warn, "capture_behind", voice.seconds_behind.happened(now), policy);
    case Event::caught_up:
      return say(LogLevel::info, "capture_caught_up", voice.seconds_behind.ended(now), policy);
  }
}

void WorkerCapture::check_ages() {
  reactor_.set_timer(*this, reactor_.now() + kAgeCheck);
  if (!ages_checked_.exchange(false)) return;
  background_->submit([this] {
    for (capture::Store* store : aging_) store->apply_retention();
    ages_checked_ = true;
  });
}

capture::Recorder* WorkerCapture::recorder(std::string_view path) {
  const auto found = std::ranges::find(voices_, path, &Voice::directory);
  return found == voices_.end()
             ? nullptr
             : recorders_[static_cast<std::size_t>(found - voices_.begin())].get();
}

void WorkerCapture::close(const std::function<void()>& done) {
  reactor_.cancel_timer(*this);
  open_ = recorders_.size();
  for (const auto& recorder : recorders_) {
    recorder->close([this, done] {
      if (--open_ == 0) done();
    });
  }
}

void WorkerCapture::give_up() {
  for (const auto& recorder : recorders_) recorder->give_up();
}

// --- Statistics ---

std::vector<log::Field> capture_sums(const CaptureDirectories& directories,
                                     const std::vector<const WorkerCapture*>& workers) {
  using Counters = capture::RecorderCounters;
  const auto for_each = [&](const auto& take) {
    for (const WorkerCapture* worker : workers) {
      for (const auto& recorder : worker->recorders()) take(recorder->counters());
    }
  };
  const auto sum = [&](Tally Counters::*count) {
    std::uint64_t total = 0;
    for_each([&](const Counters& each) { total += (each.*count); });
    return total;
  };
  const auto dropped = [&](capture::GapReason reason) {
    std::uint64_t total = 0;
    for_each([&](const Counters& each) {
      total += each.dropped_bytes[static_cast<std::size_t>(reason)];
    });
    return total;
  };
  std::uint64_t longest_sync_ns = 0;
  for_each([&](const Counters& each) {
    longest_sync_ns = std::max(longest_sync_ns, each.longest_sync_ns.get());
  });
  std::uint64_t detours = 0;
  for (const WorkerCapture* worker : workers) detours += worker->detours();
  std::uint64_t deleted = 0;
  std::uint64_t not_deleted = 0;
  for (const auto& each : directories.all()) {
    deleted += each->store->counters().segments_deleted;
    not_deleted += each->store->counters().deletions_failed;
  }
  using capture::GapReason;
  return {
      {"capture_bytes", sum(&Counters::recorded_bytes)},
      {"capture_lag", sum(&Counters::lag_bytes)},
      {"capture_dropped_full", dropped(GapReason::buffers_full)},
      {"capture_dropped_disk_full", dropped(GapReason::disk_full)},
      {"capture_dropped_disk_failed", dropped(GapReason::disk_failed)},
      {"capture_dropped_limit", dropped(GapReason::limit)},
      {"capture_dropped_not_duplicated", dropped(GapReason::not_duplicated)},
      {"capture_lost_connections", sum(&Counters::lost_connections)},
      {"capture_blocks", sum(&Counters::blocks_in_use)},
      {"capture_segments", sum(&Counters::segments)},
      {"capture_disk_failures", sum(&Counters::disk_failures)},
      {"capture_segments_refused", sum(&Counters::segments_refused)},
      {"capture_seal_failures", sum(&Counters::seal_failures)},
      {"capture_segments_deleted", deleted},
      {"capture_deletions_failed", not_deleted},
      {"capture_syncs", sum(&Counters::syncs)},
      {"capture_sync_us", sum(&Counters::sync_ns) / 1000},
      {"capture_longest_sync_us", longest_sync_ns / 1000},
      {"capture_detours", detours},
  };
}

}  // namespace sluice
