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

/// What one connection's route asks for.
struct RecordingOptions {
  std::uint8_t sides = 3;                     ///< bit 0 client, bit 1 upstream
  std::uint64_t limit_bytes = Tap::kNoLimit;  ///< recorded of each side at most
  bool sink = false;  ///< a side's end may be passed on only once all of it is durable
};

/// One direction of a recorded connection. While it waits for room it is in the Recorder's list.
class SideTap final : public Tap,
                      public boost::intrusive::list_base_hook<
                          boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  using List = boost::intrusive::list<SideTap, boost::intrusive::constant_time_size<false>>;

  SideTap(Recording& recording, Side side);

  /// What wakes the direction after a tap made it wait: Pump::wake().
  void set_wake(std::function<void()> wake) { wake_ = std::move(wake); }
  /// Bytes of the stream that the tap was told of.
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
  SideState state_;  ///< what records say so far; `ended` once that record is written
  std::uint64_t seen_ = 0;
  std::vector<GapInfo>
      gaps_;  ///< behind state_.offset and spill_, one after the other, not yet recorded
  std::vector<std::byte> spill_;  ///< behind state_.offset: received already when no room was left
  std::uint64_t lost_bytes_ = 0;
  std::uint64_t confirmed_ = 0;  ///< bytes below this offset are durable
  std::uint64_t end_sequence_ = 0;
  StreamTotals totals_;
  Side side_;
  SideEnd end_ = SideEnd::none;  ///< what happened, written or not
  bool reserved_ = false;        ///< may spill what a receive brings
};

/// One connection that is recorded. Made by Recorder::open(), used by one owner until close(), and
/// gone when its last record is written. While something of it waits to be written it is in the
/// Recorder's list.
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
  /// Called, outside of any turn, if the connection must not go on: by policy, or since a sink
  /// cannot confirm what it received. At most once.
  void set_on_failed(std::function<void()> on_failed) { on_failed_ = std::move(on_failed); }

  /// The connection has ended; the caller does not use the recording any more.
  void close(std::string_view reason);

 private:
  friend class Recorder;
  friend class SideTap;

  // How far its own records are written.
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
  std::size_t gates_ = 0;  ///< of Recorder's list, that name a side of this one
  Written written_ = Written::nothing;
  bool closed_ = false;  ///< by close()
  bool failed_ = false;
  bool unconfirmable_ = false;  ///< of a sink: something that was written may be lost
};

}  // namespace sluice::capture
