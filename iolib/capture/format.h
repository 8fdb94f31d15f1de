#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// Encodes and decodes the capture format. FORMAT.md says what each item means. The codec accesses
/// no file and checks every length that it reads.
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

/// The sender of the bytes.
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
  end_of_run = 2,  ///< no further segment of the chain follows
};

// --- Frames ---

struct FrameHeader {
  SegmentId segment{};
  std::uint32_t number = 0;
  std::uint32_t durable_frames = 0;
  std::uint64_t offset = 0;       ///< file offset of the frame
  std::uint32_t frame_bytes = 0;  ///< size of the frame, a multiple of kGridBytes
  std::uint32_t used_bytes = 0;   ///< size of the header and the records
  friend bool operator==(const FrameHeader&, const FrameHeader&) = default;
};

/// Decodes the first kFrameHeaderBytes of `bytes`. In a header that is returned, all lengths are
/// within their bounds. `unsupported` may be null; it is set to whether the CRC is right, but the
/// version is newer or an incompatible flag is set.
[[nodiscard]] std::optional<FrameHeader> decode_frame_header(std::span<const std::byte> bytes,
                                                             bool* unsupported = nullptr);

/// Seals `frame`, which is header.frame_bytes long: writes its header, the header CRC of each
/// record (which depends on the segment and the offset), and zeros after header.used_bytes. May be
/// called again with another segment or offset.
void seal_frame(std::span<std::byte> frame, const FrameHeader& header);

// --- Records ---

struct RecordHeader {
  static constexpr std::uint8_t kContinued = 2;

  std::uint8_t kind = 0;  ///< a Kind, or an unknown value
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

/// The size in the frame of a record with `payload_bytes` of payload.
[[nodiscard]] constexpr std::size_t record_bytes(std::size_t payload_bytes) {
  return (kRecordHeaderBytes + payload_bytes + kRecordAlignment - 1) / kRecordAlignment *
         kRecordAlignment;
}

/// Writes a record header to the kRecordHeaderBytes at `to`, without its CRC, which seal_frame()
/// adds.
void encode_record_header(const RecordHeader& header, std::byte* to);

/// The initial value for the header CRCs of a frame's records.
[[nodiscard]] std::uint32_t record_seed(const SegmentId& segment, std::uint64_t frame_offset);

/// Decodes a record header at the start of `bytes`. Returns nothing if its CRC is wrong or its
/// payload does not fit into `bytes`. Padding has no header: see is_zero().
[[nodiscard]] std::optional<RecordHeader> decode_record_header(std::span<const std::byte> bytes,
                                                               std::uint32_t seed);

/// Whether all bytes are zero.
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

/// How far one side of a connection has been recorded.
struct SideState {
  std::uint64_t offset = 0;
  std::uint64_t recorded = 0;
  std::uint32_t crc = 0;  ///< CRC of the recorded bytes
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
  std::array<SideState, 2> so_far;  ///< by Side; set in a continued `open`
  friend bool operator==(const OpenInfo&, const OpenInfo&) = default;
};

/// Payload of `gap`.
struct GapInfo {
  std::uint64_t bytes = 0;
  std::uint32_t reason = 0;  ///< a GapReason, or an unknown value
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
  std::uint32_t why = 0;  ///< a SegmentEnd, or an unknown value
  friend bool operator==(const FooterInfo&, const FooterInfo&) = default;
};

/// A longer text is truncated when it is encoded.
inline constexpr std::size_t kMaxTextBytes = 1024;

[[nodiscard]] std::vector<std::byte> encode(const SegmentInfo& info);
[[nodiscard]] std::vector<std::byte> encode(const OpenInfo& info, bool continued);
[[nodiscard]] std::vector<std::byte> encode(const GapInfo& info);
[[nodiscard]] std::vector<std::byte> encode(const CloseInfo& info);
[[nodiscard]] std::vector<std::byte> encode(const FooterInfo& info);
/// Payload of `lost`.
[[nodiscard]] std::vector<std::byte> encode_lost(std::uint64_t connections);

// Each returns nothing if the payload is too short, or if a field overruns it or occurs twice.
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
/// Returns nothing if the name is not that of a capture segment.
[[nodiscard]] std::optional<SegmentName> parse_segment_name(std::string_view file_name);

}  // namespace sluice::capture
