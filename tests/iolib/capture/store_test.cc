#include "iolib/capture/store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "iolib/capture/frame_builder.h"
#include "tests/support/capture_builder.h"
#include "tests/support/capture_rig.h"

namespace sluice {
namespace {

using capture::Durability;
using capture::Store;
using test::CaptureRig;
using test::ReadCapture;
using test::SimulatedDisk;

SimulatedDisk::Files after_a_crash(const CaptureRig& rig) {
  SimulatedDisk::Files files;
  for (auto& [name, remains] : rig.disk.crash(1)) files[name] = std::move(remains.bytes);
  return files;
}

TEST(Store, SealsWhatACrashLeftAndRemovesWhatWasNeverBegun) {
  CaptureRig rig(CaptureRig::small_options(Durability::batch));
  rig.append(rig.open(1), std::string(30'000, 'x'));
  ASSERT_TRUE(rig.run_until_durable());
  rig.append(rig.open(2), std::string(30'000, 'y'));
  ASSERT_TRUE(rig.run_until_durable());
  SimulatedDisk after(1, after_a_crash(rig));
  Store store(after, {});
  const auto leftovers = store.recover();
  ASSERT_TRUE(leftovers.has_value());
  EXPECT_EQ(leftovers->sealed, 1U);
  const ReadCapture read = test::read_capture(after.files());
  EXPECT_EQ(read.client(1).bytes, std::string(30'000, 'x'));
  EXPECT_EQ(read.client(2).bytes, std::string(30'000, 'y'));
  EXPECT_EQ(read.damage, 0);
}

TEST(Store, KeepsTheZerosThatAConnectionSent) {
  CaptureRig rig(CaptureRig::small_options(Durability::batch));
  const std::string zeros(6'000, '\0');
  rig.append(rig.open(1), zeros);
  ASSERT_TRUE(rig.run_until_durable());
  SimulatedDisk after(1, after_a_crash(rig));
  Store store(after, {});
  ASSERT_TRUE(store.recover().has_value());
  EXPECT_EQ(test::read_capture(after.files()).client(1).bytes, zeros);
}

// Adds a frame without records.
void put_frame(SimulatedDisk::Bytes& file, std::uint32_t number, std::uint64_t offset) {
  std::array<std::byte, 4096> buffer{};
  capture::FrameHeader header;
  header.segment[0] = std::byte{7};
  header.number = number;
  header.offset = offset;
  std::ranges::copy(capture::FrameBuilder(buffer).seal(header),
                    file.begin() + static_cast<std::ptrdiff_t>(offset));
}

struct Recovered {
  SimulatedDisk::Files files;
  std::uint64_t reads = 0;
};
Recovered recover(SimulatedDisk::Bytes segment) {
  Recovered recovered;
  SimulatedDisk disk(1, {{"run1-w000-0000000000.open", std::move(segment)}});
  disk.set_on_call([&](test::DiskCall call, std::uint64_t) {
    recovered.reads += call == test::DiskCall::read ? 1U : 0U;
    return test::Fault{};
  });
  EXPECT_TRUE(Store(disk, {}).recover().has_value());
  recovered.files = disk.files();
  return recovered;
}

/// before-forward prepares a segment with written zeros.
TEST(Store, ReadsNoMoreOfTheZerosThatASegmentWasPreparedWithThanCouldBeInFlight) {
  SimulatedDisk::Bytes segment(64 << 20);
  const Recovered unused = recover(segment);
  EXPECT_TRUE(unused.files.empty());
  EXPECT_LE(unused.reads, 20U);
  put_frame(segment, 0, 0);
  put_frame(segment, 1, 4096);
  const Recovered used = recover(segment);
  EXPECT_EQ(used.files.at("run1-w000-0000000000.sluice").size(), 8192U);
  EXPECT_LE(used.reads, 20U);
}

/// Up to eight writes were in flight. Perhaps only the last one arrived.
TEST(Store, KeepsWhatArrivedBeforeWhatWasInFlightWithIt) {
  constexpr std::uint64_t kAfterSeven = 7 << 20;
  SimulatedDisk::Bytes segment(32 << 20);
  put_frame(segment, 7, kAfterSeven);
  segment[kAfterSeven + (7 << 20)] = std::byte{1};
  EXPECT_EQ(recover(segment).files.at("run1-w000-0000000000.sluice").size(),
            kAfterSeven + (7 << 20) + 4096);
}

TEST(Store, KeepsAnEmptySegmentWithinAChain) {
  SimulatedDisk disk(1, {{"run1-w000-0000000000.open", SimulatedDisk::Bytes(4096)},
                         {"run1-w000-0000000001.sluice", SimulatedDisk::Bytes(4096)},
                         {"run1-w000-0000000002.open", SimulatedDisk::Bytes(4096)}});
  Store store(disk, {});
  const auto leftovers = store.recover();
  ASSERT_TRUE(leftovers.has_value());
  EXPECT_EQ(leftovers->empty, 1U);
  EXPECT_TRUE(disk.files().contains("run1-w000-0000000000.sluice"));
}

TEST(Store, DeletesTheOldestSegmentsBeyondItsSizeFromTheHeadOfTheChain) {
  CaptureRig rig(CaptureRig::small_options(Durability::batch), {.size_bytes = 300'000});
  capture::Recording& recording = rig.open(1);
  for (int i = 0; i < 100; ++i) {
    rig.append(recording, std::string(7'000, 'x'));
    ASSERT_TRUE(rig.run_until_durable());
  }
  ASSERT_TRUE(rig.close());
  const auto files = rig.disk.files();
  EXPECT_LE(files.size(), 4U);
  EXPECT_FALSE(files.contains("run1-w000-0000000000.sluice"));
  EXPECT_TRUE(rig.read().clean());
}

constexpr std::int64_t kDayNs = 86'400'000'000'000;

// For example a boot before the clock knows the date, or a wrong time server.
TEST(Store, AStepOfTheWallClockMakesNoSegmentOlder) {
  SimulatedDisk disk(1, {{"run0-w000-0000000000.sluice", SimulatedDisk::Bytes(4096)}});
  Store store(disk, {.age = std::chrono::hours(24)});
  Store::Time time{.wall_ns = kDayNs / 2, .boot_ns = kDayNs / 100};
  store.set_clock([&] { return time; });
  std::vector<Store::Deletion> deletions;
  store.set_on_deletion([&](const Store::Deletion& each) { deletions.push_back(each); });
  ASSERT_TRUE(store.recover().has_value());
  const capture::SegmentName name{"run1", 0, 0, capture::SegmentState::open};
  Result<Store::NewSegment> made = store.create(name, 4096);
  ASSERT_TRUE(made.has_value());
  ASSERT_TRUE(store.seal(made->file, name, 4096).has_value());
  for (const std::int64_t step : {2 * kDayNs, -300 * kDayNs}) {
    time.wall_ns += step;
    store.apply_retention();
    EXPECT_EQ(disk.files().size(), 2U);
  }
  // The segment was half a day old at the start, by the clock at that time.
  time.boot_ns += kDayNs * 6 / 10;
  store.apply_retention();
  ASSERT_EQ(deletions.size(), 1U);
  EXPECT_EQ(deletions[0].segment, "run0-w000-0000000000.sluice");
  EXPECT_EQ(deletions[0].size_bytes, 4096U);
  EXPECT_EQ(deletions[0].reason, Store::Reason::age);
  time.boot_ns += kDayNs / 2;
  store.apply_retention();
  EXPECT_TRUE(disk.files().empty());
  EXPECT_EQ(deletions.size(), 2U);
}

TEST(Store, SegmentsThatAreDatedInTheFutureAgeFromTheStartOn) {
  SimulatedDisk disk(1, {{"run0-w000-0000000000.sluice", SimulatedDisk::Bytes(4096)}});
  Store store(disk, {.age = std::chrono::hours(24)});
  Store::Time time{.wall_ns = -30 * kDayNs, .boot_ns = 0};
  store.set_clock([&] { return time; });
  ASSERT_TRUE(store.recover().has_value());
  EXPECT_EQ(disk.files().size(), 1U);
  time.wall_ns += 60 * kDayNs;
  store.apply_retention();
  EXPECT_EQ(disk.files().size(), 1U);
  time.boot_ns += kDayNs + 1;
  store.apply_retention();
  EXPECT_TRUE(disk.files().empty());
}

// The oldest is known only once all are found.
TEST(Store, DeletesTheOldestOfSeveralChainsAfterACrash) {
  SimulatedDisk disk(1);
  const auto make = [&](const std::string& name) {
    const Result<int> file = disk.create(name);
    ASSERT_TRUE(file.has_value());
    ASSERT_TRUE(disk.preallocate(*file, 100'000).has_value());
    const SimulatedDisk::Bytes bytes(4096, std::byte{1});
    ASSERT_TRUE(disk.write(*file, bytes, 0).has_value());
    disk.close(*file);
  };
  for (const char* name : {"run2-w000-0000000000.sluice", "run1-w000-0000000000.sluice",
                           "run1-w000-0000000001.open"}) {
    make(name);
  }
  Store store(disk, {.size_bytes = 150'000});
  ASSERT_TRUE(store.recover().has_value());
  EXPECT_FALSE(disk.files().contains("run2-w000-0000000000.sluice"));
  EXPECT_TRUE(disk.files().contains("run1-w000-0000000000.sluice"));
}

TEST(Store, TriesAgainToDeleteWhatCouldNotBeDeleted) {
  SimulatedDisk disk(1, {{"run0-w000-0000000000.sluice", SimulatedDisk::Bytes(100'000)}});
  bool fails = true;
  disk.set_on_call([&](test::DiskCall call, std::uint64_t) {
    const bool removes = call == test::DiskCall::remove;
    return fails && removes ? test::Fault{test::Fault::Kind::fails, EIO} : test::Fault{};
  });
  Store store(disk, {.size_bytes = 50'000});
  ASSERT_TRUE(store.recover().has_value());
  EXPECT_EQ(disk.files().size(), 1U);
  fails = false;
  store.apply_retention();
  EXPECT_TRUE(disk.files().empty());
}

TEST(Store, OneThatCannotBeDeletedKeepsItsOwnChainAloneAndIsToldOnce) {
  SimulatedDisk disk(1, {{"run0-w000-0000000000.sluice", SimulatedDisk::Bytes(100'000)},
                         {"run0-w000-0000000001.sluice", SimulatedDisk::Bytes(100'000)},
                         {"run0-w001-0000000000.sluice", SimulatedDisk::Bytes(100'000)}});
  bool first = true;
  disk.set_on_call([&](test::DiskCall call, std::uint64_t) {
    const bool fails = call == test::DiskCall::remove && std::exchange(first, false);
    return fails ? test::Fault{test::Fault::Kind::fails, EPERM} : test::Fault{};
  });
  Store store(disk, {.size_bytes = 50'000});
  std::vector<std::string> told;
  store.set_on_deletion([&](const Store::Deletion& each) {
    if (!each.error) return;
    EXPECT_EQ(each.error->code, EPERM);
    told.push_back(each.segment);
  });
  ASSERT_TRUE(store.recover().has_value());
  EXPECT_TRUE(disk.files().contains("run0-w000-0000000000.sluice"));
  EXPECT_TRUE(disk.files().contains("run0-w000-0000000001.sluice")) << "a hole in its chain";
  EXPECT_FALSE(disk.files().contains("run0-w001-0000000000.sluice"));
  first = true;
  store.apply_retention();
  EXPECT_EQ(told, std::vector<std::string>{"run0-w000-0000000000.sluice"});
  store.apply_retention();
  EXPECT_TRUE(disk.files().empty());
  EXPECT_EQ(store.counters().segments_deleted, 3U);
  EXPECT_EQ(store.counters().deletions_failed, 1U);
}

// A power cut may bring back the segment deleted last, but no earlier one.
TEST(Store, DeletesOneAfterTheOtherAndLeavesNoHoleToAPowerCut) {
  SimulatedDisk::Files files;
  for (const char* number : {"0", "1", "2", "3"}) {
    files["run1-w000-000000000" + std::string(number) + ".sluice"] = SimulatedDisk::Bytes(100'000);
  }
  SimulatedDisk disk(1, files);
  std::size_t looks = 0;
  disk.set_on_call([&](test::DiskCall, std::uint64_t) {
    for (std::uint64_t seed = 0; seed < 50; ++seed, ++looks) {
      const auto left = disk.crash(seed);
      if (left.empty()) continue;
      EXPECT_EQ(left.rbegin()->first, "run1-w000-0000000003.sluice");
      const auto first = capture::parse_segment_name(left.begin()->first)->number;
      EXPECT_EQ(left.size(), 4 - first) << "a hole";
    }
    return test::Fault{};
  });
  Store store(disk, {.size_bytes = 50'000});
  ASSERT_TRUE(store.recover().has_value());
  EXPECT_TRUE(disk.files().empty());
  EXPECT_GT(looks, 200U);
}

// Otherwise it would stay while later ones go, which leaves a hole.
TEST(Store, DeletesASegmentInItsTurnThoughItCouldNotBeSealed) {
  using test::DiskCall;
  enum class Again : std::uint8_t { never, before_deletion, after_deletion };
  struct Ending {
    std::set<DiskCall> failing;
    bool abandons;
    Again again;  // whether abandoning it is tried again
  };
  for (const Ending& each :
       {Ending{{DiskCall::rename}, false, Again::never},
        Ending{{DiskCall::sync_names}, false, Again::never},
        Ending{{DiskCall::volume_sync, DiskCall::sync_names}, false, Again::never},
        Ending{{DiskCall::volume_sync, DiskCall::rename}, false, Again::never},
        Ending{{DiskCall::rename}, true, Again::before_deletion},
        Ending{{DiskCall::sync_names}, true, Again::before_deletion},
        Ending{{DiskCall::rename}, true, Again::after_deletion},
        Ending{{DiskCall::sync_names}, true, Again::after_deletion}}) {
    SimulatedDisk disk(1);
    Store store(disk, {.size_bytes = 1});
    const capture::SegmentName name{"run1", 0, 0, capture::SegmentState::open};
    Result<Store::NewSegment> made = store.create(name, 100'000);
    ASSERT_TRUE(made.has_value());
    disk.set_on_call([&](DiskCall call, std::uint64_t) {
      const bool fails = each.failing.contains(call);
      return fails ? test::Fault{test::Fault::Kind::fails, EIO} : test::Fault{};
    });
    const Result<> ended =
        each.abandons ? store.abandon(made->file, name, 8192) : store.seal(made->file, name, 8192);
    EXPECT_TRUE(ended.has_error());
    disk.set_on_call(nullptr);
    if (each.again == Again::before_deletion) {
      EXPECT_TRUE(store.abandon(made->file, name, 8192).has_value());
    }
    EXPECT_EQ(disk.files().size(), 1U);
    store.apply_retention();
    EXPECT_TRUE(disk.files().empty());
    if (each.again == Again::after_deletion) {
      EXPECT_TRUE(store.abandon(made->file, name, 8192).has_value());
    }
    store.apply_retention();
    EXPECT_EQ(store.counters().segments_deleted, 1U);
  }
}

// Otherwise that file would be forgotten, and stay when its neighbours are deleted.
TEST(Store, AChainDoesNotGoOnBehindASegmentThatCouldNotBeDiscarded) {
  using test::DiskCall;
  SimulatedDisk disk(1);
  Store store(disk, {});
  const capture::SegmentName name{"run1", 0, 0, capture::SegmentState::open};
  disk.set_on_call([&](DiskCall call, std::uint64_t) {
    const bool fails = call == DiskCall::volume_sync || call == DiskCall::remove;
    return fails ? test::Fault{test::Fault::Kind::fails, EIO} : test::Fault{};
  });
  for (int i = 0; i < 2; ++i) EXPECT_EQ(store.create(name, 100'000).error().code, EIO);
  EXPECT_EQ(disk.files().size(), 1U);
  disk.set_on_call(nullptr);
  EXPECT_TRUE(store.create(name, 100'000).has_value());
  EXPECT_EQ(disk.files().size(), 1U);
}

// The end of a run does not wait for a segment that it will not use.
TEST(Store, FillsASegmentThatIsNoLongerNeededNoFurther) {
  SimulatedDisk disk(1);
  Store store(disk, {});
  const capture::SegmentName name{"run1", 0, 0, capture::SegmentState::open};
  std::atomic<bool> stop = false;
  std::size_t writes = 0;
  disk.set_on_call([&](test::DiskCall call, std::uint64_t) {
    if (call == test::DiskCall::volume_write && ++writes == 2) stop = true;
    return test::Fault{};
  });
  const auto made = store.create(name, 64 << 20, Store::Contents::zeroed, stop);
  EXPECT_EQ(made.error().code, ECANCELED);
  EXPECT_EQ(writes, 2U);
  EXPECT_TRUE(disk.files().empty());
}

// For example on a disk that is too small for the segment, or that other programs filled.
TEST(Store, DeletesNothingThatCannotMakeRoom) {
  SimulatedDisk disk(1, {{"run0-w000-0000000000.sluice", SimulatedDisk::Bytes(100'000)}});
  disk.set_free_bytes(150'000);
  Store store(disk, {.size_bytes = 1'000'000});
  ASSERT_TRUE(store.recover().has_value());
  const capture::SegmentName name{"run1", 0, 0, capture::SegmentState::open};
  EXPECT_EQ(store.create(name, 200'000).error().code, ENOSPC);
  EXPECT_EQ(disk.files().size(), 1U);
}

constexpr std::uint64_t kMiB = 1 << 20;

/// The sizes of a chain's next segments, until there is no room.
std::vector<std::uint64_t> make_segments(Store& store, std::uint64_t most_bytes) {
  std::vector<std::uint64_t> sizes;
  for (std::uint64_t number = 0;; ++number) {
    const capture::SegmentName name{"run1", 0, number, capture::SegmentState::open};
    const Result<Store::NewSegment> made = store.create(name, most_bytes);
    if (made.has_error()) return sizes;
    sizes.push_back(made->size_bytes / kMiB);
  }
}

// Room for two recorders on one volume, and for the next segment of each.
TEST(Store, MakesSmallerSegmentsWhereSpaceIsShortAndSaysSoOnce) {
  SimulatedDisk disk(1);
  disk.set_free_bytes(36 * kMiB);
  Store store(disk, {});
  std::vector<std::uint64_t> told;
  store.set_on_smaller([&](std::uint64_t most_bytes, std::uint64_t bytes) {
    EXPECT_EQ(most_bytes, 16 * kMiB);
    told.push_back(bytes / kMiB);
  });
  EXPECT_EQ(make_segments(store, 16 * kMiB), (std::vector<std::uint64_t>{16, 8, 4, 4, 4}));
  EXPECT_EQ(told, std::vector<std::uint64_t>{8});
}

// For example by a quota that statvfs(2) does not report, RLIMIT_FSIZE, or the filesystem's
// maximum.
TEST(Store, MakesASmallerSegmentWhereTheLargeOneIsRefused) {
  for (const int error : {EDQUOT, EFBIG}) {
    SimulatedDisk disk(1);
    int refusals = 2;
    disk.set_on_call([&](test::DiskCall call, std::uint64_t) {
      const bool fails = call == test::DiskCall::preallocate && refusals-- > 0;
      return fails ? test::Fault{test::Fault::Kind::fails, error} : test::Fault{};
    });
    Store store(disk, {});
    const capture::SegmentName name{"run1", 0, 0, capture::SegmentState::open};
    const Result<Store::NewSegment> made = store.create(name, 16 * kMiB);
    ASSERT_TRUE(made.has_value());
    EXPECT_LT(made->size_bytes, 16 * kMiB);
  }
}

TEST(Store, DeletesNoMoreThanAPartOfWhatIsKeptForASegment) {
  SimulatedDisk::Files files;
  for (const char* number : {"0", "1", "2", "3", "4", "5", "6", "7"}) {
    files["run0-w000-000000000" + std::string(number) + ".sluice"] = SimulatedDisk::Bytes(4 * kMiB);
  }
  SimulatedDisk disk(1, files);
  disk.set_free_bytes(32 * kMiB);
  Store store(disk, {.size_bytes = 1 << 30});
  ASSERT_TRUE(store.recover().has_value());
  const capture::SegmentName name{"run1", 0, 0, capture::SegmentState::open};
  EXPECT_EQ(store.create(name, 16 * kMiB)->size_bytes, 4 * kMiB);
  EXPECT_EQ(store.counters().segments_deleted, 1U);
}

// For example because a snapshot or a hard link shares its blocks.
TEST(Store, DeletesNoMoreIfADeletionGivesNothingBack) {
  SimulatedDisk disk(1, {{"run0-w000-0000000000.sluice", SimulatedDisk::Bytes(100'000)},
                         {"run0-w000-0000000001.sluice", SimulatedDisk::Bytes(100'000)}});
  disk.set_free_bytes(250'000);
  disk.set_on_call([&](test::DiskCall call, std::uint64_t) {
    if (call == test::DiskCall::remove) disk.set_free_bytes(150'000);
    return test::Fault{};
  });
  Store store(disk, {.size_bytes = 1'000'000});
  std::size_t told = 0;
  store.set_on_deletion([&](const Store::Deletion& each) {
    EXPECT_FALSE(each.error.has_value());
    ++told;
  });
  ASSERT_TRUE(store.recover().has_value());
  const capture::SegmentName name{"run1", 0, 0, capture::SegmentState::open};
  for (int tries = 0; tries < 3; ++tries) {
    EXPECT_EQ(store.create(name, 100'000).error().code, ENOSPC);
    EXPECT_EQ(disk.files().size(), 1U);
  }
  EXPECT_EQ(told, 1U);
  disk.set_on_call(nullptr);
  disk.set_free_bytes(160'000);  // other programs freed a little: it is worth another try
  EXPECT_TRUE(store.create(name, 160'000).has_value());
  EXPECT_EQ(told, 2U);
}

TEST(Store, DeletesNothingWithoutARetentionThoughTheDiskIsFull) {
  SimulatedDisk disk(1, {{"run0-w000-0000000000.sluice", SimulatedDisk::Bytes(100'000)}});
  disk.set_free_bytes(150'000);
  Store keeping(disk, {});
  ASSERT_TRUE(keeping.recover().has_value());
  const capture::SegmentName name{"run1", 0, 0, capture::SegmentState::open};
  EXPECT_EQ(keeping.create(name, 100'000).error().code, ENOSPC);
  EXPECT_EQ(disk.files().size(), 1U);
  Store deleting(disk, {.size_bytes = 1'000'000});
  ASSERT_TRUE(deleting.recover().has_value());
  EXPECT_TRUE(deleting.create(name, 100'000).has_value());
  EXPECT_FALSE(disk.files().contains("run0-w000-0000000000.sluice"));
}

}  // namespace
}  // namespace sluice
