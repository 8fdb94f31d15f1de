#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "iolib/capture/recorder.h"
#include "iolib/capture/store.h"
#include "iolib/disk/volume.h"
#include "proxy/config/config.h"
#include "proxy/log/repeated.h"
#include "proxy/taps/handed_captures.h"

namespace sluice {

/// One capture directory, which all workers share. It is locked, and the segments that a crash left
/// open are sealed. It is closed, and its lock goes, when nobody holds it any more.
struct CaptureDirectory {
  enum class State : std::uint8_t {
    prepared,  ///< for a configuration that may yet be refused
    named,     ///< by routes
    retired,   ///< by none any more
  };
  CaptureDirectory() = default;
  /// Logs that a retired one is closed.
  ~CaptureDirectory();
  CaptureDirectory(const CaptureDirectory&) = delete;
  CaptureDirectory& operator=(const CaptureDirectory&) = delete;

  /// Applies the retention, and looks after what other processes record here: see Store. To be
  /// called once a second. May block. Any thread.
  void tend();
  /// Whether there is anything to tend.
  [[nodiscard]] bool needs_tending() const {
    return store->has_others() || store->deletes_by_age();
  }

  std::atomic<State> state{State::prepared};
  Repeated not_recovered;  ///< of tend()
  /// Under which this process records here, or has. Only CaptureDirectories uses it.
  std::vector<std::string> runs;
  // The rest never changes once it is open, apart from what the Store does.
  CaptureConfig config;
  std::unique_ptr<Directory> directory;
  std::unique_ptr<capture::Store> store;
  capture::Store::Leftovers leftovers;
  capture::RecorderOptions recorder;  ///< the options of each worker's recorder
  [[nodiscard]] const std::string& path() const { return config.capture; }

 private:
  std::mutex tending_;  ///< held by tend()
};
using CaptureDirectoryPtr = std::shared_ptr<CaptureDirectory>;

/// The directories that a configuration names, each once, in the order in which routes name them.
/// Those that no other plan had are closed with it, unless CaptureDirectories::commit() has taken
/// it; then a directory that was created for it is removed again.
struct CapturePlan {
  std::vector<CaptureDirectoryPtr> directories;
  /// Those that no route names, but to which processes still record that this one took over from.
  std::vector<CaptureDirectoryPtr> left;
  std::string run;                 ///< names this plan's new chains in their segments
  std::uint64_t buffer_bytes = 0;  ///< of each new recorder
  [[nodiscard]] CaptureDirectoryPtr find(std::string_view path) const;
};

/// All capture directories that are open: those of the configuration, and those that no route names
/// any more while workers still write what began before. The workers' recorders keep the latter
/// open: see WorkerCapture. Any thread, except where it says otherwise.
class CaptureDirectories {
 public:
  CaptureDirectories() = default;
  CaptureDirectories(const CaptureDirectories&) = delete;
  CaptureDirectories& operator=(const CaptureDirectories&) = delete;

  /// The directories of `config`, for commit(). Takes those that are open as they are, also those
  /// that no route named any more, and opens the others. Creates, locks and recovers directories,
  /// so it may block. `run` must differ from that of every other plan, and sort after it.
  [[nodiscard]] Result<CapturePlan> prepare(const Config& config, std::string run);
  /// The paths of directories that are open with other settings than `config` has for them. These
  /// cannot be changed.
  [[nodiscard]] std::vector<std::string> changed_settings(const Config& config) const;
  /// Those of `plan` are the directories of the configuration from now on. Call it before the
  /// workers take over the plan. Control thread.
  void commit(const CapturePlan& plan);
  /// Logs what was recovered in each directory that the last commit() has added, and how it is
  /// written. Control thread.
  void log_new();

  /// The directories of the configuration.
  [[nodiscard]] CapturePlan plan() const;
  /// All that are open, those of the configuration first.
  [[nodiscard]] std::vector<CaptureDirectoryPtr> all() const;

  // A takeover. These do not block.

  /// What a successor needs. Until let_go(), no other plan may be committed.
  [[nodiscard]] Result<HandedCaptures> hand_over() const;
  /// The runs that this process writes, or may write: those of committed plans whose directories
  /// are still open.
  [[nodiscard]] std::vector<std::string> runs() const;
  /// The successor applies the retention from now on, and this process does not.
  void let_go();
  /// For a successor: the first prepare() uses `handed`. It leaves alone what other processes have
  /// not sealed, and no retention is applied until take_charge().
  void inherit(HandedCaptures handed);
  void take_charge();
  /// The process that wrote these runs has ended; it must not be able to write any more. What it
  /// left is sealed within seconds, if this process has the directory open.
  void ended(const std::vector<std::string>& runs);

  struct Counters {
    std::atomic<std::uint64_t> segments_deleted{0};
    std::atomic<std::uint64_t> deletions_failed{0};
  };
  /// The sums over all directories, also those that were closed.
  [[nodiscard]] const Counters& counters() const { return counters_; }

 private:
  [[nodiscard]] Result<CaptureDirectoryPtr> open(const CaptureConfig& config, OwnedFd lock);
  [[nodiscard]] Result<std::unique_ptr<Directory>> open_locked(const CaptureConfig& config,
                                                               OwnedFd lock) const;
  /// All that are open, whatever their state.
  [[nodiscard]] std::vector<CaptureDirectoryPtr> open_ones() const;
  [[nodiscard]] std::set<std::string> living() const;
  void set_retains(bool retains);
  /// An open one, whatever its state; else null.
  [[nodiscard]] CaptureDirectoryPtr find(std::string_view path) const;
  [[nodiscard]] bool was_open(std::string_view path) const;
  void report(const std::string& path, const capture::Store::Deletion& deletion);

  struct Opened {
    std::string path;
    std::weak_ptr<CaptureDirectory> directory;
    std::optional<TimePoint> seen_closed;
  };
  void forget_closed();

  mutable std::mutex mutex_;
  CapturePlan plan_;            ///< under mutex_
  std::vector<Opened> opened_;  ///< under mutex_: all, also those that were closed lately
  std::vector<std::weak_ptr<CaptureDirectory>> new_;  ///< control thread; for log_new()
  std::vector<HandedCaptures::Lock> handed_;          ///< under mutex_; not used yet
  std::set<std::string> living_;                      ///< under mutex_; runs of predecessors
  std::atomic<bool> retains_{true};
  Counters counters_;
};

/// How the directory of `config` is opened: for buffered writes, or for O_DIRECT if possible.
[[nodiscard]] Directory::Mode capture_mode(const CaptureConfig& config);

/// What --check reports about a capture directory, on one line: O_DIRECT or not, the alignment, the
/// time of a durable write of 4 KiB, and whether there is room for a segment of each worker.
/// Performs every step of the daemon, from creating a segment to sealing it. Leaves no files
/// behind. May block.
[[nodiscard]] Result<std::string> probe_capture(const CaptureConfig& config, std::size_t workers);

}  // namespace sluice
