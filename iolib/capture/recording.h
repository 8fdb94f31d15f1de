#pragma once

#include <array>
#include <boost/intrusive/list.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/capture/format.h"
#include "iolib/relay/tap.h"

namespace sluice::capture {

class Recorder;
class Recording;

/// The settings of one connection's route.
struct RecordingOptions {
  std::uint8_t sides = 3;                     ///< bit 0 client, bit 1 upstream
  std::uint64_t limit_bytes = Tap::kNoLimit;  ///< the most bytes recorded per side
  bool sink = false;  ///< pass on a side's end only once all of the side is durable
};

/// One direction of a recorded connection. A tap that waits for room is in the Recorder's list.
class SideTap final : public Tap,
                      public boost::intrusive::list_base_hook<
                          boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  using List = boost::intrusive::list<SideTap, boost::intrusive::constant_time_size<false>>;

  SideTap(Recording& recording, Side side);

  /// Sets what wakes the direction after the tap made it wait: Pump::wake().
  void set_wake(std::function<void()> wake) { wake_ = std::move(wake); }
  /// Bytes of the stream that were reported to the tap.
  [[nodiscard]] std::uint64_t seen_bytes() const { return seen_; }

  [[nodiscard]] std::size_t allowance() override;
  [[nodiscard]] bool allowance_stands() override;
  void append(std::uint64_t offset, std::span<const std::byte> bytes) override;
  void append(std::uint64_t offset, Pipe& pipe) override;
  void overrun(std::uint64_t offset, std::uint64_t bytes) override;
  [[nodiscard]] std::uint64_t watermark() const override;
  [[nodiscard]] bool exact() const override;
  [[nodiscard]] bool may_end(std::uint64_t offset) override;
  void eof(std::uint64_t offset) override { end(SideEnd::eof, offset); }
  void reset(std::uint64_t offset) override { end(SideEnd::reset, offset); }
  void closed(const StreamTotals& totals) override { totals_ = totals; }

 private:
  friend class Recording;
  friend class Recorder;

  template <class Fill>
  std::size_t record(std::size_t bytes, Fill fill);
  std::size_t record(std::span<const std::byte> bytes);
  void no_room(std::uint64_t bytes);
  void add_gap(std::uint64_t bytes, GapReason reason);
  [[nodiscard]] bool unbounded() const;
  [[nodiscard]] bool within_limit(std::uint64_t& bytes);
  void end(SideEnd how, std::uint64_t offset);
  [[nodiscard]] bool write_pending();
  [[nodiscard]] bool write_gaps(bool at_end);
  [[nodiscard]] bool write_spill();
  void gate();
  void wake() const {
    if (wake_) wake_();
  }
  [[nodiscard]] RecordHeader header(Kind kind, std::uint64_t offset) const;

  Recording& recording_;
  std::function<void()> wake_;
  SideState state_;  ///< what the written records say; `ended` is set once that record is written
  std::uint64_t seen_ = 0;
  std::vector<GapInfo> gaps_;     ///< after spill_, in order; not yet recorded
  std::vector<std::byte> spill_;  ///< bytes from state_.offset on, received when no room was left
  std::uint64_t lost_bytes_ = 0;
  std::uint64_t confirmed_ = 0;  ///< bytes below this offset are durable
  std::uint64_t end_sequence_ = 0;
  StreamTotals totals_;
  Side side_;
  SideEnd end_ = SideEnd::none;  ///< how the side ended, recorded or not
  bool reserved_ = false;        ///< a receive of this side may use the spill
};

/// One recorded connection. Made by Recorder::open(), used by one owner until close(), and
/// destroyed after its last record is written. A recording with something that waits to be written
/// is in the Recorder's list.
class Recording : public boost::intrusive::list_base_hook<> {
 public:
  using List = boost::intrusive::list<Recording>;

  Recording(Recorder& recorder, std::uint64_t connection, OpenInfo info,
            const RecordingOptions& options);
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  [[nodiscard]] bool records(Side side) const {
    return (options_.sides & (1U << static_cast<unsigned>(side))) != 0;
  }
  [[nodiscard]] SideTap& tap(Side side) { return taps_[static_cast<std::size_t>(side)]; }
  /// Sets the function that is called, outside of any turn, if the connection must not continue:
  /// the policy says so, or a sink cannot confirm what it received. It is called at most once.
  void set_on_failed(std::function<void()> on_failed) { on_failed_ = std::move(on_failed); }

  /// The connection has ended. The caller must not use the recording any more.
  void close(std::string_view reason);

 private:
  friend class Recorder;
  friend class SideTap;

  // Which of its own records are written.
  enum class Written : std::uint8_t { nothing, open, close };

  [[nodiscard]] bool write_pending();
  [[nodiscard]] bool is_pending() const { return is_linked(); }
  void fail();
  void refuse_to_confirm();
  void touch();
  [[nodiscard]] bool finished() const { return closed_ && !is_pending() && gates_ == 0; }
  [[nodiscard]] OpenInfo snapshot() const;
  [[nodiscard]] bool write(Kind kind, std::span<const std::byte> payload);
  [[nodiscard]] bool write_open();
  [[nodiscard]] bool write_close();

  Recorder& recorder_;
  std::uint64_t connection_;
  OpenInfo info_;
  RecordingOptions options_;
  std::array<SideTap, 2> taps_;
  std::function<void()> on_failed_;
  std::string reason_;
  std::size_t gates_ = 0;  ///< number of gates in the Recorder's list that belong to this recording
  Written written_ = Written::nothing;
  bool closed_ = false;  ///< close() was called
  bool failed_ = false;
  bool unconfirmable_ = false;  ///< of a sink: something that was written may be lost
};

}  // namespace sluice::capture
