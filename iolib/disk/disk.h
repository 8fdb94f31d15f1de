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

class UringReactor;

/// One thread's writes to files, which complete at that thread's Reactor.
///
/// Everything belongs to the reactor's thread. Files are borrowed, and stay open until every
/// request on them has completed.
class Disk {
 public:
  virtual ~Disk() = default;
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  enum class Durable : bool { no, yes };
  /// Writes `bytes`, which stay valid meanwhile, at `offset`, both aligned as the file asks. The
  /// result is how many were written, which can be fewer, or -errno. Durable::yes: they are on
  /// stable storage by then (RWF_DSYNC).
  virtual void write(int file, std::span<const std::byte> bytes, std::uint64_t offset,
                     Durable durable, Operation& operation) = 0;
  /// fdatasync(2): makes those writes durable that had completed before. The result is 0 or -errno.
  virtual void sync(int file, Operation& operation) = 0;
  /// Runs `work`, which may block, on another thread; the result is what it returns. One after the
  /// other, in order.
  virtual void run(std::function<int()> work, Operation& operation) = 0;
  /// Most writes will come from `buffer`: lets the kernel keep its pages, where it can.
  virtual void prepare_buffer(std::span<std::byte> /*buffer*/) {}

 protected:
  Disk() = default;
  // For implementations: Operation's state is theirs to keep.
  static void begin(Operation& operation);
  static void finish(Operation& operation, int result);
};

/// The disks that programs use.
class RealDisk : public Disk {
 public:
  /// On io_uring where `uring` is given (it is `reactor` then), otherwise with threads of its own.
  /// `background` runs what run() is given.
  [[nodiscard]] static std::unique_ptr<RealDisk> create(Reactor& reactor, UringReactor* uring,
                                                        BackgroundThreads& background);
  void run(std::function<int()> work, Operation& operation) override;

  /// Told of the first request that io_uring could not carry out for lack of threads or memory. A
  /// thread, which is there from the start, carries out each of them instead.
  void set_on_detour(std::function<void(const Error&)> on_detour) {
    on_detour_ = std::move(on_detour);
  }
  /// How many there were. Any thread.
  [[nodiscard]] std::uint64_t detours() const { return detours_.load(std::memory_order_relaxed); }

 protected:
  RealDisk(Reactor& reactor, BackgroundThreads& background)
      : reactor_(reactor), background_(background) {}
  /// Runs `call` on one of `threads`, then completes `operation`, which has begun, at the reactor.
  void run_on(BackgroundThreads& threads, std::function<int()> call, Operation& operation);
  void count_detour(int error);

 private:
  Reactor& reactor_;
  BackgroundThreads& background_;
  std::function<void(const Error&)> on_detour_;
  std::atomic<std::uint64_t> detours_{0};
};

}  // namespace sluice
