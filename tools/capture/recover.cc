#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "iolib/base/crc32c.h"
#include "tools/capture/commands.h"
#include "tools/capture/findings.h"
#include "tools/capture/out_directory.h"
#include "tools/capture/segment_output.h"
#include "tools/common/connections.h"
#include "tools/common/text.h"
#include "tools/common/walk.h"

namespace sluice::capture {
namespace {

using boost::system::in_place_value;

/// Writes the records of a walk again, so that nothing is repeated, out of order, or missing
/// without a gap record.
class Recovery {
 public:
  explicit Recovery(int directory) : directory_(directory) {}

  Result<bool> take(const Event& event, const At& at) {
    const Result<Connection*> taken = table_.take(event, at);
    if (!taken) return taken.error();
    names_.take(event, at);
    if (event.type == Event::Type::segment) {
      const Result<> begun = begin_segment(event, at);
      return begun ? go_on() : Result<bool>(begun.error());
    }
    if (event.type == Event::Type::finding) {
      ++findings_;
      print_finding(event, at, names_);
    }
    if (event.type != Event::Type::record || event.effect.repeated) return go_on();
    const Result<> copied = *taken != nullptr ? copy_of_stream(event, **taken) : copy(event);
    if (!copied) return copied.error();
    if (*taken != nullptr && (*taken)->closed) {
      streams_.erase(event.header.connection);
      table_.forget(**taken, at);
    }
    return go_on();
  }

  [[nodiscard]] Result<> finish() { return seal(SegmentEnd::end_of_run); }

  void print_summary(bool json) const {
    if (json) {
      const json::object object{{"segments", segments_},     {"records", records_},
                                {"data_bytes", data_bytes_}, {"gaps", gaps_},
                                {"gap_bytes", gap_bytes_},   {"findings", findings_}};
      std::puts(json::serialize(object).c_str());
      return;
    }
    std::printf(
        "%llu segments, %llu records, %llu bytes of data; %llu gaps added, of %llu bytes\n",
        static_cast<unsigned long long>(segments_), static_cast<unsigned long long>(records_),
        static_cast<unsigned long long>(data_bytes_), static_cast<unsigned long long>(gaps_),
        static_cast<unsigned long long>(gap_bytes_));
  }

 private:
  struct Stream {
    const Connection* connection = nullptr;
    std::array<SideState, 2> sides;  // as written so far, by Side
  };

  // The output's segment is created with its first record, so that a preallocated, empty segment
  // produces none.
  Result<> begin_segment(const Event& event, const At& at) {
    const bool other_chain = !chain_ || *chain_ != at.chain_index;
    const Result<> sealed = seal(other_chain ? SegmentEnd::end_of_run : SegmentEnd::rotation);
    if (!sealed) return sealed.error();
    if (other_chain) {
      chain_ = at.chain_index;
      streams_.clear();
      next_ = {at.chain.run, at.chain.worker, event.segment->name.number, "", ""};
    }
    return {};
  }

  Result<> seal(SegmentEnd why) {
    if (!output_) return {};
    const std::unique_ptr<SegmentOutput> output = std::move(output_);
    ++segments_;
    return output->seal(times_, why);
  }

  Result<> write(const RecordHeader& header, std::span<const std::byte> payload) {
    times_ = header;
    if (!output_) {
      Result<std::unique_ptr<SegmentOutput>> created =
          SegmentOutput::create(directory_, next_, times_);
      if (!created) return created.error();
      output_ = *std::move(created);
      ++next_.number;
      for (const auto& [number, stream] : streams_) {
        const Result<> written = write_continued(number, stream, header);
        if (!written) return written.error();
      }
    }
    ++records_;
    if (header.is(Kind::data)) data_bytes_ += payload.size();
    return output_->append(header, payload);
  }

  Result<> write_continued(std::uint64_t number, const Stream& stream, RecordHeader header) {
    OpenInfo info = stream.connection->info;
    info.so_far = stream.sides;
    header.kind = static_cast<std::uint8_t>(Kind::open);
    header.flags = RecordHeader::kContinued;
    header.connection = number;
    header.offset = 0;
    return output_->append(header, encode(info, true));
  }

  // Copies a record that belongs to no stream.
  Result<> copy(const Event& event) {
    const RecordHeader& header = event.header;
    if (header.is(Kind::segment)) {
      const SegmentInfo info = *decode_segment(event.payload);
      next_.program = info.program;
      next_.durability = info.durability;
      return {};
    }
    if (header.is(Kind::footer) || header.is(Kind::checkpoint)) return {};
    return write(header, event.payload);
  }

  Result<> copy_of_stream(const Event& event, const Connection& connection) {
    const RecordHeader& header = event.header;
    if (header.is(Kind::open)) {
      const Result<> written = write(header, event.payload);
      Stream& stream = streams_[header.connection];
      stream.connection = &connection;
      if (header.continued()) stream.sides = connection.info.so_far;
      return written;
    }
    if (!streams_.contains(header.connection)) {
      if (const Result<> begun = begin_unknown(header, connection); !begun) return begun.error();
    }
    Stream& stream = streams_[header.connection];
    if (header.is(Kind::close)) return copy_close(event, stream);
    SideState& side = stream.sides[static_cast<std::size_t>(header.side())];
    if (event.fresh_offset() > side.offset) {
      const Result<> filled = fill(header, header.side(), event.fresh_offset() - side.offset, side);
      if (!filled) return filled.error();
    }
    return copy_piece(event, side);
  }

  // A connection whose `open` is lost gets an empty one.
  Result<> begin_unknown(const RecordHeader& header, const Connection& connection) {
    const RecordHeader open{.kind = static_cast<std::uint8_t>(Kind::open),
                            .connection = header.connection,
                            .monotonic_ns = header.monotonic_ns,
                            .wall_ns = header.wall_ns};
    const Result<> written = write(open, encode(connection.info, false));
    streams_[header.connection].connection = &connection;
    return written;
  }

  Result<> copy_piece(const Event& event, SideState& side) {
    RecordHeader header = event.header;
    header.offset = event.fresh_offset();
    if (header.is(Kind::data)) {
      const std::span<const std::byte> bytes = event.fresh();
      const Result<> written = write(header, bytes);
      side.offset += bytes.size();
      side.recorded += bytes.size();
      side.crc = crc32c(bytes, side.crc);
      return written;
    }
    if (header.is(Kind::gap)) {
      GapInfo gap = *decode_gap(event.payload);
      gap.bytes -= event.effect.skip_bytes;
      const Result<> written = write(header, encode(gap));
      side.offset += gap.bytes;
      return written;
    }
    side.ended = header.is(Kind::eof) ? SideEnd::eof : SideEnd::reset;
    return write(header, event.payload);
  }

  // Copies a `close` record, with what the new segments contain as its recorded bytes.
  Result<> copy_close(const Event& event, Stream& stream) {
    CloseInfo info = *decode_close(event.payload);
    for (const Side side : {Side::client, Side::upstream}) {
      const auto i = static_cast<std::size_t>(side);
      const std::uint64_t lost = event.effect.lost[i].bytes;
      if (lost > 0) {
        const Result<> filled = fill(event.header, side, lost, stream.sides[i]);
        if (!filled) return filled.error();
      }
      info.sides[i].recorded = stream.sides[i].recorded;
      info.sides[i].crc = stream.sides[i].crc;
    }
    return write(event.header, encode(info));
  }

  // Writes a gap for missing bytes.
  Result<> fill(RecordHeader header, Side side, std::uint64_t bytes, SideState& state) {
    header.kind = static_cast<std::uint8_t>(Kind::gap);
    header.flags = static_cast<std::uint8_t>(side);
    header.offset = state.offset;
    const GapInfo gap{bytes, static_cast<std::uint32_t>(GapReason::disk_failed)};
    const Result<> written = write(header, encode(gap));
    state.offset += bytes;
    ++gaps_;
    gap_bytes_ += bytes;
    return written;
  }

  const int directory_;
  ConnectionTable table_{ConnectionTable::Keeps::chain};
  ConnectionNames names_;
  std::optional<std::size_t> chain_;
  SegmentInfo next_;
  std::unique_ptr<SegmentOutput> output_;
  RecordHeader times_;  // the times of the last record
  std::map<std::uint64_t, Stream> streams_;
  std::uint64_t segments_ = 0, records_ = 0, data_bytes_ = 0, gaps_ = 0, gap_bytes_ = 0,
                findings_ = 0;
};

}  // namespace

Result<int> run_recover(const Invocation& invocation) {
  const Result<OwnedFd> directory = open_out_directory(invocation.out);
  if (!directory) return directory.error();
  Recovery recovery(directory->get());
  const Result<> walked = walk(
      invocation.paths, [&](const Event& event, const At& at) { return recovery.take(event, at); });
  if (!walked) return walked.error();
  if (const Result<> finished = recovery.finish(); !finished) return finished.error();
  recovery.print_summary(invocation.json);
  return {in_place_value, 0};
}

}  // namespace sluice::capture
