#include "iolib/capture/segment_writer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/capture_rig.h"

namespace sluice {
namespace {

using capture::Durability;
using capture::Recorder;
using capture::Recording;
using capture::SegmentEnd;
using test::CaptureRig;
using test::DiskCall;
using test::Fault;
using test::ReadCapture;

// Makes the next call of a kind fail.
void fail_next(CaptureRig& rig, DiskCall kind, int error) {
  rig.disk.set_on_call([kind, error, done = false](DiskCall call, std::uint64_t) mutable {
    if (call != kind || done) return Fault{};
    done = true;
    return Fault{Fault::Kind::fails, error};
  });
}

bool is_suspect(const std::string& name) { return name.ends_with(".suspect"); }

TEST(SegmentWriter, WritesAgainWhatAFailingWriteLeftUnconfirmed) {
  for (const DiskCall call : {DiskCall::write, DiskCall::sync}) {
    CaptureRig rig(CaptureRig::small_options(Durability::batch));
    rig.settle();
    Recording& recording = rig.open(1);
    rig.append(recording, "before ");
    ASSERT_TRUE(rig.run_until_durable());
    fail_next(rig, call, EIO);
    rig.append(recording, "during ");
    ASSERT_TRUE(rig.run_until_durable());
    rig.append(recording, "after");
    ASSERT_TRUE(rig.close());
    const ReadCapture read = rig.read();
    EXPECT_EQ(read.client(1).bytes, "before during after");
    EXPECT_TRUE(read.clean());
    EXPECT_EQ(std::ranges::count_if(read.segments, is_suspect), 1);
    EXPECT_EQ(std::ranges::count(rig.events, Recorder::Event::disk_failed), 1);
  }
}

TEST(SegmentWriter, CallsNothingDurableThatANewSegmentDoesNotHoldYet) {
  CaptureRig rig(CaptureRig::small_options(Durability::batch));
  rig.settle();
  Recording& recording = rig.open(1);
  constexpr std::uint64_t kBytes = 40'000;
  constexpr std::uint64_t kLeastInABlock = 7'900;
  fail_next(rig, DiskCall::sync, EIO);
  rig.append(recording, std::string(kBytes, 'x'));
  const std::uint64_t last = rig.recorder->last_sequence();
  // Whenever the mark has risen, everything that it covers survives a power cut.
  std::uint64_t mark = 0;
  ASSERT_TRUE(rig.run_until([&] {
    if (rig.recorder->durable_sequence() == mark) return mark >= last;
    mark = rig.recorder->durable_sequence();
    const std::uint64_t covered = std::min<std::uint64_t>(mark * kLeastInABlock, kBytes);
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      test::SimulatedDisk::Files files;
      for (auto& [name, remains] : rig.disk.crash(seed)) files[name] = std::move(remains.bytes);
      const ReadCapture read = test::read_capture(files);
      EXPECT_TRUE(read.connections.contains(1) && read.client(1).bytes.size() >= covered) << mark;
    }
    return mark >= last;
  }));
}

TEST(SegmentWriter, WaitsLongerAndLongerForADiskThatTakesFirstFramesOnly) {
  constexpr std::chrono::minutes kTime(10);
  for (const Durability level : {Durability::batch, Durability::before_forward}) {
    CaptureRig rig(CaptureRig::small_options(level));
    rig.settle();
    rig.disk.set_on_call([first = true](DiskCall call, std::uint64_t) mutable {
      if (call == DiskCall::create) first = true;
      if (call != DiskCall::write) return Fault{};
      return std::exchange(first, false) ? Fault{} : Fault{Fault::Kind::fails, EIO};
    });
    rig.append(rig.open(1), "bytes");
    rig.pass(kTime);
    const auto files = rig.disk.files();
    // Tries after 1, 2, 4, 8, 16 s, then every 32 s.
    EXPECT_GE(files.size(), 15U) << "it does try";
    EXPECT_LE(files.size(), 26U) << to_string(level);
    for (const auto& [name, bytes] : files) {
      EXPECT_TRUE(!is_suspect(name) || bytes.size() < 32'768U) << name;
    }
  }
}

// What the footers say, from segment to segment.
std::vector<SegmentEnd> ends_of(const CaptureRig& rig) {
  std::vector<SegmentEnd> ends;
  const std::string error =
      test::for_each_event(rig.disk.files(), [&ends](const capture::Event& event) {
        const bool is_footer =
            event.type == capture::Event::Type::record && event.header.is(capture::Kind::footer);
        if (!is_footer) return;
        ends.push_back(static_cast<SegmentEnd>(capture::decode_footer(event.payload)->why));
      });
  EXPECT_EQ(error, "");
  return ends;
}

using Ends = std::vector<SegmentEnd>;

TEST(SegmentWriter, SaysInTheLastFooterThatTheRunEnds) {
  CaptureRig rig(CaptureRig::small_options(Durability::batch));
  rig.append(rig.open(1), std::string(200'000, 'x'));
  ASSERT_TRUE(rig.run_until_durable());
  ASSERT_TRUE(rig.close());
  EXPECT_EQ(ends_of(rig), (Ends{SegmentEnd::rotation, SegmentEnd::end_of_run}));
}

TEST(SegmentWriter, SaysOfASegmentWhoseTimeIsUpThatItWasRotatedUnlessTheRunEndsFirst) {
  for (const bool run_ends_first : {false, true}) {
    capture::RecorderOptions options = CaptureRig::small_options(Durability::batch);
    options.segment_time = std::chrono::seconds(5);
    CaptureRig rig(options);
    rig.settle();
    Recording& recording = rig.open(1);
    rig.append(recording, "bytes");
    rig.close(recording);
    rig.disk.set_stalled(run_ends_first);
    rig.pass(std::chrono::seconds(7));
    EXPECT_EQ(ends_of(rig).size(), run_ends_first ? 0U : 1U);
    bool closed = false;
    rig.recorder->close([&closed] { closed = true; });
    rig.disk.set_stalled(false);
    ASSERT_TRUE(rig.run_until([&closed] { return closed; }));
    rig.recorder.reset();
    EXPECT_EQ(ends_of(rig), Ends{run_ends_first ? SegmentEnd::end_of_run : SegmentEnd::rotation});
  }
}

// Nothing can be written while the last flush of a segment runs, so it must not cover much.
TEST(SegmentWriter, FlushesASegmentAsItFills) {
  constexpr std::size_t kBlockBytes = 8 << 10;
  constexpr std::size_t kBlocks = 512;  // of a segment
  constexpr std::size_t kMostFlushes = 16;
  capture::RecorderOptions options = CaptureRig::small_options(Durability::none);
  options.segments.segment_bytes = kBlocks * kBlockBytes;
  options.segment_time = std::chrono::hours(1);
  CaptureRig rig(options);
  rig.settle();
  std::vector<std::size_t> flushes;  // of the current segment: the blocks since the one before
  std::size_t blocks = 0;            // since the last flush
  int segments = 0;
  rig.disk.set_on_call([&](DiskCall call, std::uint64_t) {
    if (call == DiskCall::write) ++blocks;
    if (call == DiskCall::sync) flushes.push_back(std::exchange(blocks, 0));
    if (call == DiskCall::volume_write) {  // the footer
      EXPECT_LE(flushes.back(), capture::FrameWriter::kDepth);
      EXPECT_LE(std::ranges::max(flushes), kBlocks * 2 / 3);
      EXPECT_LE(flushes.size(), kMostFlushes);
      flushes.clear();
      ++segments;
    }
    return Fault{};
  });
  Recording& recording = rig.open(1);
  std::string sent;
  while (segments < 2) {
    const std::string part(kBlockBytes / 2, 'x');
    rig.append(recording, part);
    sent += part;
    rig.reactor.step();
  }
  ASSERT_TRUE(rig.close());
  EXPECT_TRUE(rig.read().clean());
  EXPECT_EQ(rig.read().client(1).bytes, sent);
}

// What the flushes of a filling segment have not confirmed is written again, in order.
TEST(SegmentWriter, WritesAgainWhatAFailingFlushOfAFillingSegmentLeftUnconfirmed) {
  constexpr int kFlushes = 5;
  for (int failing = 0; failing < kFlushes; ++failing) {
    capture::RecorderOptions options = CaptureRig::small_options(Durability::interval);
    options.segments.sync_interval = options.segment_time = std::chrono::hours(1);
    options.segments.segment_bytes = options.buffer_bytes = options.segments.kept_bytes = 2 << 20;
    CaptureRig rig(options);
    rig.settle();
    rig.disk.set_on_call([flush = 0, failing](DiskCall call, std::uint64_t) mutable {
      if (call != DiskCall::sync || flush++ != failing) return Fault{};
      return Fault{Fault::Kind::fails, EIO};
    });
    Recording& recording = rig.open(1);
    std::string sent;
    for (char letter = 'a'; letter <= 'z'; ++letter) {
      const std::string part(100'000, letter);
      rig.append(recording, part);
      sent += part;
      rig.settle();
    }
    ASSERT_TRUE(rig.close());
    const ReadCapture read = rig.read();
    EXPECT_TRUE(read.clean()) << failing;
    EXPECT_EQ(read.client(1).bytes, sent) << failing;
    EXPECT_EQ(std::ranges::count_if(read.segments, is_suspect), 1) << failing;
  }
}

capture::RecorderOptions large_options() {
  capture::RecorderOptions options = CaptureRig::small_options(Durability::batch);
  options.segments.segment_bytes = 16 << 20;
  options.buffer_bytes = options.segments.kept_bytes = 12 << 20;
  return options;
}

// A smaller segment begins like a planned one.
TEST(SegmentWriter, GoesOnInSmallerSegmentsWhereSpaceIsShort) {
  CaptureRig rig(large_options());
  rig.disk.set_free_bytes(20 << 20);
  Recording& recording = rig.open(1);
  const std::string part(1 << 20, 'x');
  std::string sent;
  for (int i = 0; i < 13; ++i) {
    rig.append(recording, part);
    sent += part;
    ASSERT_TRUE(rig.run_until_durable()) << i;
  }
  ASSERT_TRUE(rig.close());
  EXPECT_EQ(rig.events, std::vector<Recorder::Event>{});
  const ReadCapture read = rig.read();
  EXPECT_TRUE(read.clean());
  EXPECT_EQ(read.client(1).bytes, sent);
  ASSERT_GE(read.segments.size(), 3U) << "8 MiB, 4 MiB, and a rest";
  EXPECT_EQ(read.connections.at(1).tables, static_cast<int>(read.segments.size()) - 1);
}

// The size is known only after much was planned for a larger segment.
TEST(SegmentWriter, EndsASegmentThatProvesToBeSmallerThanPlanned) {
  CaptureRig rig(large_options());
  rig.disk.set_free_bytes(20 << 20);
  Recording& recording = rig.open(1);
  const std::string sent(10 << 20, 'x');
  rig.append(recording, sent);
  ASSERT_TRUE(rig.run_until_durable());
  for (const auto& [name, bytes] : rig.disk.files()) EXPECT_LE(bytes.size(), 8U << 20) << name;
  ASSERT_TRUE(rig.close());
  EXPECT_TRUE(rig.read().clean());
  EXPECT_EQ(rig.read().client(1).bytes, sent);
}

TEST(SegmentWriter, GivesUpOnADiskThatDoesNotComeBack) {
  CaptureRig rig(CaptureRig::small_options(Durability::batch));
  rig.disk.set_on_call([](DiskCall, std::uint64_t) { return Fault{Fault::Kind::fails, EIO}; });
  rig.append(rig.open(1), "bytes");
  EXPECT_FALSE(rig.close());
  EXPECT_EQ(rig.disk.in_flight(), 0U);
}

TEST(SegmentWriter, GoesOnInAnotherSegmentIfSomebodyRemovesTheOneItWrites) {
  CaptureRig rig(CaptureRig::small_options(Durability::batch));
  rig.settle();
  Recording& recording = rig.open(1);
  rig.append(recording, "before ");
  ASSERT_TRUE(rig.run_until_durable());
  ASSERT_TRUE(rig.disk.remove("run1-w000-0000000000.open").has_value());
  ASSERT_TRUE(rig.run_until(
      [&] { return std::ranges::count(rig.events, Recorder::Event::disk_failed) == 1; }));
  rig.append(recording, "after");
  ASSERT_TRUE(rig.run_until_durable());
  ASSERT_TRUE(rig.close());
  const ReadCapture read = rig.read();
  EXPECT_EQ(read.client(1).bytes, "after");
  EXPECT_EQ(read.client(1).offset, 12U);
  EXPECT_EQ(read.segments, std::vector<std::string>{"run1-w000-0000000001.sluice"});
}

// If their directory is gone, both are noticed at once, not one after the other.
TEST(SegmentWriter, NoticesInOneLookThatBothOfItsSegmentsAreGone) {
  CaptureRig rig(CaptureRig::small_options(Durability::batch));
  Recording& recording = rig.open(1);
  const std::string prepared = "run1-w000-0000000001.open";
  while (!rig.disk.files().contains(prepared)) {
    rig.append(recording, std::string(7'000, 'x'));
    ASSERT_TRUE(rig.run_until_durable());
  }
  ASSERT_TRUE(rig.disk.remove("run1-w000-0000000000.open").has_value());
  ASSERT_TRUE(rig.disk.remove(prepared).has_value());
  const auto is_made_again = [&] { return rig.disk.files().contains(prepared); };
  for (int i = 0; i < 1'100 && !is_made_again(); ++i) rig.pass(std::chrono::milliseconds(1));
  EXPECT_TRUE(is_made_again());
  rig.pass(std::chrono::milliseconds(100));
  EXPECT_EQ(rig.events, std::vector{Recorder::Event::disk_failed});
  ASSERT_TRUE(rig.close());
  EXPECT_TRUE(rig.read().clean());
}

TEST(SegmentWriter, MakesThePreparedSegmentAgainIfSomebodyRemovesIt) {
  CaptureRig rig(CaptureRig::small_options(Durability::batch));
  rig.settle();
  const std::string prepared = "run1-w000-0000000000.open";
  ASSERT_TRUE(rig.disk.remove(prepared).has_value());
  ASSERT_TRUE(rig.run_until([&] { return rig.disk.files().contains(prepared); }));
  rig.append(rig.open(1), "bytes");
  ASSERT_TRUE(rig.run_until_durable());
  ASSERT_TRUE(rig.close());
  EXPECT_EQ(rig.read().client(1).bytes, "bytes");
  EXPECT_TRUE(rig.read().clean());
}

}  // namespace
}  // namespace sluice
