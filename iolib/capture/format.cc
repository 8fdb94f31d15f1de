#include "iolib/capture/format.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "iolib/base/crc32c.h"

namespace sluice::capture {
namespace {

constexpr std::array<std::uint8_t, 8> kMagic = {0x89, 'S', 'L', 'U', 'I', 'C', 'E', '\n'};
constexpr std::uint16_t kVersion = 1;
constexpr std::size_t kFrameCrcAt = 60;
constexpr std::size_t kSideStateBytes = 24;
constexpr std::size_t kCloseTotalsBytes = 80;
constexpr std::size_t kMaxRunBytes = 32;

template <class Number>
void store(std::byte* to, Number number) {
  for (std::size_t i = 0; i < sizeof(Number); ++i) {
    to[i] = static_cast<std::byte>(static_cast<std::uint64_t>(number) >> (8 * i));
  }
}

template <class Number>
Number load(const std::byte* from) {
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < sizeof(Number); ++i) {
    number |= static_cast<std::uint64_t>(from[i]) << (8 * i);
  }
  return static_cast<Number>(number);
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Encodes fields one after another.
class FieldWriter {
 public:
  void text(Field field, std::string_view value) {
    value = value.substr(0, kMaxTextBytes);
    std::byte* to = add(field, value.size());
    std::memcpy(to, value.data(), value.size());
  }
  template <class Number>
  void number(Field field, Number value) {
    store<Number>(add(field, sizeof value), value);
  }
  void state(Field field, const SideState& value) {
    std::byte* to = add(field, kSideStateBytes);
    store(to, value.offset);
    store(to + 8, value.recorded);
    store(to + 16, value.crc);
    store(to + 20, static_cast<std::uint8_t>(value.ended));
  }
  [[nodiscard]] std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::byte* add(Field field, std::size_t size) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + 4 + size);
    store(&bytes_[at], static_cast<std::uint16_t>(field));
    store(&bytes_[at + 2], static_cast<std::uint16_t>(size));
    return bytes_.data() + at + 4;
  }
  std::vector<std::byte> bytes_;
};

// Looks up the fields of a payload. Most payloads have a few.
class FieldReader {
 public:
  [[nodiscard]] static std::optional<FieldReader> parse(std::span<const std::byte> payload) {
    FieldReader reader;
    while (!payload.empty()) {
      if (payload.size() < 4) return std::nullopt;
      const auto type = load<std::uint16_t>(payload.data());
      const auto size = load<std::uint16_t>(payload.data() + 2);
      if (payload.size() < 4U + size || reader.fields_.size() == kMostFields ||
          reader.find(type) != nullptr) {
        return std::nullopt;
      }
      reader.fields_.push_back({type, payload.subspan(4, size)});
      payload = payload.subspan(4U + size);
    }
    return reader;
  }
  bool text(Field field, std::string& to) const {
    const Entry* entry = find(static_cast<std::uint16_t>(field));
    if (entry == nullptr || entry->bytes.size() > kMaxTextBytes) return false;
    to = text_of(entry->bytes);
    return true;
  }
  template <class Number>
  bool number(Field field, Number& to) const {
    const Entry* entry = find(static_cast<std::uint16_t>(field));
    if (entry == nullptr || entry->bytes.size() != sizeof to) return false;
    to = load<Number>(entry->bytes.data());
    return true;
  }
  bool state(Field field, SideState& to) const {
    const Entry* entry = find(static_cast<std::uint16_t>(field));
    if (entry == nullptr || entry->bytes.size() != kSideStateBytes) return false;
    const std::byte* from = entry->bytes.data();
    to = {load<std::uint64_t>(from), load<std::uint64_t>(from + 8), load<std::uint32_t>(from + 16),
          static_cast<SideEnd>(load<std::uint8_t>(from + 20))};
    return to.ended <= SideEnd::reset;
  }

 private:
  // Far more fields than any version has; a hostile payload could hold 16,384.
  static constexpr std::size_t kMostFields = 64;
  struct Entry {
    std::uint16_t type;
    std::span<const std::byte> bytes;
  };
  [[nodiscard]] const Entry* find(std::uint16_t type) const {
    const auto found = std::ranges::find(fields_, type, &Entry::type);
    return found == fields_.end() ? nullptr : &*found;
  }
  std::vector<Entry> fields_;
};

}  // namespace

std::string_view to_string(GapReason reason) {
  constexpr std::array<std::string_view, 6> kNames = {
      "unknown", "buffers_full", "disk_full", "disk_failed", "limit", "not_duplicated"};
  const auto index = static_cast<std::size_t>(reason);
  return kNames[index < kNames.size() ? index : 0];
}

// --- Frames ---

std::optional<FrameHeader> decode_frame_header(std::span<const std::byte> bytes,
                                               bool* unsupported) {
  if (unsupported != nullptr) *unsupported = false;
  if (bytes.size() < kFrameHeaderBytes) return std::nullopt;
  const std::byte* from = bytes.data();
  if (std::memcmp(from, kMagic.data(), kMagic.size()) != 0 ||
      load<std::uint32_t>(from + kFrameCrcAt) != crc32c(bytes.first(kFrameCrcAt))) {
    return std::nullopt;
  }
  if (load<std::uint16_t>(from + 8) != kVersion || load<std::uint16_t>(from + 12) != 0) {
    if (unsupported != nullptr) *unsupported = true;
    return std::nullopt;
  }
  FrameHeader header;
  std::memcpy(header.segment.data(), from + 16, header.segment.size());
  header.number = load<std::uint32_t>(from + 32);
  header.durable_frames = load<std::uint32_t>(from + 36);
  header.offset = load<std::uint64_t>(from + 40);
  header.frame_bytes = load<std::uint32_t>(from + 48);
  header.used_bytes = load<std::uint32_t>(from + 52);
  if (load<std::uint16_t>(from + 10) != kFrameHeaderBytes || header.frame_bytes == 0 ||
      header.frame_bytes % kGridBytes != 0 || header.frame_bytes > kMaxFrameBytes ||
      header.used_bytes < kFrameHeaderBytes || header.used_bytes > header.frame_bytes ||
      header.used_bytes % kRecordAlignment != 0 || header.offset % kGridBytes != 0 ||
      header.durable_frames > header.number || load<std::uint32_t>(from + 56) != 0) {
    return std::nullopt;
  }
  return header;
}

void seal_frame(std::span<std::byte> frame, const FrameHeader& header) {
  std::byte* to = frame.data();
  std::memset(to, 0, kFrameHeaderBytes);
  std::memcpy(to, kMagic.data(), kMagic.size());
  store(to + 8, kVersion);
  store(to + 10, static_cast<std::uint16_t>(kFrameHeaderBytes));
  std::memcpy(to + 16, header.segment.data(), header.segment.size());
  store(to + 32, header.number);
  store(to + 36, header.durable_frames);
  store(to + 40, header.offset);
  store(to + 48, header.frame_bytes);
  store(to + 52, header.used_bytes);
  store(to + kFrameCrcAt, crc32c(frame.first(kFrameCrcAt)));
  const std::uint32_t seed = record_seed(header.segment, header.offset);
  for (std::size_t at = kFrameHeaderBytes; at < header.used_bytes;) {
    const auto payload = load<std::uint32_t>(to + at + 8);
    store(to + at, crc32c(frame.subspan(at + 4, kRecordHeaderBytes - 4), seed));
    at += record_bytes(payload);
  }
  std::memset(to + header.used_bytes, 0, frame.size() - header.used_bytes);
}

// --- Records ---

void encode_record_header(const RecordHeader& header, std::byte* to) {
  store(to, std::uint32_t{0});
  store(to + 4, header.kind);
  store(to + 5, header.flags);
  store(to + 6, static_cast<std::uint16_t>(kRecordHeaderBytes));
  store(to + 8, header.payload_bytes);
  store(to + 12, header.payload_crc);
  store(to + 16, header.connection);
  store(to + 24, header.offset);
  store(to + 32, header.monotonic_ns);
  store(to + 40, header.wall_ns);
}

std::uint32_t record_seed(const SegmentId& segment, std::uint64_t frame_offset) {
  std::array<std::byte, 24> bytes{};
  std::memcpy(bytes.data(), segment.data(), segment.size());
  store(&bytes[16], frame_offset);
  return crc32c(bytes);
}

std::optional<RecordHeader> decode_record_header(std::span<const std::byte> bytes,
                                                 std::uint32_t seed) {
  if (bytes.size() < kRecordHeaderBytes) return std::nullopt;
  const std::byte* from = bytes.data();
  RecordHeader header;
  header.kind = load<std::uint8_t>(from + 4);
  header.payload_bytes = load<std::uint32_t>(from + 8);
  if (header.kind == 0 || load<std::uint16_t>(from + 6) != kRecordHeaderBytes ||
      header.payload_bytes > kMaxPayloadBytes ||
      record_bytes(header.payload_bytes) > bytes.size() ||
      load<std::uint32_t>(from) != crc32c(bytes.subspan(4, kRecordHeaderBytes - 4), seed)) {
    return std::nullopt;
  }
  header.flags = load<std::uint8_t>(from + 5);
  header.payload_crc = load<std::uint32_t>(from + 12);
  header.connection = load<std::uint64_t>(from + 16);
  header.offset = load<std::uint64_t>(from + 24);
  header.monotonic_ns = load<std::uint64_t>(from + 32);
  header.wall_ns = load<std::uint64_t>(from + 40);
  return header;
}

bool is_zero(std::span<const std::byte> bytes) {
  // Each byte equals the one before it, and the first is zero.
  return bytes.empty() || (bytes[0] == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

// --- Payloads ---

std::vector<std::byte> encode(const SegmentInfo& info) {
  FieldWriter fields;
  fields.text(Field::run, info.run);
  fields.number(Field::worker, info.worker);
  fields.number(Field::segment_number, info.number);
  fields.text(Field::program, info.program);
  fields.text(Field::durability, info.durability);
  return fields.take();
}

std::optional<SegmentInfo> decode_segment(std::span<const std::byte> payload) {
  const std::optional<FieldReader> fields = FieldReader::parse(payload);
  SegmentInfo info;
  if (!fields || !fields->text(Field::run, info.run) ||
      !fields->number(Field::worker, info.worker) ||
      !fields->number(Field::segment_number, info.number)) {
    return std::nullopt;
  }
  fields->text(Field::program, info.program);
  fields->text(Field::durability, info.durability);
  return info;
}

std::vector<std::byte> encode(const OpenInfo& info, bool continued) {
  FieldWriter fields;
  fields.text(Field::id, info.id);
  fields.text(Field::route, info.route);
  fields.text(Field::client, info.client);
  fields.text(Field::upstream, info.upstream);
  fields.number(Field::began_wall, info.began_wall_ns);
  fields.number(Field::began_monotonic, info.began_monotonic_ns);
  fields.number(Field::sides, info.sides);
  if (continued) {
    fields.state(Field::client_so_far, info.so_far[0]);
    fields.state(Field::upstream_so_far, info.so_far[1]);
  }
  return fields.take();
}

std::optional<OpenInfo> decode_open(std::span<const std::byte> payload) {
  const std::optional<FieldReader> fields = FieldReader::parse(payload);
  OpenInfo info;
  if (!fields || !fields->text(Field::id, info.id)) return std::nullopt;
  fields->text(Field::route, info.route);
  fields->text(Field::client, info.client);
  fields->text(Field::upstream, info.upstream);
  fields->number(Field::began_wall, info.began_wall_ns);
  fields->number(Field::began_monotonic, info.began_monotonic_ns);
  fields->number(Field::sides, info.sides);
  fields->state(Field::client_so_far, info.so_far[0]);
  fields->state(Field::upstream_so_far, info.so_far[1]);
  return info;
}

std::vector<std::byte> encode(const GapInfo& info) {
  std::vector<std::byte> payload(16);
  store(payload.data(), info.bytes);
  store(payload.data() + 8, info.reason);
  return payload;
}

std::optional<GapInfo> decode_gap(std::span<const std::byte> payload) {
  if (payload.size() < 16) return std::nullopt;
  return GapInfo{load<std::uint64_t>(payload.data()), load<std::uint32_t>(payload.data() + 8)};
}

std::vector<std::byte> encode(const CloseInfo& info) {
  const std::string_view reason = std::string_view(info.reason).substr(0, kMaxTextBytes);
  std::vector<std::byte> payload(kCloseTotalsBytes + reason.size());
  for (std::size_t side = 0; side < 2; ++side) {
    const SideTotals& totals = info.sides[side];
    std::byte* to = &payload[side * kCloseTotalsBytes / 2];
    store(to, totals.received);
    store(to + 8, totals.forwarded);
    store(to + 16, totals.acknowledged);
    store(to + 24, totals.recorded);
    store(to + 32, totals.crc);
    store(to + 36, static_cast<std::uint8_t>(totals.ended));
  }
  std::memcpy(payload.data() + kCloseTotalsBytes, reason.data(), reason.size());
  return payload;
}

std::optional<CloseInfo> decode_close(std::span<const std::byte> payload) {
  if (payload.size() < kCloseTotalsBytes || payload.size() > kCloseTotalsBytes + kMaxTextBytes) {
    return std::nullopt;
  }
  CloseInfo info;
  for (std::size_t side = 0; side < 2; ++side) {
    const std::byte* from = &payload[side * kCloseTotalsBytes / 2];
    info.sides[side] = {load<std::uint64_t>(from),      load<std::uint64_t>(from + 8),
                        load<std::uint64_t>(from + 16), load<std::uint64_t>(from + 24),
                        load<std::uint32_t>(from + 32), static_cast<SideEnd>(from[36])};
    if (info.sides[side].ended > SideEnd::reset) return std::nullopt;
  }
  info.reason = text_of(payload.subspan(kCloseTotalsBytes));
  return info;
}

std::vector<std::byte> encode(const FooterInfo& info) {
  std::vector<std::byte> payload(16);
  store(payload.data(), info.data_bytes);
  store(payload.data() + 8, info.why);
  return payload;
}

std::optional<FooterInfo> decode_footer(std::span<const std::byte> payload) {
  if (payload.size() < 16) return std::nullopt;
  return FooterInfo{load<std::uint64_t>(payload.data()), load<std::uint32_t>(payload.data() + 8)};
}

std::vector<std::byte> encode_lost(std::uint64_t connections) {
  std::vector<std::byte> payload(8);
  store(payload.data(), connections);
  return payload;
}

std::optional<std::uint64_t> decode_lost(std::span<const std::byte> payload) {
  if (payload.size() < 8) return std::nullopt;
  return load<std::uint64_t>(payload.data());
}

// --- File names ---

namespace {

constexpr std::array<std::string_view, 3> kSuffixes = {".open", ".sluice", ".suspect"};
constexpr int kWorkerDigits = 3;
constexpr int kNumberDigits = 10;

std::string digits(std::uint64_t number, int least) {
  std::string text = std::to_string(number);
  const auto width = static_cast<std::size_t>(least);
  if (text.size() < width) text.insert(0, width - text.size(), '0');
  return text;
}

template <class Number>
bool take_number(std::string_view text, std::size_t least_digits, Number& to) {
  if (text.size() < least_digits) return false;
  const auto [after, error] = std::from_chars(text.data(), text.data() + text.size(), to);
  return error == std::errc() && after == text.data() + text.size();
}

}  // namespace

std::string to_string(const SegmentName& name) {
  std::string text = name.run + "-w" + digits(name.worker, kWorkerDigits) + '-' +
                     digits(name.number, kNumberDigits);
  text += kSuffixes[static_cast<std::size_t>(name.state)];
  return text;
}

std::optional<SegmentName> parse_segment_name(std::string_view file_name) {
  SegmentName name;
  const std::size_t dot = file_name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const auto suffix = std::ranges::find(kSuffixes, file_name.substr(dot));
  if (suffix == kSuffixes.end()) return std::nullopt;
  name.state = static_cast<SegmentState>(suffix - kSuffixes.begin());
  const std::string_view stem = file_name.substr(0, dot);
  const std::size_t second = stem.rfind('-');
  if (second == std::string_view::npos || second == 0) return std::nullopt;
  const std::size_t first = stem.rfind("-w", second - 1);
  if (first == std::string_view::npos || first == 0 || first > kMaxRunBytes) return std::nullopt;
  name.run = stem.substr(0, first);
  const bool plain = std::ranges::all_of(
      name.run, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z'); });
  if (!plain ||
      !take_number(stem.substr(first + 2, second - first - 2), kWorkerDigits, name.worker) ||
      !take_number(stem.substr(second + 1), kNumberDigits, name.number)) {
    return std::nullopt;
  }
  return name;
}

}  // namespace sluice::capture
