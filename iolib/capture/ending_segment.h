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

/// The segment that was written last, until it has its last name, which the background thread gives
/// it. Belongs to the reactor's thread. Nothing may be in flight when it is destroyed.
class EndingSegment final : private Operation {
 public:
  enum class State : std::uint8_t {
    none,
    sealing,
    abandoning,
    waiting,  ///< to be abandoned, at retry_at()
  };

  /// `on_change` is called with what came of each try.
  EndingSegment(Reactor& reactor, Disk& disk, Store& store,
                std::function<void(const Result<>& done)> on_change)
      : reactor_(reactor), disk_(disk), store_(store), on_change_(std::move(on_change)) {}
  /// Borrows the grid block that footers are built in. Before the first segment: a lack of memory
  /// is no reason to give one up.
  void set_buffer(std::span<std::byte> footer) { footer_ = footer; }

  [[nodiscard]] State state() const { return state_; }
  using Operation::in_flight;
  [[nodiscard]] TimePoint retry_at() const { return retry_at_; }

  /// Ends a segment that is durable. On failure it is abandoned, once.
  void seal(Segment segment, SegmentEnd why);
  /// Gives a segment that failed its name. What is written again may not be found before that, or a
  /// reader would take both for one stream with a hole.
  void abandon(Segment segment);
  /// While waiting: tries once more.
  void abandon_again();
  /// While waiting: leaves it as it is.
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
  // The background thread's, while it works on them.
  Segment segment_;
  Result<> done_;
};

}  // namespace sluice::capture
