#include "proxy/taps/capture.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "iolib/base/clock.h"

namespace sluice {
namespace {

// How often directories are tended, and how often is asked whether retired recorders can go.
constexpr Duration kLook = std::chrono::seconds(1);
// A retired recorder stays at least this long: sessions of its routes may still be on their way
// here from other workers, or in the queue of a removed listener.
constexpr Duration kShortestRetirement = std::chrono::seconds(2);

// Logs the first detour of all workers.
void log_detour(const Error& error) {
  static std::atomic<bool> said = false;
  if (said.exchange(true)) return;
  const std::string reason = error.to_string();
  log::warn("capture_detour", {{"reason", reason}});
}

void add_up(capture::RecorderCounters& sums, const capture::RecorderCounters& counters) {
  using Counters = capture::RecorderCounters;
  for (Tally Counters::*each :
       {&Counters::recorded_bytes, &Counters::segments, &Counters::disk_failures,
        &Counters::segments_refused, &Counters::seal_failures, &Counters::lost_connections,
        &Counters::syncs, &Counters::sync_ns}) {
    (sums.*each).add(counters.*each);
  }
  for (std::size_t i = 0; i < sums.dropped_bytes.size(); ++i) {
    sums.dropped_bytes.at(i).add(counters.dropped_bytes.at(i));
  }
  sums.longest_sync_ns.set(std::max<std::uint64_t>(sums.longest_sync_ns, counters.longest_sync_ns));
}

}  // namespace

// --- The configuration ---

Result<> WorkerCapture::prepare(FileRing* ring, const CapturePlan& plan) {
  if (plan.directories.empty() && plan.left.empty()) return {};
  if (background_ == nullptr) {
    auto background = std::make_unique<BackgroundThreads>(1);
    auto disk = RealDisk::create(reactor_, ring, *background);
    disk->set_on_detour(log_detour);
    const std::lock_guard lock(mutex_);
    background_ = std::move(background);
    disk_ = std::move(disk);
  }
  if (worker_ == 0) {
    for (const CaptureDirectoryPtr& each : plan.left) tended_.push_back({each, each});
  }
  for (const CaptureDirectoryPtr& each : plan.directories) {
    Slot* const slot = find(each->path());
    if (slot == nullptr) {
      if (Result<> added = add(each, plan); added.has_error()) return added;
    } else if (slot->state == Slot::State::retired) {
      slot->state = Slot::State::taken_back;
    }
  }
  return {};
}

Result<> WorkerCapture::add(const CaptureDirectoryPtr& directory, const CapturePlan& plan) {
  capture::RecorderOptions options = directory->recorder;
  options.segments.run = plan.run;
  options.segments.worker = static_cast<std::uint32_t>(worker_);
  options.segments.kept_bytes = plan.buffer_bytes;
  options.buffer_bytes = plan.buffer_bytes;
  Result<std::unique_ptr<capture::Recorder>> recorder =
      capture::Recorder::create(reactor_, *disk_, *directory->store, options);
  if (recorder.has_error()) return recorder.error();
  auto slot = std::make_unique<Slot>();
  slot->directory = directory;
  slot->recorder = std::move(*recorder);
  slot->recorder->set_on_event(
      [this, &slot = *slot](capture::Recorder::Event event, const Error& error) {
        log_event(slot, event, error);
      });
  const std::lock_guard lock(mutex_);
  slots_.push_back(std::move(slot));
  return {};
}

void WorkerCapture::undo() {
  for (const auto& slot : slots_) {
    if (slot->state == Slot::State::taken_back) slot->state = Slot::State::retired;
    if (slot->state == Slot::State::prepared) close(*slot);
  }
}

void WorkerCapture::commit(const CapturePlan& plan) {
  for (const auto& slot : slots_) {
    const bool is_named = plan.find(slot->directory->path()) == slot->directory;
    switch (slot->state) {
      case Slot::State::prepared:
        slot->recorder->start();
        if (worker_ == 0) tended_.push_back({slot->directory, nullptr});
        slot->state = Slot::State::recording;
        break;
      case Slot::State::taken_back:
        slot->state = Slot::State::recording;
        break;
      case Slot::State::recording:
        if (is_named) break;
        slot->state = Slot::State::retired;
        slot->retired_at = reactor_.now();
        break;
      case Slot::State::retired:
      case Slot::State::closing:
      case Slot::State::closed:
        break;
    }
  }
  if (!slots_.empty() || !tended_.empty()) look_after();
}

WorkerCapture::Slot* WorkerCapture::find(std::string_view path) {
  const auto found = std::ranges::find_if(slots_, [&](const auto& slot) {
    return slot->state < Slot::State::closing && slot->directory->path() == path;
  });
  return found == slots_.end() ? nullptr : found->get();
}

capture::Recorder* WorkerCapture::recorder(std::string_view path) {
  Slot* const slot = find(path);
  const bool records = slot != nullptr && slot->state != Slot::State::prepared;
  return records ? slot->recorder.get() : nullptr;
}

// --- Once a second ---

void WorkerCapture::look_after() {
  tend();
  bool any_retired = false;
  for (const auto& slot : slots_) {
    if (slot->state != Slot::State::retired) continue;
    any_retired = true;
    if (reactor_.now() >= slot->retired_at + kShortestRetirement) ask_about(*slot);
  }
  if (any_retired || !tended_.empty()) reactor_.set_timer(*this, reactor_.now() + kLook);
}

void WorkerCapture::tend() {
  for (Tended& each : tended_) {
    CaptureDirectoryPtr directory = each.directory.lock();
    each.held = directory != nullptr && directory->store->has_others() ? directory : nullptr;
  }
  std::erase_if(tended_, [](const Tended& each) { return each.directory.expired(); });
  if (!are_tended_) return;
  std::vector<CaptureDirectoryPtr> needing;
  for (const Tended& each : tended_) {
    CaptureDirectoryPtr directory = each.directory.lock();
    if (directory != nullptr && directory->needs_tending()) needing.push_back(std::move(directory));
  }
  if (needing.empty()) return;
  are_tended_ = false;
  background_->submit([this, needing = std::move(needing)] {
    for (const CaptureDirectoryPtr& each : needing) each->tend();
    are_tended_ = true;
  });
}

void WorkerCapture::ask_about(Slot& slot) {
  if (slot.recorder->is_recording() || slot.question != 0) return;
  slot.question = ++questions_;
  ask_sessions(slot.directory->path(),
               [this, question = slot.question](bool in_use) { answered(question, in_use); });
}

// A directory that was taken back meanwhile, and retired again, has another retired_at.
void WorkerCapture::answered(std::uint64_t question, bool in_use) {
  const auto found = std::ranges::find_if(
      slots_, [question](const auto& slot) { return slot->question == question; });
  if (found == slots_.end()) return;
  Slot& slot = **found;
  slot.question = 0;
  const bool can_go = slot.state == Slot::State::retired && !in_use &&
                      !slot.recorder->is_recording() &&
                      reactor_.now() >= slot.retired_at + kShortestRetirement;
  if (can_go) close(slot);
}

// --- The end ---

void WorkerCapture::close(Slot& slot) {
  slot.state = Slot::State::closing;
  slot.recorder->close([this, &slot] { closed(slot); });
}

// When everything ends, the recorders stay, for the last figures.
void WorkerCapture::closed(Slot& slot) {
  slot.state = Slot::State::closed;
  if (on_closed_) {
    const bool all = std::ranges::all_of(
        slots_, [](const auto& each) { return each->state == Slot::State::closed; });
    if (all) std::exchange(on_closed_, nullptr)();
    return;
  }
  const auto found =
      std::ranges::find_if(slots_, [&](const auto& each) { return each.get() == &slot; });
  std::unique_ptr<Slot> gone;
  const std::lock_guard lock(mutex_);
  add_up(gone_, slot.recorder->counters());
  gone = std::move(*found);
  slots_.erase(found);
}

// What other processes left is sealed first: the background thread does things in order.
void WorkerCapture::close(std::function<void()> done) {
  reactor_.cancel_timer(*this);
  tend();
  if (slots_.empty()) return done();
  on_closed_ = std::move(done);
  for (const auto& slot : slots_) {
    if (slot->state < Slot::State::closing) close(*slot);
  }
}

bool WorkerCapture::is_used() const {
  const std::lock_guard lock(mutex_);
  return disk_ != nullptr;
}

std::uint64_t WorkerCapture::detours() const {
  const std::lock_guard lock(mutex_);
  return disk_ == nullptr ? 0 : disk_->detours();
}

void WorkerCapture::give_up() {
  for (const auto& slot : slots_) slot->recorder->give_up();
}

// --- Log lines ---

void WorkerCapture::log_event(Slot& slot, capture::Recorder::Event event,
                              const Error& error) const {
  using Event = capture::Recorder::Event;
  const TimePoint now = reactor_.now();
  const std::string& directory = slot.directory->path();
  Voice& voice = slot.voice;
  const auto say = [&](LogLevel level, std::string_view what, std::optional<std::uint64_t> times,
                       log::Field more) {
    if (!times) return;
    const log::Field fields[] = {
        {"directory", directory}, {"worker", std::uint64_t{worker_}}, more, {"times", *times}};
    log::write(level, what, fields);
  };
  const std::string text = error.to_string();
  const log::Field reason{"reason", text};
  const log::Field policy{"when_full", to_string(slot.directory->recorder.when_full)};
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

// --- Statistics ---

std::vector<log::Field> capture_sums(const CaptureDirectories& directories,
                                     const std::vector<const WorkerCapture*>& workers) {
  using Counters = capture::RecorderCounters;
  const auto for_each = [&](const auto& take) {
    for (const WorkerCapture* worker : workers) {
      worker->for_each_ever([&](const std::string&, const Counters& each) { take(each); });
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
      {"capture_segments_deleted", directories.counters().segments_deleted.load()},
      {"capture_deletions_failed", directories.counters().deletions_failed.load()},
      {"capture_syncs", sum(&Counters::syncs)},
      {"capture_sync_us", sum(&Counters::sync_ns) / 1000},
      {"capture_longest_sync_us", longest_sync_ns / 1000},
      {"capture_detours", detours},
  };
}

}  // namespace sluice
