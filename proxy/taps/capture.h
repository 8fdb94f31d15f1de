#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/capture/recorder.h"
#include "iolib/capture/store.h"
#include "iolib/disk/background.h"
#include "iolib/disk/disk.h"
#include "iolib/disk/volume.h"
#include "proxy/config/config.h"
#include "proxy/log/log.h"
#include "proxy/log/repeated.h"

namespace sluice {

/// One capture directory, which all workers share. It is locked, and the segments that a crash left
/// open are sealed.
struct CaptureDirectory {
  std::string path;
  std::unique_ptr<Directory> directory;
  std::unique_ptr<capture::Store> store;
  capture::Store::Leftovers leftovers;
  capture::RecorderOptions recorder;  ///< the options of each worker's recorder
  bool buffered = false;              ///< the configuration asks for buffered writes
};

/// All capture directories of a configuration, each once, in the order in which routes name them.
/// open() may block; `run` names this run in the segments.
class CaptureDirectories {
 public:
  [[nodiscard]] static Result<CaptureDirectories> open(const Config& config,
                                                       const std::string& run);
  [[nodiscard]] const std::vector<std::unique_ptr<CaptureDirectory>>& all() const {
    return directories_;
  }
  [[nodiscard]] bool empty() const { return directories_.empty(); }
  /// Keeps the directories that open() created. Call it once the start has succeeded.
  void keep() const;
  /// Logs what was recovered in each directory, and how it is written.
  void log() const;

 private:
  std::vector<std::unique_ptr<CaptureDirectory>> directories_;
};

/// The recorders of one worker. Belongs to the thread of its reactor.
class WorkerCapture : private Timer {
 public:
  explicit WorkerCapture(Reactor& reactor) : reactor_(reactor) {}
  /// Creates a recorder for each directory. `ring` is the reactor if it is a UringReactor,
  /// otherwise null. Creates no files.
  [[nodiscard]] Result<> open(FileRing* ring, const CaptureDirectories& directories,
                              std::size_t worker);
  /// Starts the recorders. Call it before the first connection.
  void start();

  /// The recorder of the directory at `path`; null if there is none.
  [[nodiscard]] capture::Recorder* recorder(std::string_view path);
  /// Writes and seals everything, then calls `done`, once.
  void close(const std::function<void()>& done);
  /// Ends a pending close(): bytes that are not written yet are lost.
  void give_up();

  /// Any thread.
  [[nodiscard]] const std::vector<std::unique_ptr<capture::Recorder>>& recorders() const {
    return recorders_;
  }
  [[nodiscard]] std::uint64_t detours() const { return disk_->detours(); }

 private:
  // The log state of one recorder.
  struct Voice {
    std::string_view directory;
    std::uint64_t worker = 0;
    std::string_view when_full;
    Repeated disk_failures = {};
    Repeated segments_refused = {};
    Repeated seals_failed = {};
    Repeated seconds_behind = {};
  };

  // A timer, because segments expire also while nothing is written.
  void expired() override { check_ages(); }
  void check_ages();
  void log_event(Voice& voice, capture::Recorder::Event event, const Error& error) const;

  Reactor& reactor_;
  std::vector<capture::Store*> aging_;    ///< stores whose old segments this worker deletes
  std::atomic<bool> ages_checked_{true};  ///< the last check has finished
  // Declared before the background thread, whose jobs use them and which ends first.
  std::deque<Voice> voices_;  ///< one for each recorder
  std::vector<std::unique_ptr<capture::Recorder>> recorders_;
  std::unique_ptr<RealDisk> disk_;
  std::unique_ptr<BackgroundThreads> background_;
  std::size_t open_ = 0;  ///< recorders that close() still waits for
};

/// The sums over all workers, as fields of the statistics line. Any thread.
[[nodiscard]] std::vector<log::Field> capture_sums(
    const CaptureDirectories& directories, const std::vector<const WorkerCapture*>& workers);

/// How the directory of `config` is opened: for buffered writes, or for O_DIRECT if possible.
[[nodiscard]] Directory::Mode capture_mode(const CaptureConfig& config);

/// What --check reports about a capture directory, on one line: O_DIRECT or not, the alignment, the
/// time of a durable write of 4 KiB, and whether there is room for a segment of each worker.
/// Performs every step of the daemon, from creating a segment to sealing it. Leaves no files
/// behind. May block.
[[nodiscard]] Result<std::string> probe_capture(const CaptureConfig& config, std::size_t workers);

}  // namespace sluice
