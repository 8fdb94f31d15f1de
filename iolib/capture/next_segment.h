#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>

#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "iolib/capture/segment.h"
#include "iolib/capture/store.h"
#include "iolib/disk/disk.h"
#include "iolib/reactor/reactor.h"

namespace sluice::capture {

/// The segment that a chain goes on with: made ahead of need, on the background thread. Belongs to
/// the reactor's thread. Nothing may be in flight when it is destroyed.
class NextSegment final : private Operation {
 public:
  /// `first` is the name of the first one. `on_change` is called when one is ready, was refused, or
  /// has been removed; it is told whether the one before was refused.
  NextSegment(Reactor& reactor, Disk& disk, Store& store, SegmentName first,
              std::uint64_t most_bytes, Store::Contents contents,
              std::function<void(bool was_refused)> on_change);

  /// There is none: make() may be called.
  [[nodiscard]] bool is_none() const { return state_ == State::none; }
  /// It can be taken.
  [[nodiscard]] const Segment* ready() const {
    return state_ == State::ready ? &*segment_ : nullptr;
  }
  using Operation::in_flight;

  /// Makes one, under the name behind the last one's.
  void make();
  /// Removes the one that is ready, and makes it again under the same name.
  void make_again();
  /// Hands over the one that is ready.
  [[nodiscard]] Segment take();
  /// Removes the one that is ready.
  void remove();
  /// What is being made need not be finished.
  void stop() { stop_ = true; }

  /// No other one is to be made before.
  void put_off(TimePoint until) { not_before_ = until; }
  [[nodiscard]] TimePoint not_before() const { return not_before_; }
  /// Why the last one could not be made.
  [[nodiscard]] const std::optional<Error>& refusal() const { return refusal_; }
  /// The size of the last one that was made; of none, the one asked for.
  [[nodiscard]] std::uint64_t size_bytes() const { return size_bytes_; }

 private:
  enum class State : std::uint8_t { none, being_made, ready, being_removed };

  void run(State state, bool has_one);
  [[nodiscard]] Result<Segment> create();
  void complete(const Completion& completion) override;

  Reactor& reactor_;
  Disk& disk_;
  Store& store_;
  SegmentName name_;  ///< of the one to be made, or ready
  std::uint64_t most_bytes_;
  Store::Contents contents_;
  std::function<void(bool)> on_change_;
  State state_ = State::none;
  Result<Segment> segment_ = Segment();  ///< the background thread's, while it is being made
  std::atomic<bool> stop_{false};
  std::optional<Error> refusal_;
  TimePoint not_before_;
  std::uint64_t size_bytes_;
};

}  // namespace sluice::capture
