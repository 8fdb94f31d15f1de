#include "proxy/taps/capture_directories.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "iolib/base/clock.h"
#include "iolib/base/text.h"
#include "iolib/base/units.h"
#include "proxy/log/log.h"

namespace sluice {
namespace {

using capture::Durability;
using capture::WhenFull;

// A directory that has just lost its last user is locked until its destructor has ended.
constexpr Duration kUnlockTime = std::chrono::seconds(5);
constexpr Duration kUnlockPause = std::chrono::milliseconds(1);

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

capture::RecorderOptions recorder_options(const CaptureConfig& config) {
  capture::RecorderOptions options;
  options.segments.durability = config.durability;
  options.segments.sync_interval = config.sync_interval;
  options.segments.segment_bytes = config.segment_size_bytes;
  options.segments.program = "sluice " SLUICE_VERSION;
  options.when_full = when_full(config);
  options.flush_interval = config.flush_interval;
  options.segment_time = config.segment_time;
  options.exact = config.capture_exact || config.durability == Durability::before_forward;
  return options;
}

// The captures of all routes, each directory once.
std::vector<const CaptureConfig*> captures_of(const Config& config) {
  std::vector<const CaptureConfig*> wanted;
  for (const RouteConfig& route : config.routes) {
    const auto same = [&](const CaptureConfig* other) { return other->capture == route.capture; };
    if (!route.capture.empty() && std::ranges::none_of(wanted, same)) wanted.push_back(&route);
  }
  return wanted;
}

// Takes the lock of the directory that is at `path`, however the giver has called it.
OwnedFd take_lock(std::vector<HandedCaptures::Lock>& handed, const std::string& path) {
  const auto found = std::ranges::find_if(handed, [&](const HandedCaptures::Lock& each) {
    return Directory::is_lock_of(each.lock.get(), path);
  });
  if (found == handed.end()) return {};
  OwnedFd lock = std::move(found->lock);
  handed.erase(found);
  return lock;
}

void log_recovered(const CaptureDirectory& directory, const capture::Store::Leftovers& leftovers) {
  if (leftovers.sealed == 0) return;
  log::warn("capture_recovered",
            {{"directory", directory.path()}, {"segments", std::uint64_t{leftovers.sealed}}});
}

}  // namespace

void CaptureDirectory::tend() {
  const std::lock_guard lock(tending_);
  if (!store->has_others()) return store->apply_retention();
  const Result<capture::Store::Leftovers> others = store->look_after_others();
  if (others.has_value()) return log_recovered(*this, *others);
  const auto times = not_recovered.happened(Clock::now());
  if (!times) return;
  const std::string reason = others.error().to_string();
  log::error("capture_not_recovered",
             {{"directory", path()}, {"reason", reason}, {"times", *times}});
}

CaptureDirectory::~CaptureDirectory() {
  if (state != State::retired) return;
  // Whoever reads this may move the directory, or record to it.
  store.reset();
  directory.reset();
  log::info("capture_closed", {{"directory", path()}});
}

Directory::Mode capture_mode(const CaptureConfig& config) {
  return config.capture_io == CaptureIo::buffered ? Directory::Mode::buffered
                                                  : Directory::Mode::direct_if_possible;
}

CaptureDirectoryPtr CapturePlan::find(std::string_view path) const {
  const auto found = std::ranges::find(directories, path, &CaptureDirectory::path);
  return found == directories.end() ? nullptr : *found;
}

// --- To open ---

Result<CapturePlan> CaptureDirectories::prepare(const Config& config, std::string run) {
  const std::vector<const CaptureConfig*> wanted = captures_of(config);
  CapturePlan plan;
  plan.run = std::move(run);
  plan.buffer_bytes = config.capture_buffers_bytes / std::max<std::size_t>(wanted.size(), 1);
  std::vector<HandedCaptures::Lock> handed;
  {
    const std::lock_guard lock(mutex_);
    forget_closed();
    handed.swap(handed_);
  }
  for (const CaptureConfig* each : wanted) {
    CaptureDirectoryPtr directory = find(each->capture);
    if (directory == nullptr) {
      Result<CaptureDirectoryPtr> opened = open(*each, take_lock(handed, each->capture));
      if (opened.has_error()) return opened.error();
      directory = std::move(*opened);
    }
    plan.directories.push_back(std::move(directory));
  }
  for (HandedCaptures::Lock& each : handed) {
    CaptureConfig unnamed;
    unnamed.capture = each.path;
    Result<CaptureDirectoryPtr> opened = open(unnamed, std::move(each.lock));
    if (opened.has_error() && opened.error().code == ESTALE) continue;
    if (opened.has_error()) return opened.error();
    (*opened)->state = CaptureDirectory::State::retired;
    plan.left.push_back(std::move(*opened));
  }
  return plan;
}

Result<std::unique_ptr<Directory>> CaptureDirectories::open_locked(const CaptureConfig& config,
                                                                   OwnedFd lock) const {
  if (lock) return Directory::inherit(config.capture, std::move(lock), capture_mode(config));
  const TimePoint deadline = Clock::now() + kUnlockTime;
  for (;;) {
    Result<std::unique_ptr<Directory>> directory =
        Directory::open(config.capture, capture_mode(config));
    const bool may_be_ours = directory.has_error() && directory.error().code == EBUSY &&
                             was_open(config.capture) && Clock::now() < deadline;
    if (!may_be_ours) return directory;
    std::this_thread::sleep_for(kUnlockPause);
  }
}

Result<CaptureDirectoryPtr> CaptureDirectories::open(const CaptureConfig& config, OwnedFd lock) {
  auto target = std::make_shared<CaptureDirectory>();
  target->config = config;
  Result<std::unique_ptr<Directory>> directory = open_locked(config, std::move(lock));
  if (directory.has_error()) return directory.error();
  target->directory = std::move(*directory);
  target->store = std::make_unique<capture::Store>(
      *target->directory, capture::Retention{config.retain_size_bytes, config.retain_age});
  target->store->set_on_deletion(
      [this, path = config.capture](const capture::Store::Deletion& deletion) {
        report(path, deletion);
      });
  target->store->set_on_smaller([path = config.capture](std::uint64_t asked, std::uint64_t made) {
    log::warn("capture_segments_smaller", {{"directory", path},
                                           {"segment_size", format_size_bytes(asked)},
                                           {"made", format_size_bytes(made)}});
  });
  target->store->set_retains(retains_);
  Result<capture::Store::Leftovers> leftovers = target->store->recover(living());
  if (leftovers.has_error()) return leftovers.error();
  target->leftovers = *leftovers;
  target->recorder = recorder_options(config);
  const std::lock_guard guard(mutex_);
  opened_.push_back({config.capture, target, {}});
  return target;
}

CaptureDirectoryPtr CaptureDirectories::find(std::string_view path) const {
  const std::lock_guard lock(mutex_);
  for (const Opened& each : opened_) {
    if (each.path != path) continue;
    if (CaptureDirectoryPtr directory = each.directory.lock()) return directory;
  }
  return nullptr;
}

bool CaptureDirectories::was_open(std::string_view path) const {
  const std::lock_guard lock(mutex_);
  return std::ranges::find(opened_, path, &Opened::path) != opened_.end();
}

// Those that a refused reload has opened are here, too. Under mutex_.
void CaptureDirectories::forget_closed() {
  const TimePoint now = Clock::now();
  std::erase_if(opened_, [now](Opened& each) {
    if (!each.directory.expired()) return false;
    if (!each.seen_closed) each.seen_closed = now;
    return now - *each.seen_closed > kUnlockTime;
  });
}

std::vector<std::string> CaptureDirectories::changed_settings(const Config& config) const {
  std::vector<std::string> changed;
  for (const CaptureConfig* each : captures_of(config)) {
    const CaptureDirectoryPtr open = find(each->capture);
    if (open != nullptr && open->config != *each) changed.push_back(each->capture);
  }
  return changed;
}

// --- Those of the configuration ---

void CaptureDirectories::commit(const CapturePlan& plan) {
  using State = CaptureDirectory::State;
  CapturePlan before = plan;
  before.left.clear();  // the workers have them
  {
    const std::lock_guard lock(mutex_);
    std::swap(plan_, before);
    forget_closed();
    for (const CaptureDirectoryPtr& each : plan.directories) {
      // The workers make new recorders for it, or some of them do.
      if (each->state != State::named) each->runs.push_back(plan.run);
    }
  }
  for (const CaptureDirectoryPtr& each : before.directories) {
    if (plan.find(each->path()) == nullptr) each->state = State::retired;
  }
  for (const CaptureDirectoryPtr& each : plan.directories) {
    if (each->state.exchange(State::named) == State::prepared) new_.push_back(each);
    each->directory->keep();
  }
}

CapturePlan CaptureDirectories::plan() const {
  const std::lock_guard lock(mutex_);
  return plan_;
}

std::vector<CaptureDirectoryPtr> CaptureDirectories::all() const {
  const std::lock_guard lock(mutex_);
  std::vector<CaptureDirectoryPtr> all = plan_.directories;
  for (const Opened& each : opened_) {
    CaptureDirectoryPtr directory = each.directory.lock();
    const bool retired =
        directory != nullptr && directory->state == CaptureDirectory::State::retired;
    if (retired) all.push_back(std::move(directory));
  }
  return all;
}

// --- A takeover ---

std::vector<CaptureDirectoryPtr> CaptureDirectories::open_ones() const {
  const std::lock_guard lock(mutex_);
  std::vector<CaptureDirectoryPtr> found;
  for (const Opened& each : opened_) {
    if (CaptureDirectoryPtr directory = each.directory.lock())
      found.push_back(std::move(directory));
  }
  return found;
}

Result<HandedCaptures> CaptureDirectories::hand_over() const {
  HandedCaptures handed;
  for (const CaptureDirectoryPtr& each : open_ones()) {
    // The other process seals whatever is left of those that have ended.
    if (each->store->has_others()) each->tend();
    Result<OwnedFd> lock = each->directory->share_lock();
    if (lock.has_error()) return lock.error();
    handed.locks.push_back({each->path(), std::move(*lock)});
  }
  handed.living = runs();
  const std::lock_guard lock(mutex_);
  handed.living.insert(handed.living.end(), living_.begin(), living_.end());
  return handed;
}

std::vector<std::string> CaptureDirectories::runs() const {
  const std::vector<CaptureDirectoryPtr> open = open_ones();
  std::vector<std::string> runs;
  const std::lock_guard lock(mutex_);
  for (const CaptureDirectoryPtr& each : open) {
    for (const std::string& run : each->runs) {
      if (std::ranges::find(runs, run) == runs.end()) runs.push_back(run);
    }
  }
  return runs;
}

std::set<std::string> CaptureDirectories::living() const {
  const std::lock_guard lock(mutex_);
  return living_;
}

void CaptureDirectories::inherit(HandedCaptures handed) {
  retains_ = false;
  const std::lock_guard lock(mutex_);
  handed_ = std::move(handed.locks);
  living_.insert(handed.living.begin(), handed.living.end());
}

void CaptureDirectories::set_retains(bool retains) {
  retains_ = retains;
  for (const CaptureDirectoryPtr& each : open_ones()) each->store->set_retains(retains);
}

void CaptureDirectories::let_go() { set_retains(false); }
void CaptureDirectories::take_charge() { set_retains(true); }

void CaptureDirectories::ended(const std::vector<std::string>& runs) {
  {
    const std::lock_guard lock(mutex_);
    for (const std::string& run : runs) living_.erase(run);
  }
  for (const CaptureDirectoryPtr& each : open_ones()) {
    for (const std::string& run : runs) each->store->ended(run);
  }
}

// --- Log lines ---

void CaptureDirectories::log_new() {
  for (const std::weak_ptr<CaptureDirectory>& added : std::exchange(new_, {})) {
    const CaptureDirectoryPtr each = added.lock();
    if (each == nullptr) continue;
    log_recovered(*each, each->leftovers);
    if (!each->directory->direct() && each->config.capture_io != CaptureIo::buffered) {
      log::warn("capture_buffered",
                {{"directory", each->path()}, {"reason", "the filesystem has no O_DIRECT"}});
    }
    log::info("capturing",
              {{"directory", each->path()},
               {"durability", capture::to_string(each->recorder.segments.durability)}});
  }
}

void CaptureDirectories::report(const std::string& path, const capture::Store::Deletion& deletion) {
  ++(deletion.error ? counters_.deletions_failed : counters_.segments_deleted);
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

}  // namespace sluice
