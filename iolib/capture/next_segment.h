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

/// The segment that a chain continues in. The background thread makes it before it is needed.
/// Belongs to the reactor's thread. Nothing may be in flight when it is destroyed.
class NextSegment final : private Operation {
 public:
  /// `first` is the name of the first segment. `on_change` is called when a segment is ready, was
  /// refused, or has been removed. `was_refused` says whether the previous try was refused.
  NextSegment(Reactor& reactor, Disk& disk, Store& store, SegmentName first,
              std::uint64_t most_bytes, Store::Contents contents,
              std::function<void(bool was_refused)> on_change);

  /// Whether there is no segment: make() may be called.
  [[nodiscard]] bool is_none() const { return state_ == State::none; }
  /// The segment that take() would return; null if none is ready.
  [[nodiscard]] const Segment* ready() const {
    return state_ == State::ready ? &*segment_ : nullptr;
  }
  using Operation::in_flight;

  /// Makes a segment, with the number after the last one's.
  void make();
  /// Removes the ready segment and makes it again under the same name.
  void make_again();
  /// Hands over the ready segment.
  [[nodiscard]] Segment take();
  /// Removes the ready segment.
  void remove();
  /// Cancels the making of a segment.
  void stop() { stop_ = true; }

  /// No segment may be made before this time.
  void put_off(TimePoint until) { not_before_ = until; }
  [[nodiscard]] TimePoint not_before() const { return not_before_; }
  /// Why the last segment could not be made.
  [[nodiscard]] const std::optional<Error>& refusal() const { return refusal_; }
  /// The size of the last segment that was made; before the first, the size asked for.
  [[nodiscard]] std::uint64_t size_bytes() const { return size_bytes_; }

 private:
  enum class State : std::uint8_t { none, being_made, ready, being_removed };

  void run(State state, bool has_one);
  [[nodiscard]] Result<Segment> create();
  void complete(const Completion& completion) override;

  Reactor& reactor_;
  Disk& disk_;
  Store& store_;
  SegmentName name_;  ///< name of the segment to make, or of the ready one
  std::uint64_t most_bytes_;
  Store::Contents contents_;
  std::function<void(bool)> on_change_;
  State state_ = State::none;
  Result<Segment> segment_ = Segment();  ///< used by the background thread while it makes it
  std::atomic<bool> stop_{false};
  std::optional<Error> refusal_;
  TimePoint not_before_;
  std::uint64_t size_bytes_;
};

}  // namespace sluice::capture
