#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "iolib/base/error.h"
#include "iolib/disk/background.h"
#include "iolib/reactor/reactor.h"

namespace sluice {

class FileRing;

/// Writes files for one thread and completes each write on the Reactor of that thread.
///
/// Only that thread uses it. Files are borrowed: they must stay open until every request on them
/// has completed. The result of each request comes as the `Completion` of its `operation`.
class Disk {
 public:
  virtual ~Disk() = default;
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  enum class Durable : bool { no, yes };
  /// Writes `bytes` at `offset`. Both meet the alignment that the file needs, and `bytes` stay
  /// valid until completion. The result is the number of bytes written, which can be fewer, or
  /// -errno. With Durable::yes they are on stable storage at completion (RWF_DSYNC).
  virtual void write(int file, std::span<const std::byte> bytes, std::uint64_t offset,
                     Durable durable, Operation& operation) = 0;
  /// fdatasync(2): makes the writes durable that completed before this call. The result is 0 or
  /// -errno.
  virtual void sync(int file, Operation& operation) = 0;
  /// Runs `work`, which may block, on another thread. Calls run one after the other, in order. The
  /// result is what `work` returns.
  virtual void run(std::function<int()> work, Operation& operation) = 0;
  /// Announces that most writes come from `buffer`, so that the kernel can keep its pages pinned.
  virtual void prepare_buffer(std::span<std::byte> /*buffer*/) {}
  /// The reverse. Call it before the buffer's memory is freed, with no write of it in flight.
  virtual void release_buffer(std::span<std::byte> /*buffer*/) {}

 protected:
  Disk() = default;
  // For implementations: they mark an operation as started and complete it.
  static void begin(Operation& operation);
  static void finish(Operation& operation, int result);
};

/// The implementations that write to real files.
class RealDisk : public Disk {
 public:
  /// Uses `ring`, which completes on the loop of `reactor`, if it is not null, otherwise threads of
  /// its own. `background` runs the work given to run(). All three are borrowed.
  [[nodiscard]] static std::unique_ptr<RealDisk> create(Reactor& reactor, FileRing* ring,
                                                        BackgroundThreads& background);
  void run(std::function<int()> work, Operation& operation) override;

  /// Sets what is called, once, for the first request that io_uring could not run for lack of
  /// threads or memory. A thread that exists from the start runs each such request instead.
  void set_on_detour(std::function<void(const Error&)> on_detour) {
    on_detour_ = std::move(on_detour);
  }
  /// How many such requests there were. Any thread.
  [[nodiscard]] std::uint64_t detours() const { return detours_.load(std::memory_order_relaxed); }

 protected:
  RealDisk(Reactor& reactor, BackgroundThreads& background)
      : reactor_(reactor), background_(background) {}
  /// Runs `call` on one of `threads`, then completes `operation` on the reactor. begin(operation)
  /// comes first.
  void run_on(BackgroundThreads& threads, std::function<int()> call, Operation& operation);
  void count_detour(int error);

 private:
  Reactor& reactor_;
  BackgroundThreads& background_;
  std::function<void(const Error&)> on_detour_;
  std::atomic<std::uint64_t> detours_{0};
};

}  // namespace sluice
