#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/capture/recorder.h"
#include "iolib/disk/background.h"
#include "iolib/disk/disk.h"
#include "iolib/reactor/reactor.h"
#include "proxy/log/log.h"
#include "proxy/log/repeated.h"
#include "proxy/taps/capture_directories.h"

namespace sluice {

class FileRing;

/// The recorders of one worker, which change with the configuration. Belongs to the thread of its
/// reactor.
///
/// A recorder whose directory no route names any more is retired. It still records what sessions of
/// earlier routes begin, until there are none. Then it seals its segment and goes. With the last
/// worker's, the directory is closed.
class WorkerCapture : private Timer {
 public:
  WorkerCapture(Reactor& reactor, std::size_t worker) : reactor_(reactor), worker_(worker) {}
  ~WorkerCapture() override { reactor_.cancel_timer(*this); }

  /// Makes the recorders that `plan` needs, but creates no file. Recorders that are there already
  /// stay until commit() or undo(). `ring` is the reactor if it is a UringReactor, otherwise null.
  /// After an error, call undo(). Throws std::system_error if a thread cannot start.
  [[nodiscard]] Result<> prepare(FileRing* ring, const CapturePlan& plan);
  /// Drops what prepare() made.
  void undo();
  /// The recorders of the prepared `plan` record from now on, and all others are retired.
  void commit(const CapturePlan& plan);

  /// The recorder of the directory at `path`, also a retired one; null if there is none.
  [[nodiscard]] capture::Recorder* recorder(std::string_view path);
  /// Writes and seals everything, then calls `done`, once. Every Recording must have been closed.
  void close(std::function<void()> done);
  /// Ends a pending close(): bytes that are not written yet are lost.
  void give_up();

  /// Asks whether a session may still begin to record to `path` although no route names it. Calls
  /// `answer` at once or some turns later.
  std::function<void(std::string path, std::function<void(bool)> answer)> ask_sessions =
      [](const std::string&, const std::function<void(bool)>& answer) { answer(false); };

  // Any thread.

  /// Whether anything is or was recorded.
  [[nodiscard]] bool is_used() const;
  /// Calls `visit` with the path and the counters of each recorder.
  template <class Visit>
  void for_each(const Visit& visit) const {
    const std::lock_guard lock(mutex_);
    for (const auto& slot : slots_) visit(slot->directory->path(), slot->recorder->counters());
  }
  /// The same, and then with an empty path and the sums of those that are gone.
  template <class Visit>
  void for_each_ever(const Visit& visit) const {
    for_each(visit);
    const std::lock_guard lock(mutex_);
    visit(std::string(), gone_);
  }
  [[nodiscard]] std::uint64_t detours() const;

 private:
  // The log state of one recorder.
  struct Voice {
    Repeated disk_failures = {};
    Repeated segments_refused = {};
    Repeated seals_failed = {};
    Repeated seconds_behind = {};
  };
  struct Slot {
    enum class State : std::uint8_t {
      prepared,    ///< commit() or undo() comes next
      recording,   ///< routes name the directory
      retired,     ///< none does
      taken_back,  ///< retired, but the prepared plan names the directory again
      closing,     ///< writes what is left
      closed,      ///< like closing, but done; only while all are closed
    };
    CaptureDirectoryPtr directory;
    std::unique_ptr<capture::Recorder> recorder;
    State state = State::prepared;
    TimePoint retired_at = {};
    std::uint64_t question = 0;  ///< number of the pending one to the sessions; 0: none
    Voice voice = {};
  };

  // A timer, because segments expire also while nothing is written.
  void expired() override { look_after(); }
  void look_after();
  void tend();
  void ask_about(Slot& slot);
  void answered(std::uint64_t question, bool in_use);
  [[nodiscard]] Result<> add(const CaptureDirectoryPtr& directory, const CapturePlan& plan);
  [[nodiscard]] Slot* find(std::string_view path);
  void close(Slot& slot);
  void closed(Slot& slot);
  void log_event(Slot& slot, capture::Recorder::Event event, const Error& error) const;

  Reactor& reactor_;
  const std::size_t worker_;
  struct Tended {
    std::weak_ptr<CaptureDirectory> directory;
    CaptureDirectoryPtr held;  ///< it is kept open as long as other processes record to it
  };
  std::vector<Tended> tended_;          ///< all directories on the first worker; else none
  std::atomic<bool> are_tended_{true};  ///< the last round has finished
  std::uint64_t questions_ = 0;
  std::function<void()> on_closed_;  ///< of the pending close()
  /// Guards the list against other threads; only the worker's changes it, and reads it unguarded.
  mutable std::mutex mutex_;
  capture::RecorderCounters gone_;  ///< under mutex_: the sums of the recorders that are gone
  // Declared before the background thread, whose jobs use them and which ends first.
  std::vector<std::unique_ptr<Slot>> slots_;
  std::unique_ptr<RealDisk> disk_;  ///< made with the first recorder
  std::unique_ptr<BackgroundThreads> background_;
};

/// The sums over all workers since the start, as fields of the statistics line. Any thread.
[[nodiscard]] std::vector<log::Field> capture_sums(
    const CaptureDirectories& directories, const std::vector<const WorkerCapture*>& workers);

}  // namespace sluice
