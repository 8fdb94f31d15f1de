#include "iolib/capture/format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "iolib/base/crc32c.h"
#include "iolib/capture/frame_builder.h"
#include "tests/support/capture_builder.h"

namespace sluice::capture {
namespace {

using test::bytes_of;
using test::random_bytes;

SegmentId segment_id(int value) {
  SegmentId id;
  std::ranges::fill(id, static_cast<std::byte>(value));
  return id;
}

FrameHeader header_of(std::uint32_t number, std::uint64_t offset) {
  FrameHeader header;
  header.segment = segment_id(7);
  header.number = number;
  header.durable_frames = number / 2;
  header.offset = offset;
  return header;
}

RecordHeader data_header() {
  RecordHeader header;
  header.kind = static_cast<std::uint8_t>(Kind::data);
  header.flags = 1;
  header.connection = 0x0102030405060708;
  header.offset = 0x1112131415161718;
  header.monotonic_ns = 3;
  header.wall_ns = 4;
  return header;
}

TEST(Frame, ComesBackAsItWasBuilt) {
  std::vector<std::byte> buffer(16 << 10, std::byte{0xff});
  FrameBuilder builder(buffer);
  const auto payload = random_bytes(5001, 1);
  builder.append(data_header(), payload);
  builder.append(data_header(), bytes_of("x"));
  const auto frame = builder.seal(header_of(9, 40960));
  ASSERT_EQ(frame.size(), 8192U);
  const auto header = decode_frame_header(frame);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->number, 9U);
  EXPECT_EQ(header->durable_frames, 4U);
  EXPECT_EQ(header->offset, 40960U);
  EXPECT_EQ(header->used_bytes, 64 + record_bytes(5001) + record_bytes(1));
  const std::uint32_t seed = record_seed(header->segment, header->offset);
  const auto record = decode_record_header(frame.subspan(64), seed);
  ASSERT_TRUE(record);
  EXPECT_EQ(record->side(), Side::upstream);
  EXPECT_EQ(record->connection, 0x0102030405060708U);
  EXPECT_EQ(record->payload_bytes, 5001U);
  EXPECT_TRUE(std::ranges::equal(frame.subspan(64 + 48, 5001), payload));
  EXPECT_TRUE(decode_record_header(frame.subspan(64 + record_bytes(5001)), seed));
  EXPECT_TRUE(is_zero(frame.subspan(header->used_bytes)));
}

TEST(Frame, IsLaidOutByteByByteAsDocumented) {
  std::vector<std::byte> buffer(4096);
  FrameBuilder builder(buffer);
  builder.append(data_header(), bytes_of("x"));
  const auto frame = builder.seal(header_of(0x01020304, 0x0000'0a0b'0c0d'e000));
  EXPECT_EQ(std::to_integer<int>(frame[0]), 0x89);
  EXPECT_EQ(std::to_integer<int>(frame[8]), 1);
  EXPECT_EQ(std::to_integer<int>(frame[32]), 4);
  EXPECT_EQ(std::to_integer<int>(frame[35]), 1);
  EXPECT_EQ(std::to_integer<int>(frame[41]), 0xe0);
  EXPECT_EQ(std::to_integer<int>(frame[64 + 4]), 3);
  EXPECT_EQ(std::to_integer<int>(frame[64 + 16]), 8);
}

TEST(Frame, OfADifferentPlaceOrSegmentHasOtherRecordCrcs) {
  std::vector<std::byte> buffer(4096);
  FrameBuilder builder(buffer);
  builder.append(data_header(), bytes_of("x"));
  const auto frame = builder.seal(header_of(1, 4096));
  EXPECT_TRUE(decode_record_header(frame.subspan(64), record_seed(segment_id(7), 4096)));
  EXPECT_FALSE(decode_record_header(frame.subspan(64), record_seed(segment_id(7), 8192)));
  EXPECT_FALSE(decode_record_header(frame.subspan(64), record_seed(segment_id(8), 4096)));
}

TEST(Frame, HoldsWhatItSaysFits) {
  std::vector<std::byte> buffer(4096);
  FrameBuilder builder(buffer);
  EXPECT_EQ(builder.room_bytes(), 4096U - 64 - 48);
  EXPECT_TRUE(builder.fits(builder.room_bytes()));
  EXPECT_FALSE(builder.fits(builder.room_bytes() + 1));
  builder.append(data_header(), random_bytes(builder.room_bytes(), 1));
  EXPECT_EQ(builder.frame_bytes(kRecordAlignment), 4096U);
  EXPECT_EQ(builder.room_bytes(), 0U);
  EXPECT_FALSE(builder.fits(0));
  EXPECT_TRUE(decode_frame_header(builder.seal(header_of(0, 0))));
}

TEST(Frame, OfAnotherVersionButAWrongCrcIsNone) {
  std::vector<std::byte> buffer(4096);
  FrameBuilder builder(buffer);
  builder.append(data_header(), bytes_of("x"));
  static_cast<void>(builder.seal(header_of(0, 0)));
  bool unsupported = true;
  buffer[8] = std::byte{2};
  EXPECT_FALSE(decode_frame_header(buffer, &unsupported));
  EXPECT_FALSE(unsupported);
  EXPECT_FALSE(decode_frame_header(std::span(buffer).first(63), &unsupported));
}

// A header's field, with a value that no writer puts there.
struct Senseless {
  const char* what;
  std::size_t at;
  std::size_t size;
  std::uint64_t value;
};

void put(std::span<std::byte> bytes, std::size_t at, std::size_t size, std::uint64_t value) {
  for (std::size_t i = 0; i < size; ++i) bytes[at + i] = static_cast<std::byte>(value >> (8 * i));
}

// A frame of 8,192 bytes with one record of 5,000.
constexpr std::size_t kWholeFrame = 8192;
std::vector<std::byte> whole_frame() {
  std::vector<std::byte> buffer(kWholeFrame);
  FrameBuilder builder(buffer);
  builder.append(data_header(), random_bytes(5000, 1));
  static_cast<void>(builder.seal(header_of(9, 40960)));
  return buffer;
}

// Sets each field alone, with the right CRC.
void expect_refused(std::span<const Senseless> fields, bool expected) {
  for (const Senseless& each : fields) {
    std::vector<std::byte> frame = whole_frame();
    put(frame, each.at, each.size, each.value);
    put(frame, 60, 4, crc32c(std::span(frame).first(60)));
    bool unsupported = !expected;
    EXPECT_FALSE(decode_frame_header(frame, &unsupported)) << each.what;
    EXPECT_EQ(unsupported, expected) << each.what;
  }
}

TEST(Frame, WithOneSenselessFieldIsRefusedThoughItsCrcIsRight) {
  constexpr std::array kFields = {
      Senseless{"magic", 0, 1, 0x88},
      Senseless{"the end of the magic", 7, 1, '\r'},
      Senseless{"shorter header", 10, 2, 56},
      Senseless{"longer header", 10, 2, 72},
      Senseless{"more durable frames than there are", 36, 4, 10},
      Senseless{"offset off the grid", 40, 8, 40960 + 512},
      Senseless{"no bytes", 48, 4, 0},
      Senseless{"bytes off the grid", 48, 4, kWholeFrame + 8},
      Senseless{"more bytes than the largest frame has", 48, 4, kMaxFrameBytes + kGridBytes},
      Senseless{"bytes that are negative", 48, 4, 0xffff'f000},
      Senseless{"less used than the header", 52, 4, 56},
      Senseless{"nothing used", 52, 4, 0},
      Senseless{"used off the alignment", 52, 4, 5116},
      Senseless{"more used than there are bytes", 52, 4, kWholeFrame + 8},
      Senseless{"used bytes that are negative", 52, 4, 0xffff'fff8},
      Senseless{"not zero where zero belongs", 56, 4, 1},
      Senseless{"not zero at the end of it", 59, 1, 0x80},
  };
  expect_refused(kFields, false);
}

TEST(Frame, OfALaterVersionIsUnsupportedIfItsCrcIsRight) {
  constexpr std::array kFields = {Senseless{"version", 8, 2, 2}, Senseless{"version 0", 8, 2, 0},
                                  Senseless{"version 257", 9, 1, 1},
                                  Senseless{"incompatible flag", 12, 2, 1},
                                  Senseless{"the last incompatible flag", 12, 2, 0x8000}};
  expect_refused(kFields, true);
}

TEST(Frame, AtTheEdgesOfWhatMakesSenseIsTaken) {
  constexpr std::array kFields = {
      Senseless{"compatible flags", 14, 2, 0xffff}, Senseless{"as many durable", 36, 4, 9},
      Senseless{"any number", 32, 4, 0xffff'ffff},  Senseless{"far offset", 40, 8, ~0xfffULL},
      Senseless{"largest", 48, 4, kMaxFrameBytes},  Senseless{"no record", 52, 4, 64},
      Senseless{"all used", 52, 4, kWholeFrame}};
  for (const Senseless& each : kFields) {
    std::vector<std::byte> frame = whole_frame();
    put(frame, each.at, each.size, each.value);
    put(frame, 60, 4, crc32c(std::span(frame).first(60)));
    EXPECT_TRUE(decode_frame_header(frame)) << each.what;
  }
}

TEST(Record, WithOneSenselessFieldIsRefusedThoughItsCrcIsRight) {
  constexpr std::array kFields = {
      Senseless{"padding", 4, 1, 0},
      Senseless{"shorter header", 6, 2, 40},
      Senseless{"longer header", 6, 2, 56},
      Senseless{"payload beyond the frame", 8, 4, kWholeFrame - 64 - 48 + 1},
      Senseless{"payload that wraps around", 8, 4, 0xffff'ffff},
      Senseless{"payload that wraps to a length of 0", 8, 4, 0xffff'ffd0},
  };
  const std::uint32_t seed = record_seed(segment_id(7), 40960);
  for (const Senseless& each : kFields) {
    std::vector<std::byte> frame = whole_frame();
    const std::span<std::byte> record = std::span(frame).subspan(kFrameHeaderBytes);
    put(record, each.at, each.size, each.value);
    put(record, 0, 4, crc32c(record.subspan(4, kRecordHeaderBytes - 4), seed));
    EXPECT_FALSE(decode_record_header(record, seed)) << each.what;
  }
}

TEST(Record, WithMorePayloadThanTheFormatAllowsIsRefusedThoughItIsThere) {
  const std::uint32_t seed = record_seed(segment_id(7), 0);
  for (const std::size_t payload_bytes : {kMaxPayloadBytes, kMaxPayloadBytes + 1}) {
    std::vector<std::byte> record(record_bytes(payload_bytes));
    RecordHeader header = data_header();
    header.payload_bytes = static_cast<std::uint32_t>(payload_bytes);
    encode_record_header(header, record.data());
    put(record, 0, 4, crc32c(std::span(record).subspan(4, kRecordHeaderBytes - 4), seed));
    EXPECT_EQ(decode_record_header(record, seed).has_value(), payload_bytes == kMaxPayloadBytes);
  }
}

TEST(Record, BeyondItsFrameIsRefused) {
  std::vector<std::byte> buffer(4096);
  FrameBuilder builder(buffer);
  builder.append(data_header(), random_bytes(1000, 1));
  const auto frame = builder.seal(header_of(0, 0));
  const std::uint32_t seed = record_seed(segment_id(7), 0);
  EXPECT_TRUE(decode_record_header(frame.subspan(64, record_bytes(1000)), seed));
  EXPECT_FALSE(decode_record_header(frame.subspan(64, record_bytes(1000) - 1), seed));
}

// --- Payloads ---

TEST(Payload, OfEachKindComesBack) {
  const SegmentInfo segment{"run1", 3, 4'000'000'000'000, "sluice 1", "batch"};
  EXPECT_EQ(decode_segment(encode(segment)), segment);
  OpenInfo open = test::open_info(5);
  open.sides = 1;
  EXPECT_EQ(decode_open(encode(open, false)), open);
  open.so_far = {{{10, 9, 8, SideEnd::eof}, {7, 6, 5, SideEnd::reset}}};
  EXPECT_EQ(decode_open(encode(open, true)), open);
  const GapInfo gap{1ULL << 40, 5};
  EXPECT_EQ(decode_gap(encode(gap)), gap);
  const CloseInfo close{{{{1, 2, 3, 4, 5, SideEnd::eof}, {6, 7, 8, 9, 10, SideEnd::none}}}, "why"};
  EXPECT_EQ(decode_close(encode(close)), close);
  const FooterInfo footer{99, 2};
  EXPECT_EQ(decode_footer(encode(footer)), footer);
  EXPECT_EQ(decode_lost(encode_lost(77)), 77U);
}

TEST(Payload, CutAnywhereIsRefusedOrShorterNeverReadBeyond) {
  const auto open = encode(test::open_info(5), true);
  for (std::size_t size = 0; size < open.size(); ++size) {
    // In its own copy, so that a sanitizer notices a read behind it.
    const std::vector<std::byte> part(open.begin(), open.begin() + static_cast<long>(size));
    static_cast<void>(decode_open(part));
    static_cast<void>(decode_segment(part));
  }
  const auto close = encode(CloseInfo{{}, ""});
  EXPECT_FALSE(decode_close(std::span(close).first(close.size() - 1)));
  EXPECT_FALSE(decode_gap(std::vector<std::byte>(15)));
  EXPECT_FALSE(decode_footer({}));
  EXPECT_FALSE(decode_lost({}));
}

TEST(Payload, WithAFieldTwiceOrOverrunIsRefused) {
  auto open = encode(test::open_info(5), false);
  auto twice = open;
  twice.insert(twice.end(), open.begin(), open.end());
  EXPECT_FALSE(decode_open(twice));
  open[2] = std::byte{0xff};
  open[3] = std::byte{0xff};
  EXPECT_FALSE(decode_open(open));
}

TEST(Payload, WithUnknownFieldsIsRead) {
  auto open = encode(test::open_info(5), false);
  for (const int byte : {0xe8, 0x03, 2, 0, 1, 1}) open.push_back(static_cast<std::byte>(byte));
  EXPECT_EQ(decode_open(open), test::open_info(5));
}

TEST(Payload, OfALongTextIsCut) {
  OpenInfo open = test::open_info(5);
  open.route = std::string(5000, 'r');
  const auto read = decode_open(encode(open, false));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->route, std::string(kMaxTextBytes, 'r'));
}

// --- Names ---

TEST(Name, ComesBackAndSortsByRunWorkerNumber) {
  const SegmentName name{"0m8k", 12, 345, SegmentState::sealed};
  EXPECT_EQ(to_string(name), "0m8k-w012-0000000345.sluice");
  for (const SegmentState state :
       {SegmentState::open, SegmentState::sealed, SegmentState::suspect}) {
    const SegmentName each{"run", 1234, 12'345'678'901, state};
    EXPECT_EQ(parse_segment_name(to_string(each)), each);
  }
  EXPECT_LT(to_string({"a", 0, 9, SegmentState::sealed}),
            to_string({"a", 0, 10, SegmentState::sealed}));
}

TEST(Name, OfAnotherFormIsNoSegment) {
  for (const char* name :
       {"", "lock", ".sluice", "a-w000-0000000000", "a-w000-0000000000.tmp",
        "a-w00-0000000000.open", "a-w000-000000000.open", "-w000-0000000000.open",
        "A-w000-0000000000.open", "a/b-w000-0000000000.open", "a-w000-00000000x0.open",
        "a-w-1-0000000000.open", "a-w99999999999-0000000000.open",
        "a-w000-99999999999999999999999.open",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-w000-0000000000.open"}) {
    EXPECT_FALSE(parse_segment_name(name)) << name;
  }
}

}  // namespace
}  // namespace sluice::capture
