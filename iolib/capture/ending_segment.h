#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>

#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "iolib/capture/segment.h"
#include "iolib/capture/store.h"
#include "iolib/disk/disk.h"
#include "iolib/reactor/reactor.h"

namespace sluice::capture {

/// The segment that was written last, until it gets its final name. The background thread renames
/// it.
///
/// Belongs to the reactor's thread. Nothing may be in flight when it is destroyed.
class EndingSegment final : private Operation {
 public:
  enum class State : std::uint8_t {
    none,
    sealing,
    abandoning,
    waiting,  ///< abandoning it failed; try again at retry_at()
  };

  /// `on_change` is called with the result of each try.
  EndingSegment(Reactor& reactor, Disk& disk, Store& store,
                std::function<void(const Result<>& done)> on_change)
      : reactor_(reactor), disk_(disk), store_(store), on_change_(std::move(on_change)) {}
  /// Sets the grid block in which footers are built; borrowed. Call it before the first segment, so
  /// that a later lack of memory never makes a segment fail.
  void set_buffer(std::span<std::byte> footer) { footer_ = footer; }

  [[nodiscard]] State state() const { return state_; }
  using Operation::in_flight;
  [[nodiscard]] TimePoint retry_at() const { return retry_at_; }

  /// Seals a segment, all of which is durable. If that fails, the segment is abandoned; that is
  /// tried once.
  void seal(Segment segment, SegmentEnd why);
  /// Renames a segment that failed to a suspect one. Until then, no unconfirmed block may be
  /// written again: a reader would take both segments for one stream with a hole.
  void abandon(Segment segment);
  /// In State::waiting: tries once more.
  void abandon_again();
  /// In State::waiting: leaves the segment as it is.
  void give_up();

 private:
  [[nodiscard]] Result<> seal_here(SegmentEnd why);
  void complete(const Completion& completion) override;

  Reactor& reactor_;
  Disk& disk_;
  Store& store_;
  std::function<void(const Result<>&)> on_change_;
  std::span<std::byte> footer_;
  State state_ = State::none;
  TimePoint retry_at_;
  // While an operation is in flight, these belong to the background thread.
  Segment segment_;
  Result<> done_;
};

}  // namespace sluice::capture
