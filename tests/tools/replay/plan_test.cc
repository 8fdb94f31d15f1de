#include "tools/replay/plan.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/support/capture_builder.h"
#include "tests/support/temp_dir.h"
#include "tools/replay/answer_check.h"
#include "tools/replay/segment_files.h"
#include "tools/replay/tally.h"

namespace sluice::replay {
namespace {

using capture::GapReason;
using capture::Kind;
using capture::Side;
using test::bytes_of;
using test::CaptureRecord;
using test::data_record;
using test::end_record;
using test::open_record;
using test::write_segment;
using Kinds = std::vector<Action::Kind>;

constexpr std::uint64_t kMonotonic = 5'000'000'000'000;
constexpr std::uint64_t kWall = 1'790'000'000'000'000'000;

/// The record, moved to `ms` after the recording's begin.
CaptureRecord at(std::uint64_t ms, CaptureRecord record) {
  record.header.monotonic_ns = kMonotonic + ms * 1'000'000;
  record.header.wall_ns = kWall + ms * 1'000'000;
  return record;
}
CaptureRecord opened(std::uint64_t ms, std::uint64_t connection, bool continued = false,
                     std::uint64_t so_far = 0) {
  capture::OpenInfo info = test::open_info(connection);
  info.began_monotonic_ns = kMonotonic + ms * 1'000'000;
  info.began_wall_ns = kWall + ms * 1'000'000;
  info.so_far[0].offset = so_far;
  return at(ms, open_record(connection, info, continued));
}
CaptureRecord closed(std::uint64_t ms, std::uint64_t connection) {
  return at(ms, test::close_record(connection, {}));
}

class PlanTest : public testing::Test {
 protected:
  void make(const std::vector<CaptureRecord>& records, const capture::Filter& filter = {}) {
    write_segment(folder_.path(), {}, records);
    make(filter);
  }
  void make(const capture::Filter& filter = {}) {
    const Result<> made = make_plan({folder_.path()}, filter, {true, longest_gap_ns_}, plan_);
    ASSERT_TRUE(made) << made.error().to_string();
  }
  [[nodiscard]] std::vector<Action> actions(std::uint64_t connection) const {
    std::vector<Action> all;
    for (std::uint64_t i = plan_.connections[connection].first_action; i != kNone;
         i = plan_.actions[i].next) {
      all.push_back(plan_.actions[i]);
    }
    return all;
  }
  [[nodiscard]] Kinds kinds(std::uint64_t connection) const {
    Kinds all;
    for (const Action& action : actions(connection)) all.push_back(action.kind);
    return all;
  }
  [[nodiscard]] std::string bytes(const Action& action) {
    std::string text(action.bytes, '\0');
    const auto into = std::as_writable_bytes(std::span(text));
    EXPECT_TRUE(SegmentFiles(plan_.segments).read(action.segment, action.position, into));
    return text;
  }

  test::TempDir folder_;
  std::uint64_t longest_gap_ns_ = kNone;
  Plan plan_;
};

TEST_F(PlanTest, KnowsWhenAndWhereEachRecordIsAndWhatHadBeenAnswered) {
  make({opened(0, 1), at(10, data_record(1, Side::client, 0, "hello")),
        at(25, data_record(1, Side::upstream, 0, "answer")),
        at(30, data_record(1, Side::client, 5, "again")),
        at(40, end_record(Kind::eof, 1, Side::client, 10)),
        at(50, end_record(Kind::eof, 1, Side::upstream, 6)), closed(60, 1)});
  ASSERT_EQ(plan_.connections.size(), 1U);
  const PlannedConnection& planned = plan_.connections[0];
  EXPECT_EQ(plan_.name_of(planned), "c1");
  EXPECT_EQ(planned.start_ns, kWall);
  EXPECT_EQ(planned.client_end_ns - planned.start_ns, 40'000'000U);
  EXPECT_EQ(planned.end_ns - planned.start_ns, 60'000'000U);
  EXPECT_EQ(planned.answer_bytes, 6U);
  EXPECT_EQ(planned.answer_end, capture::SideEnd::eof);
  const std::vector<Action> all = actions(0);
  ASSERT_EQ(kinds(0), (Kinds{Action::Kind::send, Action::Kind::send, Action::Kind::eof,
                             Action::Kind::close}));
  EXPECT_EQ(bytes(all[0]), "hello");
  EXPECT_TRUE(all[0].ends_turn);
  EXPECT_EQ(all[0].then_ns, 15'000'000U);
  EXPECT_EQ(all[0].answers_before, 0U);
  EXPECT_EQ(bytes(all[1]), "again");
  EXPECT_EQ(all[1].at_ns - plan_.first_ns, 30'000'000U);
  EXPECT_EQ(all[1].answers_before, 6U);
  EXPECT_EQ(all[0].answer_ms, 0U);
  EXPECT_EQ(all[1].answer_ms, 15U);
  EXPECT_EQ(all[2].answer_ms, 0U);
  EXPECT_EQ(all[3].answer_ms, 10U) << "the answer's end, after the client's";
  EXPECT_FALSE(all[1].ends_turn);
}

// Neither the time until an answer begins nor that until the next request is inside an answer.
TEST_F(PlanTest, KnowsTheLongestPauseInsideAnAnswer) {
  make({opened(0, 1), at(10, data_record(1, Side::client, 0, "a")),
        at(90, data_record(1, Side::upstream, 0, "1")),
        at(97, data_record(1, Side::upstream, 1, "2")),
        at(100, data_record(1, Side::upstream, 2, "3")),
        at(300, data_record(1, Side::client, 1, "b")),
        at(500, data_record(1, Side::upstream, 3, "4")), closed(900, 1)});
  EXPECT_EQ(plan_.connections[0].pause_ms, 7U);
}

TEST_F(PlanTest, EndsAConnectionAtAGapOfItsClient) {
  make({opened(0, 1), at(1, data_record(1, Side::client, 0, "hello")),
        at(2, test::gap_record(1, Side::client, 5, 50, GapReason::buffers_full)),
        at(3, data_record(1, Side::client, 55, "world")), closed(4, 1)});
  EXPECT_EQ(kinds(0), (Kinds{Action::Kind::send, Action::Kind::gap}));
  EXPECT_EQ(plan_.client_bytes, 5U);
}

TEST_F(PlanTest, EndsAConnectionWhereBytesAreMissingWithoutARecord) {
  make({opened(0, 1), at(1, data_record(1, Side::client, 0, "hello")),
        at(3, data_record(1, Side::client, 55, "world")), closed(4, 1)});
  EXPECT_EQ(kinds(0), (Kinds{Action::Kind::send, Action::Kind::gap}));
}

TEST_F(PlanTest, LeavesOutWhatDoesNotBeginInTheCapture) {
  make({opened(0, 1, true, 100), at(1, data_record(1, Side::client, 100, "x")), closed(2, 1),
        at(3, data_record(2, Side::client, 7, "without its beginning")), opened(4, 3), closed(5, 3),
        at(6, data_record(4, Side::upstream, 0, "welcome")),
        at(7, data_record(4, Side::client, 9, "behind what was damaged")), closed(8, 4),
        closed(9, 5)});
  EXPECT_EQ(plan_.without_beginning, 4U);
  ASSERT_EQ(plan_.connections.size(), 1U);
  EXPECT_EQ(plan_.name_of(plan_.connections[0]), "c3");
}

TEST_F(PlanTest, KnowsWhetherTheAnswerWasOverBeforeTheClientsReset) {
  make({opened(0, 1), at(1, end_record(Kind::eof, 1, Side::upstream, 0)),
        at(2, end_record(Kind::reset, 1, Side::client, 0)), closed(3, 1), opened(4, 2),
        at(5, end_record(Kind::reset, 2, Side::client, 0)), closed(6, 2)});
  ASSERT_EQ(kinds(0), (Kinds{Action::Kind::reset}));
  EXPECT_TRUE(actions(0)[0].answer_over);
  EXPECT_FALSE(actions(1)[0].answer_over);
}

// The time when it came is unknown.
TEST_F(PlanTest, AnAnswerThatWasNotRecordedMayHaveTakenUntilTheNextAction) {
  capture::OpenInfo info = test::open_info(1);
  info.began_monotonic_ns = kMonotonic;
  info.sides = 1;
  make({at(0, open_record(1, info)), at(1, data_record(1, Side::client, 0, "ask")),
        at(2, end_record(Kind::eof, 1, Side::client, 3)), closed(4000, 1)});
  EXPECT_EQ(actions(0).back().answer_ms, 3998U);
}

TEST_F(PlanTest, CutsWhatTheRecordingDoesNotEnd) {
  make({opened(0, 1), at(1, data_record(1, Side::client, 0, "hello"))});
  EXPECT_EQ(kinds(0), (Kinds{Action::Kind::send, Action::Kind::cut}));
  EXPECT_EQ(actions(0)[1].at_ns, kWall + 1'000'000);
}

TEST_F(PlanTest, OrdersTheConnectionsOfAllWorkersByTheirBeginnings) {
  test::SegmentPlan second;
  second.worker = 1;
  second.id = 2;
  write_segment(folder_.path(), {}, {opened(0, 1), opened(20, 2), closed(30, 1), closed(31, 2)});
  write_segment(folder_.path(), second, {opened(10, 3), closed(40, 3)});
  make();
  ASSERT_EQ(plan_.connections.size(), 3U);
  std::string order;
  for (const PlannedConnection& each : plan_.connections) order += plan_.name_of(each);
  EXPECT_EQ(order, "c1c3c2");
  EXPECT_EQ(plan_.connections[1].start_ns - plan_.first_ns, 10'000'000U);
}

// After another boot the monotonic clock began anew, so the wall clock gives the order.
TEST_F(PlanTest, PutsRunsBehindEachOtherByTheWallClock) {
  write_segment(folder_.path(), {}, {opened(0, 1), closed(30, 1)});
  test::SegmentPlan later;
  later.run = "run2";
  later.id = 2;
  capture::OpenInfo info = test::open_info(2);
  info.began_monotonic_ns = 100;
  info.began_wall_ns = kWall + 5'000'000'000;
  CaptureRecord open = open_record(2, info);
  open.header.monotonic_ns = 100;
  open.header.wall_ns = kWall + 5'000'000'000;
  CaptureRecord close = test::close_record(2, {});
  // The wall clock was set back meanwhile, which changes nothing.
  close.header.monotonic_ns = 1'000'000'100;
  close.header.wall_ns = kWall - 7'000'000'000;
  write_segment(folder_.path(), later, {open, close});
  make();
  ASSERT_EQ(plan_.connections.size(), 2U);
  EXPECT_EQ(plan_.connections[1].start_ns - plan_.first_ns, 5'000'000'000U);
  EXPECT_EQ(plan_.connections[1].end_ns - plan_.first_ns, 6'000'000'000U);
}

// In one run, 2 s pass twice without anything. Another run comes 5 s later.
TEST_F(PlanTest, KnowsTheGapsOfAllConnectionsTogether) {
  write_segment(folder_.path(), {},
                {opened(0, 1), opened(500, 2), closed(600, 2),
                 at(2600, data_record(1, Side::upstream, 0, "late")), closed(4600, 1)});
  test::SegmentPlan later;
  later.run = "run2";
  later.id = 2;
  write_segment(folder_.path(), later, {opened(9600, 3), closed(9700, 3)});
  longest_gap_ns_ = 1'900'000'000;
  make();
  EXPECT_EQ(plan_.gaps.between_runs().count, 1U);
  EXPECT_EQ(plan_.gaps.between_runs().ns, 5'000'000'000U);
  EXPECT_EQ(plan_.gaps.shortened().count, 2U);
  EXPECT_EQ(plan_.gaps.shortened().ns, 200'000'000U);
}

TEST_F(PlanTest, TakesConnectionsThatPassTheFilter) {
  capture::Filter filter;
  filter.until_ns = kWall + 15'000'000;
  make({opened(10, 1), opened(20, 2), closed(30, 1), closed(31, 2)}, filter);
  ASSERT_EQ(plan_.connections.size(), 1U);
  EXPECT_EQ(plan_.name_of(plan_.connections[0]), "c1");
}

// --- Answers compared

class AnswerCheckTest : public PlanTest {
 protected:
  /// The recorded answer is "abcdef", a gap of 4, "klmnop".
  void SetUp() override {
    make({opened(0, 1), at(1, data_record(1, Side::upstream, 0, "abc")),
          at(2, data_record(1, Side::upstream, 3, "def")),
          at(3, test::gap_record(1, Side::upstream, 6, 4, GapReason::limit)),
          at(4, data_record(1, Side::upstream, 10, "klmnop")), closed(5, 1)});
  }
  Mismatch compare(const std::string& text, std::size_t piece,
                   const std::vector<Ignored>& ignored = {}) {
    SegmentFiles files(plan_.segments);
    AnswerCheck check(plan_, files, ignored, plan_.connections[0].first_answer);
    for (std::size_t from = 0; from < text.size(); from += piece) {
      EXPECT_TRUE(check.take(bytes_of(text.substr(from, piece))));
    }
    return check.mismatch();
  }
};

TEST_F(AnswerCheckTest, FindsNothingInWhatIsTheSameOrWasNotRecorded) {
  for (const std::size_t piece : {1U, 2U, 5U, 100U}) {
    EXPECT_EQ(compare("abcdef????klmnop", piece).first, std::nullopt);
    EXPECT_EQ(compare("abcdef!!!!klmnop and more", piece).first, std::nullopt);
    EXPECT_EQ(compare("abc", piece).first, std::nullopt);
  }
}

TEST_F(AnswerCheckTest, FindsTheFirstAndTheLastByteThatDiffer) {
  for (const std::size_t piece : {1U, 3U, 100U}) {
    const Mismatch mismatch = compare("abXdef????klmYop", piece);
    EXPECT_EQ(mismatch.first, 2U);
    EXPECT_EQ(mismatch.last, 13U);
    EXPECT_EQ(mismatch.bytes, 2U);
    EXPECT_EQ(mismatch.then, "cdefklmnop");
    EXPECT_EQ(mismatch.now, "XdefklmYop");
  }
}

TEST_F(AnswerCheckTest, LeavesOutWhatIsToBeIgnored) {
  for (const std::size_t piece : {1U, 3U, 100U}) {
    EXPECT_EQ(compare("abXdef????klmYop", piece, {{2, 1}}).first, 13U);
    EXPECT_EQ(compare("abXdef????klmYop", piece, {{2, 1}, {13, 9}}).first, std::nullopt);
    EXPECT_EQ(compare("abXdef????klmnop", piece, {{3, 1}}).first, 2U);
  }
}

TEST(TallyTest, RemembersSoManyAnswersAndCountsTheOthers) {
  Tally tally;
  Compared answer;
  for (std::uint64_t i = 0; i < Tally::kMostAnswers + 10; ++i) {
    answer.connection = i;
    answer.differs = i % 2 == 1;
    tally.compare(answer);
  }
  EXPECT_EQ(tally.answers.size(), Tally::kMostAnswers);
  EXPECT_EQ(tally.answers.back().connection, Tally::kMostAnswers - 1);
  EXPECT_EQ(tally.compared, Tally::kMostAnswers + 10);
  EXPECT_EQ(tally.different, Tally::kMostAnswers / 2 + 5);
}

}  // namespace
}  // namespace sluice::replay
