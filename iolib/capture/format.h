#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// The codec of FORMAT.md, which says what each of these means. It touches no file and trusts no
/// length.
namespace sluice::capture {

inline constexpr std::size_t kGridBytes = 4096;
inline constexpr std::size_t kMaxFrameBytes = 1 << 20;
inline constexpr std::size_t kFrameHeaderBytes = 64;
inline constexpr std::size_t kRecordHeaderBytes = 48;
inline constexpr std::size_t kMaxPayloadBytes = 64 << 10;
inline constexpr std::size_t kRecordAlignment = 8;

using SegmentId = std::array<std::byte, 16>;

enum class Kind : std::uint8_t {
  padding,
  segment,
  open,
  data,
  eof,
  reset,
  gap,
  close,
  clock,
  checkpoint,
  footer,
  lost,
};

/// Who sent the bytes.
enum class Side : std::uint8_t { client, upstream };
inline constexpr std::array<std::string_view, 2> kSideNames = {"client", "upstream"};

enum class GapReason : std::uint32_t {
  buffers_full = 1,
  disk_full = 2,
  disk_failed = 3,
  limit = 4,
  not_duplicated = 5,
};
[[nodiscard]] std::string_view to_string(GapReason reason);

enum class SegmentEnd : std::uint32_t {
  rotation = 1,
  end_of_run = 2,  ///< no segment of its chain follows
};

// --- Frames ---

struct FrameHeader {
  SegmentId segment{};
  std::uint32_t number = 0;
  std::uint32_t durable_frames = 0;
  std::uint64_t offset = 0;       ///< of the frame in its file
  std::uint32_t frame_bytes = 0;  ///< a multiple of kGridBytes
  std::uint32_t used_bytes = 0;   ///< header and records
  friend bool operator==(const FrameHeader&, const FrameHeader&) = default;
};

/// Decodes the first kFrameHeaderBytes of `bytes`. A header that is returned is consistent in
/// itself: its lengths are within their bounds. `unsupported` may be null: whether it is of a newer
/// version, or has an incompatible flag, and its CRC is right.
[[nodiscard]] std::optional<FrameHeader> decode_frame_header(std::span<const std::byte> bytes,
                                                             bool* unsupported = nullptr);

/// Writes the header of `frame` (header.frame_bytes long), the header CRC of each of its records
/// (which depend on the segment and the offset), and zeros behind header.used_bytes. May be called
/// again with another segment or offset.
void seal_frame(std::span<std::byte> frame, const FrameHeader& header);

// --- Records ---

struct RecordHeader {
  static constexpr std::uint8_t kContinued = 2;

  std::uint8_t kind = 0;  ///< a Kind, or one that is not known
  std::uint8_t flags = 0;
  std::uint32_t payload_bytes = 0;
  std::uint32_t payload_crc = 0;
  std::uint64_t connection = 0;
  std::uint64_t offset = 0;
  std::uint64_t monotonic_ns = 0;
  std::uint64_t wall_ns = 0;

  [[nodiscard]] bool is(Kind wanted) const { return kind == static_cast<std::uint8_t>(wanted); }
  [[nodiscard]] Side side() const { return (flags & 1) != 0 ? Side::upstream : Side::client; }
  [[nodiscard]] bool continued() const { return (flags & kContinued) != 0; }
  friend bool operator==(const RecordHeader&, const RecordHeader&) = default;
};

/// What a record with so much payload takes up in its frame.
[[nodiscard]] constexpr std::size_t record_bytes(std::size_t payload_bytes) {
  return (kRecordHeaderBytes + payload_bytes + kRecordAlignment - 1) / kRecordAlignment *
         kRecordAlignment;
}

/// Writes all of a record header but its CRC, which seal_frame() adds, to the kRecordHeaderBytes at
/// `to`.
void encode_record_header(const RecordHeader& header, std::byte* to);

/// What the header CRCs of a frame's records start from.
[[nodiscard]] std::uint32_t record_seed(const SegmentId& segment, std::uint64_t frame_offset);

/// Decodes a record header at the start of `bytes` if its CRC is right and its payload lies within
/// `bytes`. Padding has none: see is_zero().
[[nodiscard]] std::optional<RecordHeader> decode_record_header(std::span<const std::byte> bytes,
                                                               std::uint32_t seed);

/// Nothing but zeros.
[[nodiscard]] bool is_zero(std::span<const std::byte> bytes);

// --- Payloads ---

enum class Field : std::uint16_t {
  run = 1,
  worker = 2,
  segment_number = 3,
  program = 4,
  durability = 5,
  id = 16,
  route = 17,
  client = 18,
  upstream = 19,
  began_wall = 20,
  began_monotonic = 21,
  sides = 22,
  client_so_far = 23,
  upstream_so_far = 24,
};

enum class SideEnd : std::uint8_t { none, eof, reset };

/// How far one side of a connection has come.
struct SideState {
  std::uint64_t offset = 0;
  std::uint64_t recorded = 0;
  std::uint32_t crc = 0;  ///< of the recorded bytes
  SideEnd ended = SideEnd::none;
  friend bool operator==(const SideState&, const SideState&) = default;
};

/// Payload of `segment`.
struct SegmentInfo {
  std::string run;
  std::uint32_t worker = 0;
  std::uint64_t number = 0;
  std::string program;
  std::string durability;
  friend bool operator==(const SegmentInfo&, const SegmentInfo&) = default;
};

/// Payload of `open`.
struct OpenInfo {
  std::string id;
  std::string route;
  std::string client;
  std::string upstream;
  std::uint64_t began_wall_ns = 0;
  std::uint64_t began_monotonic_ns = 0;
  std::uint8_t sides = 3;
  std::array<SideState, 2> so_far;  ///< by Side; of a continued one
  friend bool operator==(const OpenInfo&, const OpenInfo&) = default;
};

/// Payload of `gap`.
struct GapInfo {
  std::uint64_t bytes = 0;
  std::uint32_t reason = 0;  ///< a GapReason, or one that is not known
  friend bool operator==(const GapInfo&, const GapInfo&) = default;
};

struct SideTotals {
  std::uint64_t received = 0;
  std::uint64_t forwarded = 0;
  std::uint64_t acknowledged = 0;
  std::uint64_t recorded = 0;
  std::uint32_t crc = 0;
  SideEnd ended = SideEnd::none;
  friend bool operator==(const SideTotals&, const SideTotals&) = default;
};

/// Payload of `close`.
struct CloseInfo {
  std::array<SideTotals, 2> sides;  ///< by Side
  std::string reason;
  friend bool operator==(const CloseInfo&, const CloseInfo&) = default;
};

/// Payload of `footer`.
struct FooterInfo {
  std::uint64_t data_bytes = 0;
  std::uint32_t why = 0;  ///< a SegmentEnd, or one that is not known
  friend bool operator==(const FooterInfo&, const FooterInfo&) = default;
};

/// A text longer than this is cut when it is encoded.
inline constexpr std::size_t kMaxTextBytes = 1024;

[[nodiscard]] std::vector<std::byte> encode(const SegmentInfo& info);
[[nodiscard]] std::vector<std::byte> encode(const OpenInfo& info, bool continued);
[[nodiscard]] std::vector<std::byte> encode(const GapInfo& info);
[[nodiscard]] std::vector<std::byte> encode(const CloseInfo& info);
[[nodiscard]] std::vector<std::byte> encode(const FooterInfo& info);
/// Of `lost`.
[[nodiscard]] std::vector<std::byte> encode_lost(std::uint64_t connections);

// Nothing, if the payload is too short, a field overruns it or comes twice.
[[nodiscard]] std::optional<SegmentInfo> decode_segment(std::span<const std::byte> payload);
[[nodiscard]] std::optional<OpenInfo> decode_open(std::span<const std::byte> payload);
[[nodiscard]] std::optional<GapInfo> decode_gap(std::span<const std::byte> payload);
[[nodiscard]] std::optional<CloseInfo> decode_close(std::span<const std::byte> payload);
[[nodiscard]] std::optional<FooterInfo> decode_footer(std::span<const std::byte> payload);
[[nodiscard]] std::optional<std::uint64_t> decode_lost(std::span<const std::byte> payload);

// --- File names ---

enum class SegmentState : std::uint8_t { open, sealed, suspect };

struct SegmentName {
  std::string run;
  std::uint32_t worker = 0;
  std::uint64_t number = 0;
  SegmentState state = SegmentState::open;
  // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 takes the defaulted comparison for a 0
  friend auto operator<=>(const SegmentName&, const SegmentName&) = default;
};

[[nodiscard]] std::string to_string(const SegmentName& name);
/// Nothing for a file that is not part of a capture.
[[nodiscard]] std::optional<SegmentName> parse_segment_name(std::string_view file_name);

}  // namespace sluice::capture
