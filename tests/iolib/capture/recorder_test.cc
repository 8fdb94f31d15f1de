#include "iolib/capture/recorder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>
#include <vector>

#include "tests/support/capture_rig.h"

namespace sluice {
namespace {

using capture::Durability;
using capture::GapReason;
using capture::Recorder;
using capture::RecorderOptions;
using capture::Recording;
using capture::Side;
using capture::WhenFull;
using std::chrono::milliseconds;
using test::CaptureRig;
using test::DiskCall;
using test::Fault;
using test::ReadCapture;
using test::ReadSide;

RecorderOptions options_of(Durability durability, WhenFull when_full = WhenFull::block) {
  RecorderOptions options = CaptureRig::small_options(durability);
  options.when_full = when_full;
  return options;
}

TEST(Recorder, WritesBothSidesAndWhatAClosedConnectionWas) {
  CaptureRig rig(options_of(Durability::batch));
  Recording& recording = rig.open(1);
  rig.append(recording, "to upstream");
  rig.append(recording, "to client", Side::upstream);
  recording.tap(Side::client).eof(11);
  recording.tap(Side::upstream).reset(9);
  rig.close(recording, "upstream_reset");
  ASSERT_TRUE(rig.close());
  const ReadCapture read = rig.read();
  EXPECT_TRUE(read.clean());
  EXPECT_EQ(read.client(1).bytes, "to upstream");
  EXPECT_EQ(read.client(1).ended, capture::SideEnd::eof);
  EXPECT_EQ(read.connections.at(1).sides[1].bytes, "to client");
  EXPECT_EQ(read.connections.at(1).close->reason, "upstream_reset");
  EXPECT_EQ(read.connections.at(1).close->sides[0].recorded, 11U);
}

TEST(Recorder, KeepsAPartialBlockForTheFlushIntervalAndNoLonger) {
  CaptureRig rig(options_of(Durability::batch));
  rig.settle();
  rig.append(rig.open(1), "bytes");
  rig.settle();
  EXPECT_LT(rig.recorder->durable_sequence(), rig.recorder->last_sequence());
  rig.pass(milliseconds(15));
  EXPECT_EQ(rig.recorder->durable_sequence(), rig.recorder->last_sequence());
}

// If each message had its own block, they would soon use up all blocks.
TEST(Recorder, GathersSmallMessagesWhileTheDiskIsBehind) {
  CaptureRig rig(options_of(Durability::batch, WhenFull::drop));
  rig.settle();
  Recording& recording = rig.open(1);
  rig.disk.set_stalled(true);
  std::string sent;
  for (int i = 0; i < 300; ++i) {
    const std::string message = std::to_string(i) + ",";
    rig.append(recording, message);
    sent += message;
    rig.pass(milliseconds(12));
  }
  EXPECT_EQ(rig.dropped(GapReason::buffers_full), 0U);
  rig.disk.set_stalled(false);
  ASSERT_TRUE(rig.close());
  EXPECT_EQ(rig.read().client(1).bytes, sent);
}

// Tables do not count against the budget, and grow with the number of connections.
TEST(Recorder, HasOneUnwrittenTableAtATime) {
  capture::RecorderOptions options = options_of(Durability::batch, WhenFull::drop);
  options.buffer_bytes = 1 << 20;
  options.segments.kept_bytes = 1 << 20;
  options.segments.segment_bytes = 256 << 10;
  CaptureRig rig(options);
  rig.settle();
  Recording& recording = rig.open(1);
  rig.disk.set_stalled(true);
  const std::string part(10'000, 'x');
  for (int i = 0; i < 200; ++i) rig.append(recording, part);
  const std::uint64_t recorded = rig.recorder->counters().recorded_bytes;
  EXPECT_GT(recorded, 200U << 10);
  EXPECT_LT(recorded, 512U << 10);
  rig.disk.set_stalled(false);
  ASSERT_TRUE(rig.run_until_durable());
  rig.append(recording, "after");
  ASSERT_TRUE(rig.close());
  EXPECT_TRUE(rig.read().clean());
  EXPECT_EQ(rig.read().client(1).bytes, std::string(recorded, 'x') + "after");
}

TEST(Recorder, OpensTheWatermarkOnlyWhenBytesAreDurable) {
  CaptureRig rig(options_of(Durability::before_forward));
  rig.settle();
  Recording& recording = rig.open(1);
  int wakes = 0;
  recording.tap(Side::client).set_wake([&wakes] { ++wakes; });
  rig.disk.set_stalled(true);
  rig.append(recording, "gated");
  rig.settle();
  EXPECT_EQ(recording.tap(Side::client).watermark(), 0U);
  EXPECT_EQ(wakes, 0);
  rig.disk.set_stalled(false);
  ASSERT_TRUE(rig.run_until([&wakes] { return wakes > 0; }));
  EXPECT_EQ(recording.tap(Side::client).watermark(), 5U);
}

// It reports each second, after the first second without progress.
TEST(Recorder, TellsWhileTheDiskHoldsSomebodyUp) {
  using Event = capture::Recorder::Event;
  for (const Durability durability : {Durability::before_forward, Durability::batch}) {
    CaptureRig rig(options_of(durability));
    rig.settle();
    Recording& recording = rig.open(1);
    rig.disk.set_stalled(true);
    if (durability == Durability::before_forward) rig.append(recording, "gated");
    while (const std::size_t room = recording.tap(Side::client).allowance()) {
      if (durability == Durability::before_forward) break;
      rig.append(recording, std::string(std::min<std::size_t>(room, 3'000), 'x'));
    }
    rig.pass(milliseconds(999));
    EXPECT_EQ(rig.events, std::vector<Event>());
    rig.pass(milliseconds(3'000));
    EXPECT_GE(std::ranges::count(rig.events, Event::behind), 2);
    rig.disk.set_stalled(false);
    rig.pass(milliseconds(1'001));
    EXPECT_EQ(std::ranges::count(rig.events, Event::caught_up), 1);
    EXPECT_EQ(rig.events.back(), Event::caught_up);
  }
}

TEST(Recorder, DoesNotCatchUpForWantOfASegment) {
  using Event = capture::Recorder::Event;
  CaptureRig rig(options_of(Durability::batch));
  rig.settle();
  Recording& recording = rig.open(1);
  rig.disk.set_stalled(true);
  while (const std::size_t room = recording.tap(Side::client).allowance()) {
    rig.append(recording, std::string(std::min<std::size_t>(room, 3'000), 'x'));
  }
  rig.pass(milliseconds(2'001));
  EXPECT_EQ(std::ranges::count(rig.events, Event::behind), 1);
  rig.disk.set_on_call([](test::DiskCall, std::uint64_t) {
    return test::Fault{test::Fault::Kind::fails, EIO};
  });
  rig.disk.set_stalled(false);
  rig.pass(milliseconds(3'000));
  EXPECT_NE(std::ranges::count(rig.events, Event::segment_refused), 0);
  EXPECT_EQ(std::ranges::count(rig.events, Event::caught_up), 0);
  rig.disk.set_on_call(nullptr);
  rig.pass(milliseconds(5'000));
  EXPECT_EQ(std::ranges::count(rig.events, Event::caught_up), 1);
}

TEST(Recorder, TellsWhileBytesAreDroppedForWantOfRoom) {
  using Event = capture::Recorder::Event;
  CaptureRig rig(options_of(Durability::batch, WhenFull::drop));
  rig.settle();
  Recording& recording = rig.open(1);
  rig.disk.set_stalled(true);
  while (rig.dropped(GapReason::buffers_full) == 0) {
    rig.append(recording, std::string(3'000, 'x'));
  }
  rig.pass(milliseconds(1'001));
  EXPECT_EQ(rig.events, std::vector{Event::behind});
  rig.disk.set_stalled(false);
  rig.pass(milliseconds(1'001));
  EXPECT_EQ(rig.events, (std::vector{Event::behind, Event::caught_up}));
}

TEST(Recorder, SharesOneCommitAmongAllThatCameMeanwhile) {
  CaptureRig rig(options_of(Durability::before_forward));
  rig.settle();
  const std::uint64_t before = rig.recorder->last_sequence();
  for (std::uint64_t id = 1; id <= 20; ++id) rig.append(rig.open(id), "message");
  ASSERT_TRUE(rig.run_until_durable());
  EXPECT_EQ(rig.recorder->last_sequence(), before + 1);
}

TEST(Recorder, SyncsAtIntervalsAndBeforeHalfTheBuffersAreUnconfirmed) {
  RecorderOptions options = options_of(Durability::interval);
  options.segments.sync_interval = std::chrono::hours(1);
  options.segments.kept_bytes = options.buffer_bytes;
  CaptureRig rig(options);
  rig.settle();
  Recording& recording = rig.open(1);
  rig.append(recording, "first");
  rig.pass(milliseconds(50));
  EXPECT_EQ(rig.recorder->durable_sequence(), 0U);
  for (int i = 0; i < 6; ++i) {
    rig.append(recording, std::string(7'000, 'x'));
    rig.pass(milliseconds(20));
  }
  EXPECT_GT(rig.recorder->durable_sequence(), 0U);
}

TEST(Recorder, WritesOneCheckpointInARestAndThenNoMore) {
  CaptureRig rig(options_of(Durability::batch));
  rig.append(rig.open(1), "bytes");
  rig.pass(std::chrono::seconds(8));
  EXPECT_EQ(rig.read().checkpoints, 1);
}

TEST(Recorder, BlocksWhenItsBuffersAreFullAndLosesNothing) {
  CaptureRig rig(options_of(Durability::batch));
  rig.settle();
  Recording& recording = rig.open(1);
  bool woken = false;
  recording.tap(Side::client).set_wake([&woken] { woken = true; });
  rig.disk.set_stalled(true);
  std::string sent;
  while (const std::size_t room = recording.tap(Side::client).allowance()) {
    sent +=
        std::string(std::min<std::size_t>(room, 3'000), static_cast<char>('a' + sent.size() % 26));
    rig.append(recording,
               std::string_view(sent).substr(sent.size() - std::min<std::size_t>(room, 3'000)));
    ASSERT_LT(sent.size(), 1U << 20);
  }
  // Bytes of a receive that was in flight.
  const std::string late(30'000, 'z');
  rig.append(recording, late);
  rig.settle();
  EXPECT_FALSE(woken);
  rig.disk.set_stalled(false);
  ASSERT_TRUE(rig.run_until([&woken] { return woken; }));
  ASSERT_TRUE(rig.close());
  EXPECT_EQ(rig.read().client(1).bytes, sent + late);
  EXPECT_TRUE(rig.read().clean());
}

// Each of many connections has a receive in flight when the disk stops.
TEST(Recorder, KeepsWithinItsBuffersHoweverManyReceivesEndWhenThereIsNoRoom) {
  RecorderOptions options = options_of(Durability::batch);
  options.segments.segment_bytes = 4 << 20;
  options.buffer_bytes = 1 << 20;
  CaptureRig rig(options);
  rig.settle();
  std::vector<Recording*> standing;
  std::vector<Recording*> asked_again;
  for (std::uint64_t id = 1; id <= 200; ++id) {
    Recording& recording = rig.open(id);
    ASSERT_GT(recording.tap(Side::client).allowance(), 0U);
    const bool stands = recording.tap(Side::client).allowance_stands();
    (stands ? standing : asked_again).push_back(&recording);
  }
  ASSERT_FALSE(standing.empty());
  ASSERT_FALSE(asked_again.empty());
  ASSERT_TRUE(rig.run_until_durable());
  rig.disk.set_stalled(true);
  std::uint64_t sent = 0;
  const auto receive = [&](Recording& recording, std::size_t most) {
    const std::string bytes(std::min(most, Reactor::kReceiveBytes), 'x');
    rig.append(recording, bytes);
    sent += bytes.size();
  };
  for (Recording* recording : asked_again)
    receive(*recording, recording->tap(Side::client).allowance());
  const std::uint64_t recorded = rig.recorder->counters().recorded_bytes;
  EXPECT_EQ(recorded, sent) << "there was room for all that was allowed";
  for (Recording* recording : standing) receive(*recording, Reactor::kReceiveBytes);
  EXPECT_GT(sent, rig.recorder->counters().recorded_bytes) << "the blocks are full";
  EXPECT_LE(sent, options.buffer_bytes);
  for (Recording* recording : standing) EXPECT_EQ(recording->tap(Side::client).allowance(), 0U);
  rig.disk.set_stalled(false);
  ASSERT_TRUE(rig.run_until([&] { return rig.recorder->counters().recorded_bytes == sent; }));
  // Room that was promised can be promised again.
  ASSERT_TRUE(rig.run_until_durable());
  for (Recording* recording : asked_again) rig.append(*recording, "y");
  std::ptrdiff_t again = std::ranges::count_if(asked_again, [](Recording* recording) {
    return recording->tap(Side::client).allowance_stands();
  });
  EXPECT_EQ(again, std::ssize(standing));
  ASSERT_TRUE(rig.close());
  EXPECT_TRUE(rig.read().clean());
}

TEST(Recorder, DropsWhatFindsNoRoomAndSaysExactlyWhat) {
  CaptureRig rig(options_of(Durability::batch, WhenFull::drop));
  rig.settle();
  Recording& recording = rig.open(1);
  rig.disk.set_stalled(true);
  const std::string many(100'000, 'x');
  rig.append(recording, many);
  rig.append(recording, many);
  const std::uint64_t recorded = rig.recorder->counters().recorded_bytes;
  const std::uint64_t dropped = rig.dropped(GapReason::buffers_full);
  EXPECT_EQ(recorded + dropped, 200'000U);
  rig.disk.set_stalled(false);
  ASSERT_TRUE(rig.run_until_durable());
  rig.append(recording, "after");
  ASSERT_TRUE(rig.close());
  const ReadSide side = rig.read().client(1);
  EXPECT_EQ(side.bytes, std::string(recorded, 'x') + "after");
  std::uint64_t in_gaps = 0;
  for (const ReadSide::Gap& gap : side.gaps) {
    EXPECT_EQ(gap.reason, GapReason::buffers_full);
    in_gaps += gap.bytes;
  }
  ASSERT_FALSE(side.gaps.empty());
  EXPECT_EQ(side.gaps.front().offset, recorded);
  EXPECT_EQ(in_gaps, dropped);
}

TEST(Recorder, EndsTheConnectionThatFindsNoRoomIfThatIsThePolicy) {
  CaptureRig rig(options_of(Durability::batch, WhenFull::close));
  rig.settle();
  Recording& recording = rig.open(1);
  int failures = 0;
  recording.set_on_failed([&failures] { ++failures; });
  rig.disk.set_stalled(true);
  rig.append(recording, std::string(100'000, 'x'));
  rig.append(recording, std::string(100, 'x'));
  rig.settle();
  EXPECT_EQ(failures, 1);
}

TEST(Recorder, KeepsGapsOfDifferentReasonsApart) {
  CaptureRig rig(options_of(Durability::batch, WhenFull::drop));
  rig.settle();
  Recording& recording = rig.open(1, {3, 70'000, false});
  rig.disk.set_stalled(true);
  rig.append(recording, std::string(66'000, 'x'));
  const std::uint64_t recorded = rig.recorder->counters().recorded_bytes;
  ASSERT_LT(recorded, 66'000U) << "the buffers hold more than this test expects";
  recording.tap(Side::client).overrun(66'000, 500);
  rig.disk.set_stalled(false);
  rig.settle();
  ASSERT_TRUE(rig.run_until_durable());
  const std::string rest(66'000 - recorded, 'y');
  recording.tap(Side::client).append(66'500, std::as_bytes(std::span(rest)));
  ASSERT_TRUE(rig.run_until_durable());
  const std::string beyond(40'000, 'z');
  recording.tap(Side::client).append(66'500 + rest.size(), std::as_bytes(std::span(beyond)));
  ASSERT_TRUE(rig.run_until_durable());
  rig.close(recording, "idle_timeout");
  ASSERT_TRUE(rig.close());
  const ReadSide side = rig.read().client(1);
  ASSERT_GE(side.gaps.size(), 3U);
  EXPECT_EQ(side.gaps[0], (ReadSide::Gap{recorded, 66'000 - recorded, GapReason::buffers_full}));
  EXPECT_EQ(side.gaps[1], (ReadSide::Gap{66'000, 500, GapReason::not_duplicated}));
  EXPECT_EQ(side.gaps.back().reason, GapReason::limit)
      << "a connection that was cut without an end still has its limit's gap";
  EXPECT_EQ(side.offset, 66'500 + rest.size() + beyond.size());
}

TEST(Recorder, RecordsNoMoreOfASideThanItsLimit) {
  CaptureRig rig(options_of(Durability::batch));
  Recording& recording = rig.open(1, {3, 10, false});
  rig.append(recording, "0123456");
  rig.append(recording, "789abc");
  recording.tap(Side::client).eof(13);
  ASSERT_TRUE(rig.close());
  const ReadSide side = rig.read().client(1);
  EXPECT_EQ(side.bytes, "0123456789");
  EXPECT_EQ(side.gaps, (std::vector{ReadSide::Gap{10, 3, GapReason::limit}}));
}

TEST(Recorder, LetsASinkEndOnlyWhenAllIsDurableAtEveryLevel) {
  for (const Durability level :
       {Durability::none, Durability::interval, Durability::batch, Durability::before_forward}) {
    RecorderOptions options = options_of(level);
    options.segments.sync_interval = std::chrono::hours(1);
    CaptureRig rig(options);
    rig.settle();
    Recording& recording = rig.open(1, {3, Tap::kNoLimit, true});
    rig.append(recording, "all of it");
    rig.disk.set_stalled(true);
    EXPECT_FALSE(recording.tap(Side::client).may_end(9));
    rig.settle();
    EXPECT_FALSE(recording.tap(Side::client).may_end(9));
    rig.disk.set_stalled(false);
    EXPECT_TRUE(rig.run_until([&] { return recording.tap(Side::client).may_end(9); }));
    EXPECT_GE(rig.recorder->durable_sequence(), 1U) << to_string(level);
  }
}

TEST(Recorder, NeverConfirmsASinkThatALostSegmentMayHaveHeld) {
  CaptureRig rig(options_of(Durability::none));
  rig.settle();
  Recording& recording = rig.open(1, {3, Tap::kNoLimit, true});
  int failures = 0;
  recording.set_on_failed([&failures] { ++failures; });
  rig.append(recording, "written, and let go");
  rig.pass(milliseconds(20));
  rig.disk.set_on_call([](DiskCall call, std::uint64_t) {
    return call == DiskCall::sync ? Fault{Fault::Kind::fails, EIO} : Fault{};
  });
  EXPECT_FALSE(recording.tap(Side::client).may_end(19));
  ASSERT_TRUE(rig.run_until([&failures] { return failures > 0; }));
  rig.disk.set_on_call(nullptr);
  rig.pass(std::chrono::seconds(3));
  EXPECT_FALSE(recording.tap(Side::client).may_end(19));
}

TEST(Recorder, BeginsEverySegmentWithTheConnectionsThatAreAlive) {
  CaptureRig rig(options_of(Durability::batch));
  Recording& quiet = rig.open(1);
  rig.append(quiet, "quiet");
  Recording& busy = rig.open(2);
  for (int i = 0; i < 60; ++i) {
    rig.append(busy, std::string(7'000, 'x'));
    ASSERT_TRUE(rig.run_until_durable());
  }
  rig.append(quiet, "er");
  ASSERT_TRUE(rig.close());
  auto files = rig.disk.files();
  ASSERT_GE(files.size(), 3U);
  // Also without the oldest segments, every connection has an `open`.
  files.erase(files.begin());
  const ReadCapture read = test::read_capture(files);
  EXPECT_TRUE(read.clean());
  EXPECT_EQ(read.client(1).bytes, "er");
  EXPECT_EQ(read.connections.at(1).opens, 1);
}

TEST(Recorder, PromisesNoRoomThatTheOtherSideWaitsFor) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CaptureRig rig(options_of(Durability::batch), {}, seed);
    rig.settle();
    Recording& recording = rig.open(1);
    rig.append(recording, std::string(150'000, 'x'));
    std::uint64_t asked = 0;
    rig.disk.set_on_call([&](DiskCall, std::uint64_t) {
      if (rig.recorder->counters().recorded_bytes < 150'000) {
        EXPECT_EQ(recording.tap(Side::upstream).allowance(), 0U);
        ++asked;
      }
      return Fault{};
    });
    ASSERT_TRUE(rig.run_until([&] { return rig.recorder->counters().recorded_bytes >= 150'000; }));
    EXPECT_GT(asked, 0U);
    rig.disk.set_on_call(nullptr);
    ASSERT_TRUE(rig.close());
  }
}

TEST(Recorder, NeverPutsBytesBeforeAGapThatWaitsBehindOthers) {
  CaptureRig rig(options_of(Durability::batch));
  rig.settle();
  Recording& recording = rig.open(1);
  rig.disk.set_stalled(true);
  rig.append(recording, std::string(150'000, 'x'));
  recording.tap(Side::client).overrun(150'000, 100);
  recording.tap(Side::client).append(150'100, std::as_bytes(std::span("late", 4)));
  rig.disk.set_stalled(false);
  ASSERT_TRUE(rig.close());
  const ReadSide side = rig.read().client(1);
  EXPECT_EQ(side.bytes, std::string(150'000, 'x'));
  EXPECT_EQ(side.gaps, (std::vector{ReadSide::Gap{150'000, 100, GapReason::not_duplicated},
                                    ReadSide::Gap{150'100, 4, GapReason::buffers_full}}));
}

TEST(Recorder, CountsTheConnectionsWhoseEndItCouldNotRecord) {
  RecorderOptions options = options_of(Durability::batch, WhenFull::drop);
  options.most_pending = 4;
  CaptureRig rig(options);
  rig.settle();
  std::vector<Recording*> recordings;
  for (std::uint64_t id = 1; id <= 10; ++id) recordings.push_back(&rig.open(id));
  ASSERT_TRUE(rig.run_until_durable());
  rig.disk.set_stalled(true);
  Recording& filler = rig.open(11);
  rig.append(filler, std::string(100'000, 'x'));
  for (Recording* recording : recordings) rig.close(*recording);
  const std::uint64_t lost = rig.recorder->counters().lost_connections;
  EXPECT_GT(lost, 0U);
  rig.disk.set_stalled(false);
  ASSERT_TRUE(rig.close());
  EXPECT_EQ(rig.read().lost_connections, lost);
}

TEST(Recorder, KeepsOneTableForASegmentHoweverOftenItIsLost) {
  CaptureRig rig(options_of(Durability::batch));
  Recording& recording = rig.open(1);
  rig.append(recording, "before");
  ASSERT_TRUE(rig.run_until_durable());
  rig.disk.set_on_call([](DiskCall call, std::uint64_t) {
    return call == DiskCall::write ? Fault{Fault::Kind::fails, EIO} : Fault{};
  });
  rig.append(recording, " and after");
  rig.pass(std::chrono::minutes(5));  // the pause between tries grows to 32 s
  rig.disk.set_on_call(nullptr);
  ASSERT_TRUE(rig.run_until_durable());
  ASSERT_TRUE(rig.close());
  EXPECT_EQ(rig.read().client(1).bytes, "before and after");
  // This test does not cover what failing writes leave on the disk.
  auto files = rig.disk.files();
  std::erase_if(files, [](const auto& file) { return file.first.ends_with(".suspect"); });
  const ReadCapture read = test::read_capture(files);
  EXPECT_GE(std::ranges::count(rig.events, Recorder::Event::disk_failed), 10);
  EXPECT_LE(read.connections.at(1).tables, 2);
}

TEST(Recorder, TellsOfAFullDiskAndGoesOnWhenThereIsSpace) {
  CaptureRig rig(options_of(Durability::batch));
  rig.disk.set_free_bytes(200'000);  // enough for one segment, not for two
  Recording& recording = rig.open(1);
  std::string sent;
  for (int i = 0; i < 30 && recording.tap(Side::client).allowance() > 0; ++i) {
    rig.append(recording, std::string(7'000, static_cast<char>('a' + i % 26)));
    sent += std::string(7'000, static_cast<char>('a' + i % 26));
    rig.pass(milliseconds(20));
  }
  EXPECT_EQ(recording.tap(Side::client).allowance(), 0U);
  EXPECT_NE(std::ranges::count(rig.events, Recorder::Event::segment_refused), 0);
  rig.disk.set_free_bytes(10'000'000);
  rig.pass(std::chrono::seconds(3));
  EXPECT_EQ(std::ranges::count(rig.events, Recorder::Event::segment_granted), 1);
  ASSERT_TRUE(rig.close());
  EXPECT_EQ(rig.read().client(1).bytes, sent);
  EXPECT_TRUE(rig.read().clean());
}

TEST(Recorder, CallsTheDiskFullOnlyOnceNoSegmentTakesBytes) {
  CaptureRig rig(options_of(Durability::batch, WhenFull::drop));
  rig.disk.set_free_bytes(200'000);  // enough for one segment, not for two
  Recording& recording = rig.open(1);
  while (std::ranges::count(rig.events, Recorder::Event::segment_refused) == 0) {
    rig.append(recording, std::string(3'000, 'x'));
    rig.pass(milliseconds(20));
    ASSERT_LT(rig.recorder->counters().recorded_bytes, 128U << 10);
  }
  // The segment is half empty. The buffers are full because the disk does not answer.
  rig.disk.set_stalled(true);
  rig.append(recording, std::string(100'000, 'x'));
  EXPECT_GT(rig.dropped(GapReason::buffers_full), 0U);
  EXPECT_EQ(rig.dropped(GapReason::disk_full), 0U);
  rig.disk.set_stalled(false);
  rig.pass(milliseconds(20));
  const std::uint64_t before = rig.dropped(GapReason::buffers_full);
  for (int i = 0; i < 30; ++i) {
    rig.append(recording, std::string(7'000, 'x'));
    rig.pass(milliseconds(20));
  }
  EXPECT_EQ(rig.dropped(GapReason::buffers_full), before);
  EXPECT_GT(rig.dropped(GapReason::disk_full), 0U);
}

TEST(Recorder, SealsASegmentWhoseTimeIsUpThoughNothingMoreComes) {
  for (const Durability level :
       {Durability::none, Durability::interval, Durability::batch, Durability::before_forward}) {
    RecorderOptions options = options_of(level);
    options.segment_time = std::chrono::seconds(5);
    CaptureRig rig(options);
    rig.disk.set_free_bytes(200'000);  // enough for one segment and what another one used
    const auto sealed = [&rig] {
      const auto files = rig.disk.files();
      return std::ranges::count_if(
          files, [](const auto& file) { return file.first.ends_with(".sluice"); });
    };
    rig.pass(std::chrono::seconds(20));
    EXPECT_EQ(sealed(), 0) << "nothing to seal";
    Recording& recording = rig.open(1);
    rig.append(recording, "fir");
    rig.pass(std::chrono::seconds(2));
    rig.append(recording, "st ");
    rig.pass(std::chrono::seconds(2));
    EXPECT_EQ(sealed(), 0) << "its time begins with it, not with the recorder";
    rig.pass(std::chrono::seconds(3));
    EXPECT_EQ(sealed(), 1) << to_string(level);
    rig.pass(std::chrono::seconds(60));
    EXPECT_EQ(sealed(), 1) << "the connection rests: there is nothing to write";
    EXPECT_EQ(rig.disk.files().size(), 2U) << "and one is prepared";
    EXPECT_EQ(std::ranges::count(rig.events, Recorder::Event::segment_refused), 0);
    rig.append(recording, "second");
    rig.pass(std::chrono::seconds(7));
    EXPECT_EQ(sealed(), 2);
    ASSERT_TRUE(rig.close());
    auto files = rig.disk.files();
    EXPECT_EQ(test::read_capture(files).client(1).bytes, "first second");
    EXPECT_TRUE(test::read_capture(files).clean());
    // The second segment also names the connection of its bytes.
    files.erase(files.begin());
    EXPECT_EQ(test::read_capture(files).connections.at(1).opens, 1) << to_string(level);
  }
}

TEST(Recorder, WritesAgainASegmentThatFailsWhenItIsSealedByTime) {
  RecorderOptions options = options_of(Durability::none);
  options.segment_time = std::chrono::seconds(5);
  CaptureRig rig(options);
  Recording& recording = rig.open(1);
  rig.append(recording, "first ");
  bool failed = false;
  rig.disk.set_on_call([&failed](DiskCall call, std::uint64_t) {
    if (call != DiskCall::sync || std::exchange(failed, true)) return Fault{};
    return Fault{Fault::Kind::fails, EIO};
  });
  rig.pass(std::chrono::seconds(20));
  EXPECT_TRUE(failed);
  rig.append(recording, "second");
  rig.pass(std::chrono::seconds(20));
  rig.append(recording, " third");
  ASSERT_TRUE(rig.close());
  const ReadCapture read = rig.read();
  EXPECT_TRUE(read.client(1).bytes.ends_with("second third"));
  EXPECT_EQ(read.error, "");
}

// With more commits in flight, each would be small.
TEST(Recorder, GathersForTheNextCommitWhileTwoAreUnderWay) {
  CaptureRig rig(options_of(Durability::before_forward));
  rig.settle();
  Recording& recording = rig.open(1);
  ASSERT_TRUE(rig.run_until_durable());
  rig.disk.set_stalled(true);
  const std::uint64_t before = rig.recorder->last_sequence();
  for (int i = 0; i < 20; ++i) {
    rig.append(recording, "message");
    rig.settle();
  }
  EXPECT_EQ(rig.recorder->last_sequence(), before + 3);
  rig.disk.set_stalled(false);
  ASSERT_TRUE(rig.run_until_durable());
  EXPECT_EQ(recording.tap(Side::client).watermark(), 140U);
}

}  // namespace
}  // namespace sluice
