// Scenarios of segments, chains and streams, in memory.

#include "iolib/capture/reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "iolib/base/crc32c.h"
#include "tests/support/capture_builder.h"
#include "tests/support/memory_source.h"
#include "tests/support/temp_dir.h"

namespace sluice::capture {
namespace {

using test::bytes_of;
using test::CaptureRecord;
using test::close_record;
using test::connection_records;
using test::data_record;
using test::end_record;
using test::gap_record;
using test::MemorySegment;
using test::MemorySource;
using test::open_record;
using test::random_bytes;
using test::SegmentPlan;
using test::write_segment;

using Severity = Finding::Severity;

struct Read {
  std::string client;  ///< the new bytes of all connections
  std::vector<Finding> findings;
  std::size_t records = 0;
  std::string error;
  [[nodiscard]] bool has(Severity severity) const {
    return std::ranges::count(findings, severity, &Finding::severity) > 0;
  }
};

Read read(ChainReader reader) {
  Read result;
  while (true) {
    const Result<Event> event = reader.next();
    if (!event) {
      result.error = event.error().to_string();
      return result;
    }
    if (event->type == Event::Type::end) return result;
    if (event->type == Event::Type::finding) result.findings.push_back(event->finding);
    if (event->type != Event::Type::record) continue;
    ++result.records;
    if (!event->header.is(Kind::data) || event->header.side() != Side::client) continue;
    const auto fresh = event->fresh();
    result.client.append(reinterpret_cast<const char*>(fresh.data()), fresh.size());
  }
}

Read read(const std::vector<MemorySegment>& segments) {
  return read(ChainReader(test::memory_chain(segments), test::memory_options(segments)));
}

// As for a chain whose writer lives.
Chain written_chain(const std::vector<MemorySegment>& segments) {
  Chain chain = test::memory_chain(segments);
  chain.being_written = true;
  return chain;
}
Read read_written(const std::vector<MemorySegment>& segments) {
  return read(ChainReader(written_chain(segments), test::memory_options(segments)));
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

MemorySegment segment(std::uint64_t number, const std::vector<CaptureRecord>& records,
                      bool footer = true, SegmentState state = SegmentState::sealed) {
  SegmentPlan plan;
  plan.number = number;
  plan.id = static_cast<std::uint8_t>(number + 1);
  plan.footer = footer;
  return {build_segment(plan, records), state, number};
}

// --- Segments ---

TEST(Segment, ThatIsBeingWrittenMayHaveZerosBehind) {
  SegmentPlan plan;
  plan.footer = false;
  plan.zeros_behind_bytes = (1 << 20) + 4096;
  const auto bytes = random_bytes(5000, 1);
  for (const bool footer : {false, true}) {
    plan.footer = footer;
    const Read got =
        read({{build_segment(plan, connection_records(1, bytes, {})), SegmentState::open, 0}});
    EXPECT_TRUE(got.findings.empty());
    EXPECT_EQ(got.client, text_of(bytes));
  }
  plan.footer = true;
  const Read sealed = read({{build_segment(plan, {open_record(1)}), SegmentState::sealed, 0}});
  EXPECT_TRUE(sealed.has(Severity::damage)) << "zeros behind a footer";
}

TEST(Segment, ThatIsEmptyHasNothing) {
  EXPECT_TRUE(read({{{}, SegmentState::open, 0}}).findings.empty());
  EXPECT_TRUE(read({{std::vector<std::byte>(100'000), SegmentState::open, 0}}).findings.empty());
  EXPECT_TRUE(read({{{}, SegmentState::sealed, 0}}).has(Severity::torn));
}

TEST(Segment, WithoutAFooterHasATornTail) {
  const Read got = read({segment(0, {open_record(1)}, false)});
  EXPECT_TRUE(got.has(Severity::torn));
  EXPECT_FALSE(got.has(Severity::damage));
}

// If only the first part of a write arrived, the rest holds the prepared zeros.
TEST(Segment, WithAHalfWrittenFrameIsTornAndItsWholeRecordsCount) {
  SegmentPlan plan;
  plan.footer = false;
  plan.frame_bytes = 64 << 10;
  auto bytes = build_segment(plan, connection_records(1, random_bytes(20'000, 1), {}));
  ASSERT_EQ(bytes.size(), 24U << 10);
  std::fill(bytes.begin() + 8192, bytes.end(), std::byte{0});
  const Read got = read({{bytes, SegmentState::open, 0}});
  EXPECT_TRUE(got.has(Severity::torn));
  EXPECT_FALSE(got.has(Severity::damage));
  EXPECT_EQ(got.client, text_of(random_bytes(20'000, 1)).substr(0, 7000));
}

TEST(Segment, WithAFrameMissingBelowTheDurableMarkIsDamaged) {
  SegmentPlan plan;
  plan.footer = false;
  for (const std::uint32_t in_flight : {1U, 100U}) {
    plan.frames_in_flight = in_flight;
    auto bytes = build_segment(plan, connection_records(1, random_bytes(40'000, 1), {}));
    std::fill(bytes.begin() + 8192, bytes.begin() + 12288, std::byte{0});
    const Read got = read({{bytes, SegmentState::open, 0}});
    EXPECT_EQ(got.has(Severity::damage), in_flight == 1);
    EXPECT_EQ(got.has(Severity::torn), in_flight != 1);
    EXPECT_TRUE(got.has(Severity::lost));
    EXPECT_GT(got.client.size(), 30'000U);
  }
}

TEST(Segment, WhoseFirstFrameIsBadIsReadFromTheNext) {
  auto whole = segment(0, connection_records(1, random_bytes(20'000, 1), {}));
  whole.bytes[3] ^= std::byte{1};
  const Read got = read({whole});
  EXPECT_TRUE(got.has(Severity::damage));
  EXPECT_GT(got.client.size(), 15'000U);
}

TEST(Segment, WithFramesOfAnotherOneOrInAnotherPlaceDoesNotTakeThem) {
  const auto own = segment(0, connection_records(1, random_bytes(20'000, 1), {}));
  const auto other = segment(1, connection_records(1, random_bytes(20'000, 2), {}));
  auto mixed = own;
  std::copy_n(other.bytes.begin() + 8192, 4096, mixed.bytes.begin() + 8192);
  EXPECT_TRUE(read({mixed}).has(Severity::damage));
  EXPECT_LT(read({mixed}).client.size(), 20'000U);
  auto moved = own;
  std::copy_n(own.bytes.begin() + 4096, 4096, moved.bytes.begin() + 8192);
  EXPECT_TRUE(read({moved}).has(Severity::damage));
  EXPECT_LT(read({moved}).client.size(), 20'000U);
}

// A peer does not know the segment's id, so the bytes that it sends cannot pass for frames or
// records.
TEST(Segment, InsideABadFrameForgedFramesAreNotTaken) {
  SegmentPlan plan;
  plan.id = 99;
  const auto forged = build_segment(plan, connection_records(66, random_bytes(2000, 1), {}));
  plan.id = 1;
  plan.frame_bytes = 64 << 10;
  auto own = build_segment(plan, connection_records(1, forged, {}, 65'000 - 4096));
  own[5] ^= std::byte{1};
  const Read got = read({{own, SegmentState::sealed, 0}});
  EXPECT_EQ(got.records, 0U);
}

TEST(Segment, OfALaterVersionIsRefused) {
  auto later = segment(0, {open_record(1)});
  later.bytes[8] = std::byte{2};
  const std::uint32_t crc = crc32c(std::span(later.bytes).first(60));
  for (std::size_t i = 0; i < 4; ++i) later.bytes[60 + i] = static_cast<std::byte>(crc >> (8 * i));
  EXPECT_NE(read({later}).error.find("later version"), std::string::npos);
}

TEST(Segment, WithAnUnknownKindIsReadOn) {
  CaptureRecord unknown = data_record(1, Side::client, 0, "?");
  unknown.header.kind = 200;
  const Read got =
      read({segment(0, {open_record(1), unknown, data_record(1, Side::client, 0, "x")})});
  EXPECT_TRUE(got.findings.empty());
  EXPECT_EQ(got.client, "x");
}

TEST(Segment, WithOffsetsThatWrapAroundIsDamaged) {
  const Read got = read({segment(0, {open_record(1), data_record(1, Side::client, ~0ULL, "xy"),
                                     gap_record(1, Side::client, 5, ~0ULL, GapReason::limit)})});
  EXPECT_TRUE(got.has(Severity::damage));
  EXPECT_EQ(got.client, "");
}

// A disk that fails while it is read: one of the calls fails.
class FailingSource final : public Source {
 public:
  FailingSource(std::span<const std::byte> bytes, std::size_t& calls_left)
      : source_(bytes), calls_left_(calls_left) {}
  Result<std::uint64_t> size_bytes() override {
    if (calls_left_-- == 0) return Error{EIO, "fstat"};
    return source_.size_bytes();
  }
  Result<std::span<const std::byte>> read(std::uint64_t offset, std::size_t bytes) override {
    if (calls_left_-- == 0) return Error{EIO, "pread"};
    return source_.read(offset, bytes);
  }

 private:
  MemorySource source_;
  std::size_t& calls_left_;
};

// Lets each read of the segments fail in turn, until a reader makes no more. Returns their number.
std::size_t fail_each_read(const std::vector<MemorySegment>& segments) {
  const Read whole = read(segments);
  EXPECT_EQ(whole.error, "");
  std::size_t calls_left = 0;
  auto options = test::memory_options(segments);
  options.open = [&](SegmentFile& file) -> Result<std::unique_ptr<Source>> {
    return std::unique_ptr<Source>(
        std::make_unique<FailingSource>(segments[file.name.number].bytes, calls_left));
  };
  for (std::size_t call = 0;; ++call) {
    calls_left = call;
    const Read got = read(ChainReader(test::memory_chain(segments), options));
    if (calls_left <= call) return call;
    EXPECT_NE(got.error.find("Input/output error"), std::string::npos) << "call " << call;
    EXPECT_TRUE(whole.client.starts_with(got.client)) << "call " << call;
    EXPECT_LE(got.findings.size(), whole.findings.size()) << "call " << call;
  }
}

TEST(Chain, OfWhichAReadFailsFailsWithItAndCallsNothingTornOrDamaged) {
  const auto bytes = random_bytes(40'000, 1);
  // In the second segment the reader looks past a hole.
  std::vector<MemorySegment> segments = {segment(0, connection_records(1, bytes, {})),
                                         segment(1, connection_records(2, bytes, {}))};
  std::fill_n(segments[1].bytes.begin() + 8192, 4096, std::byte{0});
  EXPECT_GT(fail_each_read(segments), 5U);
}

// More garbage than one read returns, so that a later read can fail while the reader skips it.
TEST(Chain, OfWhichAReadFailsWithinALongBadRangeFailsWithIt) {
  for (const SegmentState state :
       {SegmentState::sealed, SegmentState::suspect, SegmentState::open}) {
    MemorySegment damaged =
        segment(0, connection_records(1, random_bytes(3 * kMaxFrameBytes, 1), {}), true, state);
    std::fill_n(damaged.bytes.begin() + 8192, 2 * kMaxFrameBytes, std::byte{0xee});
    EXPECT_GT(fail_each_read({damaged}), 8U);
    damaged.bytes.resize(2 * kMaxFrameBytes);
    EXPECT_GT(fail_each_read({damaged}), 5U) << "to the end";
  }
}

// --- A segment that is being written ---

// A segment of about 50 frames of 64 KiB, one of which is missing.
constexpr std::size_t kBigFrame = 64 << 10;
std::vector<std::byte> frames_but_one(std::size_t missing, std::uint32_t in_flight,
                                      const std::string& durability = "batch") {
  SegmentPlan plan;
  plan.durability = durability;
  plan.footer = false;
  plan.frame_bytes = kBigFrame;
  plan.frames_in_flight = in_flight;
  plan.zeros_behind_bytes = 1 << 20;
  auto records = connection_records(1, random_bytes(3 << 20, 1), {}, 60'000);
  records.resize(records.size() - 3);
  auto bytes = build_segment(plan, records);
  const auto hole = bytes.begin() + static_cast<std::ptrdiff_t>(missing * kBigFrame);
  std::fill_n(hole, kBigFrame, std::byte{0});
  return bytes;
}

TEST(Written, EndsAtAHoleThatIsNotDurableYet) {
  const auto whole = text_of(random_bytes(3 << 20, 1));
  const std::vector<MemorySegment> segments = {
      {frames_but_one(5, 100), SegmentState::open, 0},
      segment(1, {open_record(2)}, false, SegmentState::open)};
  const Read got = read_written(segments);
  EXPECT_TRUE(got.findings.empty()) << got.findings.front().what;
  EXPECT_EQ(got.client, whole.substr(0, std::size_t{5} * 60'000));
  EXPECT_EQ(got.records, 7U) << "nothing of the next";
  EXPECT_TRUE(read(segments).has(Severity::torn)) << "its writer is dead";
}

TEST(Written, EndsWithinAFrameOfWhichTheRestIsNotThereYet) {
  auto bytes = frames_but_one(20, 100);
  std::fill_n(bytes.begin() + 5 * kBigFrame + 4096, kBigFrame - 4096, std::byte{0});
  const Read got = read_written({{bytes, SegmentState::open, 0}});
  EXPECT_TRUE(got.findings.empty()) << got.findings.front().what;
  EXPECT_EQ(got.client.size(), 5U * 60'000);
}

TEST(Written, IsDamagedBelowTheDurableMark) {
  const Read got = read_written({{frames_but_one(5, 2), SegmentState::open, 0}});
  EXPECT_TRUE(got.has(Severity::damage));
  EXPECT_TRUE(got.has(Severity::lost));
  EXPECT_GT(got.client.size(), (3U << 20) - 3 * 60'000);
}

TEST(Written, WithoutAFooterYetIsTheLastToBeRead) {
  SegmentPlan plan;
  plan.footer = false;
  plan.zeros_behind_bytes = 1 << 20;
  const auto records = connection_records(1, random_bytes(3000, 1), {});
  const std::vector<MemorySegment> segments = {
      {build_segment(plan, {records.begin(), records.begin() + 2}), SegmentState::open, 0},
      segment(1, {records.begin() + 3, records.end()}, false, SegmentState::open)};
  const Read got = read_written(segments);
  EXPECT_TRUE(got.findings.empty()) << got.findings.front().what;
  EXPECT_EQ(got.client.size(), 1000U);
  // With a footer, the next segment counts.
  plan.footer = true;
  const std::vector<MemorySegment> ended = {
      {build_segment(plan, records), SegmentState::open, 0},
      segment(1, {open_record(2)}, false, SegmentState::open)};
  EXPECT_EQ(read_written(ended).records, records.size() + 4);
}

/// Returns the former contents, and from read number `reads` on the present ones.
class ChangingSource final : public Source {
 public:
  ChangingSource(std::span<const std::byte> before, std::span<const std::byte> now, int reads)
      : before_(before), now_(now), reads_left_(reads) {}
  Result<std::uint64_t> size_bytes() override { return now_.size_bytes(); }
  Result<std::span<const std::byte>> read(std::uint64_t offset, std::size_t bytes) override {
    return (reads_left_-- > 0 ? before_ : now_).read(offset, bytes);
  }

 private:
  MemorySource before_;
  MemorySource now_;
  int reads_left_;
};

TEST(Written, WhileItIsReadHasNothingWrongWithIt) {
  // Before: one frame is missing and not durable. Now: all frames are there, nearly all durable.
  const auto before = frames_but_one(5, 100);
  auto now = frames_but_one(60, 2);
  const auto whole = text_of(random_bytes(3 << 20, 1));
  std::set<std::size_t> sizes;
  for (const bool being_written : {true, false}) {
    for (int reads = 0; reads < 16; ++reads) {
      Chain chain = test::memory_chain({{now, SegmentState::open, 0}});
      chain.being_written = being_written;
      ChainReader::Options options;
      options.open = [&](SegmentFile&) -> Result<std::unique_ptr<Source>> {
        return std::unique_ptr<Source>(std::make_unique<ChangingSource>(before, now, reads));
      };
      const Read got = read(ChainReader(chain, options));
      // Without a sign of a writer, a hole that is found four times is believed.
      if (being_written || reads < 3) {
        EXPECT_TRUE(got.findings.empty()) << reads << ": " << got.findings.front().what;
      }
      EXPECT_FALSE(got.has(Severity::damage)) << reads;
      if (being_written) {
        EXPECT_TRUE(whole.starts_with(got.client)) << reads;
      }
      sizes.insert(got.client.size());
    }
  }
  EXPECT_GT(sizes.size(), 1U) << "the moment made no difference";
}

TEST(Written, FollowedIsReadOnOnceTheHoleIsFilled) {
  for (const bool is_damage : {false, true}) {
    std::vector<MemorySegment> segments = {
        {frames_but_one(5, is_damage ? 2 : 100, "none"), SegmentState::open, 0}};
    ChainReader::Options options = test::memory_options(segments);
    options.live = true;
    ChainReader reader(written_chain(segments), options);
    std::size_t records = 0, findings = 0;
    const auto turn = [&] {
      while (true) {
        const auto event = reader.next();
        ASSERT_TRUE(event);
        if (event->type == Event::Type::wait) return;
        records += event->type == Event::Type::record ? 1 : 0;
        findings += event->type == Event::Type::finding ? 1 : 0;
      }
    };
    turn();
    EXPECT_EQ(records, 7U);
    for (int i = 0; i < 100; ++i) turn();
    EXPECT_EQ(findings > 0, is_damage) << "not before long, for it may be late";
    if (is_damage) continue;
    const auto whole = frames_but_one(60, 100, "none");
    std::ranges::copy(whole, segments[0].bytes.begin());
    turn();
    EXPECT_GT(records, 40U);
    EXPECT_EQ(findings, 0U);
  }
}

// The look at what followed the hole found no footer, because it was not written yet.
TEST(Written, FollowedAndThenSealedIsJudgedAsIfItWereReadAnew) {
  SegmentPlan plan;
  plan.durability = "none";
  plan.frames_in_flight = 100;
  auto sealed = build_segment(plan, connection_records(1, random_bytes(40'000, 1), {}));
  std::fill_n(sealed.begin() + 8192, 4096, std::byte{0});
  std::vector<MemorySegment> segments = {{sealed, SegmentState::open, 0}};
  std::fill(segments[0].bytes.end() - 4096, segments[0].bytes.end(), std::byte{0});
  ChainReader::Options options = test::memory_options(segments);
  options.live = true;
  ChainReader reader(written_chain(segments), options);
  // Reads until that many events of the type have come. Returns the severities of all findings.
  const auto read_until = [&](Event::Type type, int count) {
    std::set<Severity> severities;
    while (count > 0) {
      const Event event = *reader.next();
      if (event.type == Event::Type::finding) severities.insert(event.finding.severity);
      if (event.type == type) --count;
    }
    return severities;
  };
  EXPECT_TRUE(read_until(Event::Type::wait, 40).empty());
  std::ranges::copy(sealed, segments[0].bytes.begin());
  segments[0].state = SegmentState::sealed;
  reader.update(test::memory_chain(segments));
  EXPECT_TRUE(read_until(Event::Type::segment_end, 1).contains(Severity::damage));
  EXPECT_TRUE(read(segments).has(Severity::damage)) << "read anew";
}

// --- Chains and streams ---

TEST(Chain, WithASegmentMissingInTheMiddleIsDamaged) {
  const auto bytes = random_bytes(9000, 1);
  const auto all = connection_records(1, bytes, {});
  const std::vector<CaptureRecord> head(all.begin(), all.begin() + 4);
  const std::vector<CaptureRecord> tail(all.begin() + 6, all.end());
  const Read got = read({segment(0, head), segment(2, tail)});
  EXPECT_TRUE(got.has(Severity::damage));
  EXPECT_TRUE(got.has(Severity::lost));
  EXPECT_FALSE(read({segment(5, head), segment(6, {})}).has(Severity::damage)) << "deleted head";
}

// Retention deletes the oldest first.
TEST(Chain, WhoseSegmentsAreDeletedWhileItIsReadBeginsAnew) {
  const auto bytes = random_bytes(9000, 1);
  const auto all = connection_records(1, bytes, {});
  OpenInfo info = test::open_info(1);
  info.so_far[0] = {7000, 7000, crc32c(std::span(bytes).first(7000)), SideEnd::none};
  std::vector<CaptureRecord> last(all.begin() + 8, all.end());
  last.insert(last.begin(), open_record(1, info, true));
  const std::vector<MemorySegment> segments = {
      segment(0, {all.begin(), all.begin() + 4}), segment(1, {all.begin() + 4, all.begin() + 6}),
      segment(2, {all.begin() + 6, all.begin() + 8}), segment(3, last)};
  for (const bool of_retention : {true, false}) {
    for (const bool listed : {true, false}) {
      std::set<std::uint64_t> gone;
      Chain chain = test::memory_chain(segments);
      if (!listed) chain.segments.erase(chain.segments.begin() + 1);
      ChainReader::Options options = test::memory_options(segments);
      options.open = [&, open = options.open](SegmentFile& file) {
        return gone.contains(file.name.number) ? std::unique_ptr<Source>() : open(file);
      };
      ChainReader reader(chain, options);
      EXPECT_EQ(reader.next()->type, Event::Type::segment);
      gone = of_retention ? std::set<std::uint64_t>{0, 1, 2} : std::set<std::uint64_t>{1, 2};
      const Read got = read(std::move(reader));
      EXPECT_EQ(got.has(Severity::damage), !of_retention);
      EXPECT_EQ(got.findings.empty(), of_retention);
      EXPECT_EQ(got.client, text_of(bytes).substr(0, 3000) + text_of(bytes).substr(7000));
    }
  }
}

TEST(Chain, WhoseHeadWasDeletedGoesOnFromTheContinuedOpen) {
  const auto bytes = random_bytes(7000, 1);
  OpenInfo info = test::open_info(1);
  const auto before = std::span(bytes).first(5000);
  info.so_far[0] = {5000, 5000, crc32c(before), SideEnd::none};
  const auto after = std::span(bytes).subspan(5000);
  const Read got = read(
      {segment(3, {open_record(1, info, true), data_record(1, Side::client, 5000, after),
                   close_record(1, {{test::totals_of(bytes), test::totals_of({})}, "closed"})})});
  EXPECT_TRUE(got.findings.empty());
  EXPECT_EQ(got.client, text_of(after));
}

TEST(Chain, InWhichBytesDifferFromTheirChecksumIsDamaged) {
  const auto records = connection_records(1, bytes_of("hello"), {});
  auto changed = records;
  changed[1].payload = bytes_of("jello");
  EXPECT_FALSE(read({segment(0, records)}).has(Severity::damage));
  EXPECT_TRUE(read({segment(0, changed)}).has(Severity::damage));
  auto shorter = records;
  shorter[1].payload = bytes_of("hell");
  EXPECT_FALSE(read({segment(0, shorter)}).findings.empty());
}

TEST(Chain, OfASuspectSegmentTakesWhatWasWrittenAgainOnce) {
  const auto bytes = random_bytes(30'000, 1);
  const auto all = connection_records(1, bytes, {});
  SegmentPlan plan;
  plan.frames_in_flight = 100;
  plan.footer = false;
  MemorySegment suspect{build_segment(plan, all), SegmentState::suspect, 0};
  // One frame failed. The frames behind it were written, and once more with it.
  std::fill(suspect.bytes.begin() + 12288, suspect.bytes.begin() + 16384, std::byte{0xee});
  const std::vector<CaptureRecord> again(all.begin() + 5, all.end());
  const Read got = read({suspect, segment(1, again)});
  EXPECT_TRUE(got.findings.empty()) << got.findings.front().what;
  EXPECT_EQ(got.client, text_of(bytes));
  EXPECT_TRUE(read({suspect}).has(Severity::torn)) << "and nothing was written again";
}

TEST(Chain, ThatRepeatsAConnectionThatHadEndedTakesItOnce) {
  const auto all = connection_records(1, bytes_of("hello"), bytes_of("world"));
  const Read got = read({segment(0, all, false, SegmentState::suspect), segment(1, all)});
  EXPECT_TRUE(got.findings.empty());
  EXPECT_EQ(got.client, "hello");
}

TEST(Chain, OfAnUnfinishedSegmentCountsOnlyConnectionsThatHaveNotEnded) {
  std::vector<CaptureRecord> records;
  // One that lives all the time, among the others.
  for (const std::uint64_t number : {50U, 1U, 3U, 2U, 99U, 98U, 100U, 49U, 51U}) {
    const auto all = connection_records(number, bytes_of("x"), {});
    records.insert(records.end(), all.begin(), number == 50 ? all.begin() + 1 : all.end());
  }
  const auto again = connection_records(98, bytes_of("x"), {});
  records.insert(records.end(), again.begin(), again.end());
  const std::vector<MemorySegment> segments = {segment(0, records, false, SegmentState::open)};
  ChainReader::Options options = test::memory_options(segments);
  options.most_connections = 5;
  const Read got = read(ChainReader(test::memory_chain(segments), options));
  EXPECT_EQ(got.error, "");
  EXPECT_EQ(got.client, std::string(8, 'x')) << "what was written again counts once";
  EXPECT_TRUE(got.findings.empty());
  options.most_connections = 1;
  EXPECT_NE(read(ChainReader(test::memory_chain(segments), options)).error, "");
}

TEST(Chain, WithoutAnOpenBeginsAtTheFirstRecord) {
  const Read got = read({segment(0, {data_record(1, Side::client, 700, "x")})});
  EXPECT_TRUE(got.findings.empty());
  EXPECT_EQ(got.client, "x");
}

TEST(Chain, WithOverlappingDataTakesWhatIsNew) {
  const Read got = read({segment(
      0, {open_record(1), data_record(1, Side::client, 0, "abcd"),
          data_record(1, Side::client, 2, "cdef"), data_record(1, Side::client, 1, "bc")})});
  EXPECT_TRUE(got.findings.empty());
  EXPECT_EQ(got.client, "abcdef");
}

TEST(Chain, WhoseEndsSayMoreThanWasReadHasLostBytes) {
  const Read got = read({segment(0, {open_record(1), data_record(1, Side::client, 0, "abcd"),
                                     end_record(Kind::eof, 1, Side::client, 10)})});
  ASSERT_EQ(got.findings.size(), 1U);
  EXPECT_EQ(got.findings[0].severity, Severity::lost);
  EXPECT_EQ(got.findings[0].stream_offset, 4U);
  EXPECT_EQ(got.findings[0].bytes, 6U);
}

// --- Listing ---

TEST(Listing, GroupsByRunAndWorkerInTheOrderOfNumbers) {
  const test::TempDir folder;
  SegmentPlan plan;
  for (const std::uint64_t number : {10U, 2U}) {
    for (const std::uint32_t worker : {1U, 0U}) {
      plan.number = number;
      plan.worker = worker;
      write_segment(folder.path(), plan, {});
    }
  }
  folder.write("lock", "");
  folder.write("notes.txt", "");
  const auto chains = list_capture({folder.path()});
  ASSERT_TRUE(chains);
  ASSERT_EQ(chains->size(), 2U);
  EXPECT_EQ((*chains)[0].worker, 0U);
  EXPECT_EQ((*chains)[1].segments[0].name.number, 2U);
  EXPECT_EQ((*chains)[1].segments[1].name.number, 10U);
}

TEST(Listing, TakesAFileOnceWhateverPathsLeadToIt) {
  const test::TempDir folder;
  const test::TempDir other;
  const std::string file = write_segment(folder.path(), {}, {});
  write_segment(other.path(), {}, {});
  const auto listed = [](const std::vector<std::string>& paths) {
    const auto chains = list_capture(paths);
    return chains && !chains->empty() ? (*chains)[0].segments.size() : 0;
  };
  const std::string& path = folder.path();
  EXPECT_EQ(listed({path, path + '/'}), 1U);
  EXPECT_EQ(listed({path, path + "/.", file}), 1U);
  EXPECT_EQ(listed({path, other.path(), path + "/."}), 2U) << "two files of one name";
}

TEST(Listing, TakesAFileThatWasRenamedSinceItWasNamed) {
  const test::TempDir folder;
  write_segment(folder.path(), {}, {});
  const auto chains = list_capture({folder.file("run1-w000-0000000000.open")});
  ASSERT_TRUE(chains);
  EXPECT_EQ((*chains)[0].segments[0].name.state, SegmentState::sealed);
  EXPECT_FALSE(list_capture({folder.file("run1-w000-0000000001.open")}));
}

TEST(Listing, OpensASegmentUnderTheNameThatItGotMeanwhile) {
  const test::TempDir folder;
  write_segment(folder.path(), {}, {});
  SegmentFile file{folder.file("run1-w000-0000000000.open"), {"run1", 0, 0, SegmentState::open}, 0};
  const auto source = open_segment(file);
  ASSERT_TRUE(source);
  EXPECT_NE(*source, nullptr);
  EXPECT_EQ(file.name.state, SegmentState::sealed);
  SegmentFile gone{folder.file("run1-w000-0000000007.open"), {"run1", 0, 7, SegmentState::open}, 0};
  const auto none = open_segment(gone);
  ASSERT_TRUE(none);
  EXPECT_EQ(*none, nullptr);
}

}  // namespace
}  // namespace sluice::capture
