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

/// One directory that is recorded to, by all workers: locked, and cleared of what a crash left
/// open.
struct CaptureDirectory {
  std::string path;
  std::unique_ptr<Directory> directory;
  std::unique_ptr<capture::Store> store;
  capture::Store::Leftovers leftovers;
  capture::RecorderOptions recorder;  ///< of each worker
  bool buffered = false;              ///< as was asked for
};

/// The directories of a configuration, each once, in the order in which routes name them; `run`
/// names this run in segments. May block.
class CaptureDirectories {
 public:
  [[nodiscard]] static Result<CaptureDirectories> open(const Config& config,
                                                       const std::string& run);
  [[nodiscard]] const std::vector<std::unique_ptr<CaptureDirectory>>& all() const {
    return directories_;
  }
  [[nodiscard]] bool empty() const { return directories_.empty(); }
  /// The start has succeeded: directories that were made for it stay.
  void keep() const;
  /// Says what was found and how it will be written.
  void log() const;

 private:
  std::vector<std::unique_ptr<CaptureDirectory>> directories_;
};

/// One worker's recorders. Belongs to its reactor's thread.
class WorkerCapture : private Timer {
 public:
  explicit WorkerCapture(Reactor& reactor) : reactor_(reactor) {}
  /// `uring`: the reactor, if it is one. Leaves nothing behind.
  [[nodiscard]] Result<> open(UringReactor* uring, const CaptureDirectories& directories,
                              std::size_t worker);
  /// Connections come from now on.
  void start();

  /// Records to the directory of this name; null if there is none.
  [[nodiscard]] capture::Recorder* recorder(std::string_view path);
  /// Writes and seals everything, then calls `done`, once.
  void close(const std::function<void()>& done);
  /// What is not written by now is lost.
  void give_up();

  /// Any thread.
  [[nodiscard]] const std::vector<std::unique_ptr<capture::Recorder>>& recorders() const {
    return recorders_;
  }
  [[nodiscard]] std::uint64_t detours() const { return disk_->detours(); }

 private:
  // What one recorder has to say.
  struct Voice {
    std::string_view directory;
    std::uint64_t worker = 0;
    std::string_view when_full;
    Repeated disk_failures = {};
    Repeated segments_refused = {};
    Repeated seals_failed = {};
    Repeated seconds_behind = {};
  };

  // Segments grow too old without anything being written.
  void expired() override { check_ages(); }
  void check_ages();
  void log_event(Voice& voice, capture::Recorder::Event event, const Error& error) const;

  Reactor& reactor_;
  std::vector<capture::Store*> aging_;    ///< whose segments this worker deletes by age
  std::atomic<bool> ages_checked_{true};  ///< the last check is done
  // What its jobs belong to outlives the background thread.
  std::deque<Voice> voices_;  ///< by recorder
  std::vector<std::unique_ptr<capture::Recorder>> recorders_;
  std::unique_ptr<RealDisk> disk_;
  std::unique_ptr<BackgroundThreads> background_;
  std::size_t open_ = 0;  ///< recorders that close() still waits for
};

/// The sums of all workers, as fields of the statistics.
[[nodiscard]] std::vector<log::Field> capture_sums(
    const CaptureDirectories& directories, const std::vector<const WorkerCapture*>& workers);

[[nodiscard]] Directory::Mode capture_mode(const CaptureConfig& config);

/// What --check says about a directory, on one line: whether O_DIRECT is to be had, the alignment,
/// how long a durable write of 4 KiB takes, whether there is room for a segment of each worker.
/// Does all that the daemon will do there, from making a segment to sealing it; leaves nothing
/// behind.
[[nodiscard]] Result<std::string> probe_capture(const CaptureConfig& config, std::size_t workers);

}  // namespace sluice
