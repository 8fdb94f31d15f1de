#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/capture/format.h"
#include "iolib/capture/frame_builder.h"

/// Captures made in memory, as files to test readers on: what a writer leaves behind, without its
/// disk.
namespace sluice::capture {

using Bytes = std::vector<std::byte>;

struct SegmentFile {
  SegmentName name;
  Bytes bytes;
  std::vector<std::size_t> frames;  ///< their offsets
};

struct ChainSettings {
  std::string run;
  std::uint32_t worker = 0;
  std::size_t frame_bytes = kGridBytes;  ///< the longest frame
  std::uint64_t seed = 0;                ///< of the segments' ids
};

/// Writes one chain of segments. The times are invented: records are a millisecond apart.
class ChainWriter {
 public:
  explicit ChainWriter(ChainSettings settings);
  ChainWriter(const ChainWriter&) = delete;
  ChainWriter& operator=(const ChainWriter&) = delete;

  void open(std::uint64_t connection, const OpenInfo& info);
  void data(std::uint64_t connection, Side side, std::span<const std::byte> bytes);
  void data(std::uint64_t connection, Side side, std::string_view text);
  void gap(std::uint64_t connection, Side side, std::uint64_t bytes, GapReason reason);
  /// `how`: eof or reset.
  void end(std::uint64_t connection, Side side, SideEnd how);
  void close(std::uint64_t connection, std::string_view reason);
  /// Any record, unchanged.
  void append(const RecordHeader& header, std::span<const std::byte> payload = {});

  /// Ends the frame in progress if it has a record.
  void end_frame();
  /// Everything written so far is durable, and the next frames say so.
  void confirm();
  /// Seals the segment and begins the next.
  void rotate();
  /// Seals the last segment.
  void finish();
  /// Leaves the last segment as it is, without a footer, and names it by `state`.
  void crash(SegmentState state = SegmentState::open);
  /// The disk failed: gives the segment up, and writes unconfirmed records again in the next.
  void give_up();

  /// Valid after finish() or crash().
  [[nodiscard]] std::vector<SegmentFile>& files() { return files_; }
  /// For a connection that is not closed.
  [[nodiscard]] const SideState& state(std::uint64_t connection, Side side) const;

 private:
  using Alive = std::map<std::uint64_t, OpenInfo>;
  struct Kept {
    RecordHeader header;
    Bytes payload;
  };

  void begin_segment();
  void put_alive();
  [[nodiscard]] RecordHeader header(Kind kind, std::uint64_t connection = 0,
                                    Side side = Side::client);
  void put(const RecordHeader& header, std::span<const std::byte> payload);
  void count(const RecordHeader& header, std::span<const std::byte> payload);
  void seal_segment(SegmentEnd why);
  void mark_confirmed();

  ChainSettings settings_;
  std::vector<SegmentFile> files_;
  SegmentId id_{};
  Bytes buffer_;
  FrameBuilder frame_;
  std::uint32_t frames_ = 0;
  std::uint32_t durable_frames_ = 0;
  std::uint64_t segment_data_bytes_ = 0;
  std::uint64_t now_ns_ = 0;
  Alive alive_;            ///< by connection, with so_far kept up to date
  Alive confirmed_alive_;  ///< as of the last confirmation
  std::vector<Kept> unconfirmed_;
};

/// Writes `files` into `directory`, and creates that if needed.
void write_files(const std::string& directory, const std::vector<SegmentFile>& files);
void write_file(const std::string& path, std::span<const std::byte> bytes);

}  // namespace sluice::capture
