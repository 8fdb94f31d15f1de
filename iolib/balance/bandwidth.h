#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "iolib/balance/token_bucket.h"
#include "iolib/base/clock.h"
#include "iolib/base/spinlock.h"

namespace sluice::balance {

/// The most bytes that a limit lets through at once, after a pause: those of 100 ms, but at least
/// 64 KiB.
[[nodiscard]] std::uint64_t burst_of(std::uint64_t bytes_per_second);
/// The most bytes that one stream reserves in advance: those of 5 ms, but at least 4 KiB and at
/// most 1 MiB. Streams that share a limit take turns of this size, so each waits for at most one
/// turn of every other.
[[nodiscard]] std::size_t slice_of(std::uint64_t bytes_per_second);

/// A limit on bytes a second that streams on several threads share. They take turns in the order in
/// which they reserve. No bytes belong to a thread: what one does not need is there for the others.
/// Any thread.
class SharedBandwidth {
 public:
  struct Reservation {
    TimePoint due;  ///< when the bytes may move
    std::size_t bytes = 0;
    std::uint32_t term = 0;  ///< see term()
  };

  /// Of 0 bytes a second: without a limit, as long as nobody sets one.
  explicit SharedBandwidth(std::uint64_t bytes_per_second) { set(bytes_per_second); }

  /// Sets another limit, with a full bucket. What has been reserved before is void: its owners
  /// reserve again. The same limit as before changes nothing.
  void set(std::uint64_t bytes_per_second);
  /// Changes whenever the limit does.
  [[nodiscard]] std::uint32_t term() const { return term_.load(std::memory_order_relaxed); }

  /// Reserves `wanted` bytes, but no more than a slice, or than there is at once.
  [[nodiscard]] Reservation reserve(TimePoint now, std::size_t wanted);
  /// Counts bytes that have moved without a reservation.
  void charge(TimePoint now, std::size_t bytes);
  /// Gives back bytes that were reserved in this term and did not move.
  void give_back(std::size_t bytes, std::uint32_t term);

 private:
  alignas(64) Spinlock lock_;
  std::atomic<std::uint32_t> term_{0};  ///< written under lock_, as is the rest
  std::uint64_t bytes_per_second_ = 0;
  std::optional<TokenBucket> bucket_;
};

/// What a stream may read now, if its bandwidth is limited: for itself, together with others, or
/// both. It reserves bytes that are there to be read, and then waits until they are due.
///
/// Used by one thread at a time. The caller passes the time.
class Throttle {
 public:
  /// After a pause of this length, a stream looks whether the shared limit has changed.
  static constexpr Duration kLongestPause = std::chrono::milliseconds(100);

  /// `own` is a limit in bytes a second; 0: none. `shared` is borrowed, and can be null.
  Throttle(std::uint64_t own, SharedBandwidth* shared);
  ~Throttle();
  Throttle(const Throttle&) = delete;
  Throttle& operator=(const Throttle&) = delete;

  /// How many of `unread` bytes may be read now; 0: none before next_look(). If nothing is unread,
  /// it is 1, so that the end of a stream is found without a pause. After each read, call spend().
  [[nodiscard]] std::size_t ask(TimePoint now, std::size_t unread);
  /// `bytes` were read, perhaps 0. Gives back the rest of what was reserved.
  void spend(TimePoint now, std::size_t bytes);
  /// When to ask again for what is reserved and not due yet; `now` if there is no such thing.
  [[nodiscard]] TimePoint next_look(TimePoint now) const;

 private:
  void reserve(TimePoint now, std::size_t unread);
  /// The shared limit has changed since.
  [[nodiscard]] bool is_void() const { return shared_ != nullptr && shared_->term() != term_; }

  SharedBandwidth* shared_;
  std::optional<TokenBucket> own_;
  std::size_t own_slice_;
  std::size_t reserved_ = 0;  ///< bytes
  TimePoint due_ = {};        ///< when they may move
  std::uint32_t term_ = 0;    ///< of the shared limit, when they were reserved
};

}  // namespace sluice::balance
