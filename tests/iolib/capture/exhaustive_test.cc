// Flips every bit of a capture, and cuts it at every place.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "iolib/capture/reader.h"
#include "tests/support/capture_builder.h"
#include "tests/support/memory_source.h"
#include "tests/support/settings.h"

namespace sluice::test {
namespace {

using capture::ChainReader;
using capture::Event;
using capture::Kind;
using capture::Side;

// Delivered bytes by connection and side: where each piece begins in the stream, and its bytes.
struct Piece {
  std::uint64_t connection = 0;
  Side side = Side::client;
  std::uint64_t offset = 0;
  std::span<const std::byte> bytes;
};

struct Walk {
  std::size_t records = 0;
  std::size_t findings = 0;
  std::size_t gaps = 0;
  bool failed = false;
  [[nodiscard]] bool clean() const { return findings == 0 && gaps == 0 && !failed; }
};

// Walks one segment as sluice-capture verify does. `ends`: where each good record ends. `take` gets
// each delivered piece.
Walk walk(std::span<const std::byte> bytes, std::vector<std::uint64_t>* ends = nullptr,
          const std::function<void(const Piece&)>& take = {}) {
  const capture::SegmentName name{"run1", 0, 0, capture::SegmentState::sealed};
  ChainReader::Options options;
  options.open = [bytes](capture::SegmentFile&) -> Result<std::unique_ptr<capture::Source>> {
    return std::unique_ptr<capture::Source>(std::make_unique<test::MemorySource>(bytes));
  };
  ChainReader reader({"run1", 0, {{to_string(name), name, bytes.size()}}}, options);
  Walk result;
  while (true) {
    const Result<Event> event = reader.next();
    if (!event) {
      result.failed = true;
      return result;
    }
    if (event->type == Event::Type::end) return result;
    result.findings += event->type == Event::Type::finding ? 1 : 0;
    if (event->type != Event::Type::record) continue;
    ++result.records;
    result.gaps += event->header.is(Kind::gap) ? 1 : 0;
    if (event->header.is(Kind::data) && take) {
      take({event->header.connection, event->header.side(), event->fresh_offset(), event->fresh()});
    }
    if (ends != nullptr) {
      ends->push_back(event->position + capture::record_bytes(event->payload.size()));
    }
  }
}

// Several connections, short and long records that fit frames of `frame_bytes`, padded frames.
std::vector<CaptureRecord> varied_records(std::size_t bytes, std::size_t frame_bytes) {
  const std::size_t longest = std::min<std::size_t>(frame_bytes - 1000, 20'000);
  std::vector<CaptureRecord> records;
  std::size_t total = 0;
  for (std::uint64_t connection = 1; total < bytes; ++connection) {
    const std::size_t client = std::min(connection * 3310 % (2 * longest) + 1, bytes - total);
    const std::size_t upstream = connection * 1730 % longest;
    const auto some = connection_records(connection, random_bytes(client, connection),
                                         random_bytes(upstream, connection + 1000),
                                         connection * 2297 % longest + 200);
    records.insert(records.end(), some.begin(), some.end());
    total += client + upstream;
  }
  return records;
}

// A segment of at most, and nearly, this many bytes.
std::vector<std::byte> segment_of(std::size_t bytes, std::size_t frame_bytes) {
  SegmentPlan plan;
  plan.frame_bytes = frame_bytes;
  for (std::size_t content = bytes;;) {
    std::vector<std::byte> segment = build_segment(plan, varied_records(content, frame_bytes));
    if (segment.size() <= bytes) return segment;
    content -= std::min<std::size_t>(segment.size() - bytes, 300);
  }
}

using Streams = std::map<std::pair<std::uint64_t, Side>, std::vector<std::byte>>;

Streams streams_of(std::span<const std::byte> segment) {
  Streams streams;
  const Walk walked = walk(segment, nullptr, [&](const Piece& piece) {
    std::vector<std::byte>& stream = streams[{piece.connection, piece.side}];
    EXPECT_EQ(stream.size(), piece.offset);
    stream.insert(stream.end(), piece.bytes.begin(), piece.bytes.end());
  });
  EXPECT_TRUE(walked.clean());
  return streams;
}

// Whether the bytes are those that the stream has at that place.
bool is_of(const Streams& streams, const Piece& piece) {
  const auto found = streams.find({piece.connection, piece.side});
  if (found == streams.end()) return false;
  const std::vector<std::byte>& stream = found->second;
  // memcmp, because this compares up to 64 KiB half a million times, with hardly any optimization.
  return piece.offset <= stream.size() && piece.bytes.size() <= stream.size() - piece.offset &&
         (piece.bytes.empty() ||
          std::memcmp(piece.bytes.data(), &stream[piece.offset], piece.bytes.size()) == 0);
}

TEST(Capture, WithAnySingleBitFlippedIsNotCleanAndDeliversNothingElse) {
  constexpr std::size_t kBytes = 64 << 10;
  std::vector<std::byte> bytes = segment_of(kBytes, 8 << 10);
  ASSERT_EQ(bytes.size(), kBytes);
  const Walk whole = walk(bytes);
  ASSERT_TRUE(whole.clean());
  ASSERT_GT(whole.records, 30U);
  const Streams streams = streams_of(bytes);
  // Under a sanitizer, every 307th bit.
  const std::size_t step = by_scale<std::size_t>(307, 1, 1);
  std::size_t flipped = 0;
  for (std::size_t bit = seed() % step; bit < bytes.size() * 8; bit += step) {
    std::byte& byte = bytes[bit / 8];
    const auto mask = static_cast<std::byte>(1U << (bit % 8));
    byte ^= mask;
    std::size_t others = 0;
    const Walk walked =
        walk(bytes, nullptr, [&](const Piece& piece) { others += is_of(streams, piece) ? 0 : 1; });
    ASSERT_GT(walked.findings, 0U) << "bit " << bit << " makes no difference";
    ASSERT_FALSE(walked.failed) << "bit " << bit;
    ASSERT_EQ(others, 0U) << "bit " << bit << " delivers what was not recorded";
    byte ^= mask;
    ++flipped;
  }
  if (step == 1) {
    EXPECT_EQ(flipped, 524'288U);
  }
}

class Truncation : public testing::TestWithParam<std::size_t> {};

TEST_P(Truncation, AnywhereIsSeenAndAllRecordsBeforeItAreRead) {
  constexpr std::size_t kBytes = 1 << 20;
  const std::vector<std::byte> bytes = segment_of(kBytes, GetParam());
  ASSERT_GT(bytes.size(), kBytes - (64 << 10));
  std::vector<std::uint64_t> ends;
  ASSERT_TRUE(walk(bytes, &ends).clean());
  std::vector<std::size_t> lengths;
  const std::size_t step = by_scale<std::size_t>(32'768, 512, 512);
  for (std::size_t length = 0; length < bytes.size(); length += step) lengths.push_back(length);
  std::mt19937_64 random(seed());
  const std::size_t others = by_scale<std::size_t>(60, 10'000, 10'000);
  for (std::size_t i = 0; i < others; ++i) lengths.push_back(random() % bytes.size());
  for (const std::size_t length : lengths) {
    const Walk walked = walk(std::span(bytes).first(length));
    ASSERT_GT(walked.findings, 0U) << "cut to " << length << " bytes";
    const auto whole = std::ranges::upper_bound(ends, length) - ends.begin();
    ASSERT_EQ(walked.records, static_cast<std::size_t>(whole)) << "cut to " << length << " bytes";
  }
}

INSTANTIATE_TEST_SUITE_P(Frames, Truncation, testing::Values(4096, 256 << 10, 1 << 20),
                         [](const auto& about) { return std::to_string(about.param); });

TEST(Capture, OfNoiseEndsWithoutARecord) {
  for (std::uint64_t each = 0; each < 200; ++each) {
    const Walk walked = walk(random_bytes(each * 997, seed() + each));
    EXPECT_EQ(walked.records, 0U);
    EXPECT_FALSE(walked.clean());
  }
}

}  // namespace
}  // namespace sluice::test
