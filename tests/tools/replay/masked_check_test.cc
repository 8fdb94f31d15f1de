#include "tools/replay/masked_check.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/capture_builder.h"
#include "tests/support/temp_dir.h"

namespace sluice::replay {
namespace {

using capture::Kind;
using capture::Side;
using test::CaptureRecord;
using test::data_record;

/// What a check finds.
struct Found {
  std::optional<std::uint64_t> first;
  std::uint64_t bytes = 0;
  int size = 0;  ///< negative: shorter
  std::string then;
  std::string now;
};

enum class Whole : std::uint8_t { no, yes };

class MaskedCheckTest : public testing::Test {
 protected:
  /// The recorded answer, in records of `piece` bytes. Unless it is whole, its client cut it off.
  void record(const std::string& answer, Whole whole = Whole::yes, std::size_t piece = 5) {
    std::vector<CaptureRecord> records{test::open_record(1)};
    for (std::size_t at = 0; at < answer.size(); at += piece) {
      records.push_back(data_record(1, Side::upstream, at, answer.substr(at, piece)));
    }
    if (whole == Whole::yes) {
      records.push_back(test::end_record(Kind::eof, 1, Side::upstream, answer.size()));
    }
    records.push_back(test::close_record(1, {}));
    make(records);
  }
  void make(const std::vector<CaptureRecord>& records) {
    test::SegmentPlan plan;
    plan.frame_bytes = 1 << 20;
    test::write_segment(folder_.path(), plan, records);
    ASSERT_TRUE(make_plan({folder_.path()}, {}, {true, kNone}, plan_));
  }
  Found compare(const std::string& answer, const std::string& expression, Whole whole = Whole::yes,
                const std::vector<Ignored>& ignored = {}, std::size_t piece = 3) {
    SegmentFiles files(plan_.segments);
    const Patterns patterns = *Patterns::compile({expression});
    MaskedCheck check(plan_, files, ignored, patterns, plan_.connections[0]);
    for (std::size_t at = 0; at < answer.size(); at += piece) {
      EXPECT_TRUE(check.take(test::bytes_of(answer.substr(at, piece))));
    }
    EXPECT_TRUE(check.finish(whole == Whole::yes));
    const Mismatch& mismatch = check.mismatch();
    const int size = check.size() < 0 ? -1 : check.size() > 0 ? 1 : 0;
    return {mismatch.first, mismatch.bytes, size, mismatch.then, mismatch.now};
  }

  test::TempDir folder_;
  Plan plan_;
};

TEST_F(MaskedCheckTest, MatchesMayDifferAlsoInLength) {
  record("a: 1\nDate: Monday\nb: 2\n");
  for (const char* date : {"Monday", "Wednesday", "now", "1"}) {
    const Found found = compare("a: 1\nDate: " + std::string(date) + "\nb: 2\n", "Date: .*");
    EXPECT_EQ(found.first, std::nullopt) << date;
    EXPECT_EQ(found.size, 0) << date;
  }
}

TEST_F(MaskedCheckTest, OtherBytesMayNotDiffer) {
  record("a: 1\nDate: Monday\nb: 2\n");
  const Found found = compare("a: 1\nDate: now\nb: 3\n", "Date: .*");
  EXPECT_EQ(found.first, 21U) << "in the recorded answer";
  EXPECT_EQ(found.bytes, 1U);
  EXPECT_EQ(found.then, "2\n");
  EXPECT_EQ(found.now, "3\n");
}

TEST_F(MaskedCheckTest, AMatchMayNotBeMissing) {
  record("a*b");
  EXPECT_EQ(compare("a17b", "[0-9]+").first, 1U) << "a star is not a mask";
  EXPECT_EQ(compare("a*b", "[0-9]+").first, std::nullopt);
}

TEST_F(MaskedCheckTest, LengthsAreThoseWithoutMatches) {
  record("n=1234;end");
  EXPECT_EQ(compare("n=1;end", "[0-9]+").size, 0);
  EXPECT_EQ(compare("n=1;en", "[0-9]+").size, -1);
  EXPECT_EQ(compare("n=1;end!", "[0-9]+").size, 1);
  EXPECT_EQ(compare("", "[0-9]+").size, -1);
}

// The client ended the connection inside the match, then or now.
TEST_F(MaskedCheckTest, AMatchThatWasCutOffIsNoDifference) {
  record("time 12:34 ok", Whole::no);
  EXPECT_EQ(compare("time 1", "[0-9]+:[0-9]+", Whole::no).first, std::nullopt);
  EXPECT_EQ(compare("time 56:7", "[0-9]+:[0-9]+", Whole::no).first, std::nullopt);
  EXPECT_EQ(compare("time 56:78 ok and more", "[0-9]+:[0-9]+", Whole::no).first, std::nullopt);
  EXPECT_EQ(compare("time none, so what", "[0-9]+:[0-9]+", Whole::no).first, 5U);
}

TEST_F(MaskedCheckTest, ARecordedMatchThatWasCutOffIsNoDifference) {
  record("time 1", Whole::no);
  EXPECT_EQ(compare("time 56:78 ok and more", "[0-9]+:[0-9]+", Whole::no).first, std::nullopt);
}

TEST_F(MaskedCheckTest, NothingBehindAGapIsCompared) {
  make({test::open_record(1), data_record(1, Side::upstream, 0, "a=1;"),
        test::gap_record(1, Side::upstream, 4, 10, capture::GapReason::limit),
        data_record(1, Side::upstream, 14, "same"),
        test::end_record(Kind::eof, 1, Side::upstream, 18), test::close_record(1, {})});
  const Found found = compare("a=23;0123456789other", "[0-9]+");
  EXPECT_EQ(found.first, std::nullopt);
  EXPECT_EQ(found.size, 0);
  EXPECT_EQ(compare("b=23;0123456789other", "[0-9]+").first, 0U);
}

TEST_F(MaskedCheckTest, IgnoredBytesAreBlankBeforeItLooksForMatches) {
  record("key=abcd n=1");
  EXPECT_EQ(compare("key=wxyz n=22", "[0-9]+", Whole::yes, {{4, 4}}).first, std::nullopt);
  EXPECT_EQ(compare("key=wxyz n=22", "[0-9]+", Whole::yes, {{4, 3}}).first, 7U);
}

// Over many windows, while the masked bytes drift apart.
TEST_F(MaskedCheckTest, LongAnswersAreComparedToTheirEnd) {
  std::string then;
  std::string now;
  for (int line = 0; then.size() < 5 * MaskedStream::kWindowBytes; ++line) {
    then += "line at " + std::to_string(line) + "\n";
    now += "line at " + std::to_string(1'000'000 + line * line) + "\n";
  }
  record(then + "end", Whole::yes, 40'000);
  EXPECT_EQ(compare(now + "end", "[0-9]+", Whole::yes, {}, 50'000).first, std::nullopt);
  EXPECT_EQ(compare(now + "enD", "[0-9]+", Whole::yes, {}, 50'000).first, then.size() + 2);
  EXPECT_EQ(compare(now + "end", "[0-9]+", Whole::yes, {}, 50'000).size, 0);
}

}  // namespace
}  // namespace sluice::replay
