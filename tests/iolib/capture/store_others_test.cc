// Several processes that record to one directory, while one takes over from another.

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "iolib/capture/store.h"
#include "tests/support/capture_rig.h"

namespace sluice {
namespace {

using capture::Durability;
using capture::Store;
using test::CaptureRig;
using test::ReadCapture;
using test::SimulatedDisk;

constexpr const char* kRun = "run1";  // the rig's
constexpr std::size_t kPiece = 30'000;

std::vector<std::string> names(const SimulatedDisk::Files& files) {
  std::vector<std::string> names;
  for (const auto& [name, bytes] : files) names.push_back(name);
  return names;
}

/// What a process leaves on the disk that is killed now.
SimulatedDisk::Files left_by(const CaptureRig& rig) {
  SimulatedDisk::Files files;
  for (auto& [name, remains] : rig.disk.crash(1)) files[name] = std::move(remains.bytes);
  return files;
}

/// Records so much that several segments are sealed.
void record(CaptureRig& rig, std::uint64_t connection, int pieces) {
  capture::Recording& recording = rig.open(connection);
  for (int i = 0; i < pieces; ++i) {
    rig.append(recording, std::string(kPiece, static_cast<char>('a' + i % 26)));
    ASSERT_TRUE(rig.run_until_durable());
  }
  rig.close(recording);
  ASSERT_TRUE(rig.run_until_durable());
}

bool is_open(const std::string& name) { return name.ends_with(".open"); }

TEST(StoreOthers, WhatALivingProcessWritesIsLeftAlone) {
  CaptureRig rig(CaptureRig::small_options(Durability::batch));
  record(rig, 1, 12);
  const std::vector<std::string> before = names(rig.disk.files());
  ASSERT_TRUE(std::ranges::any_of(before, is_open));
  Store successor(rig.disk, {});
  const auto leftovers = successor.recover({kRun});
  ASSERT_TRUE(leftovers.has_value());
  EXPECT_EQ(leftovers->sealed + leftovers->empty, 0U);
  EXPECT_EQ(names(rig.disk.files()), before);
  ASSERT_TRUE(successor.look_after_others().has_value());
  EXPECT_EQ(names(rig.disk.files()), before);
  record(rig, 2, 12);
  EXPECT_TRUE(successor.has_others());
  ASSERT_TRUE(rig.close());
  successor.ended(kRun);
  const auto rest = successor.look_after_others();
  ASSERT_TRUE(rest.has_value());
  EXPECT_EQ(rest->sealed + rest->empty, 0U) << "it has sealed everything itself";
  EXPECT_FALSE(successor.has_others());
  const ReadCapture read = rig.read();
  EXPECT_TRUE(read.clean());
  EXPECT_EQ(read.client(2).bytes.size(), 12 * kPiece);
}

TEST(StoreOthers, WhatAProcessLeftIsSealedOnceItHasEnded) {
  CaptureRig rig(CaptureRig::small_options(Durability::batch));
  record(rig, 1, 12);
  rig.append(rig.open(2), std::string(kPiece, 'z'));
  ASSERT_TRUE(rig.run_until_durable());
  SimulatedDisk after(1, left_by(rig));
  Store store(after, {});
  ASSERT_TRUE(store.recover({kRun, "run0"}).has_value());
  store.ended("run0");
  ASSERT_TRUE(store.look_after_others().has_value());
  EXPECT_TRUE(std::ranges::any_of(names(after.files()), is_open)) << "only the other one has ended";
  EXPECT_TRUE(store.has_others());
  store.ended(kRun);
  const auto leftovers = store.look_after_others();
  ASSERT_TRUE(leftovers.has_value());
  EXPECT_EQ(leftovers->sealed, 1U);
  EXPECT_FALSE(store.has_others());
  EXPECT_TRUE(std::ranges::none_of(names(after.files()), is_open));
  const ReadCapture read = test::read_capture(after.files());
  EXPECT_EQ(read.damage, 0);
  EXPECT_EQ(read.client(1).bytes.size(), 12 * kPiece);
  EXPECT_EQ(read.client(2).bytes, std::string(kPiece, 'z'));
}

// A successor that died before it took charge: the process that goes on knows it only now.
TEST(StoreOthers, AProcessThatWasNeverSeenAliveIsSealedToo) {
  CaptureRig rig(CaptureRig::small_options(Durability::batch));
  record(rig, 1, 2);
  Store other(rig.disk, {});
  const capture::SegmentName name{"run2", 0, 0, capture::SegmentState::open};
  const Result<Store::NewSegment> empty = other.create(name, 4096);
  ASSERT_TRUE(empty.has_value());
  rig.store.ended("run2");
  EXPECT_TRUE(rig.store.has_others());
  const auto leftovers = rig.store.look_after_others();
  ASSERT_TRUE(leftovers.has_value());
  EXPECT_EQ(leftovers->empty, 1U);
  EXPECT_FALSE(rig.disk.files().contains(to_string(name)));
  record(rig, 2, 2);  // what the store itself writes stays its own
  ASSERT_TRUE(rig.close());
  EXPECT_TRUE(rig.read().clean());
}

TEST(StoreOthers, SealedSegmentsOfOthersCountForTheRetentionOfOne) {
  constexpr std::uint64_t kKept = 400 << 10;
  CaptureRig rig(CaptureRig::small_options(Durability::batch), {.size_bytes = 1});
  rig.store.set_retains(false);  // it has let go
  Store successor(rig.disk, {.size_bytes = kKept});
  successor.set_retains(false);
  ASSERT_TRUE(successor.recover({kRun}).has_value());
  const auto sealed_bytes = [&] {
    std::uint64_t sum = 0;
    for (const auto& [name, bytes] : rig.disk.files()) sum += is_open(name) ? 0 : bytes.size();
    return sum;
  };
  record(rig, 1, 40);
  ASSERT_TRUE(successor.look_after_others().has_value());
  const std::uint64_t all = sealed_bytes();
  ASSERT_GT(all, 2 * kKept) << "neither deletes anything";
  successor.set_retains(true);  // it takes charge
  ASSERT_TRUE(successor.look_after_others().has_value());
  EXPECT_LE(sealed_bytes(), kKept);
  EXPECT_GT(sealed_bytes(), kKept / 2);
  record(rig, 2, 40);
  ASSERT_TRUE(successor.look_after_others().has_value());
  EXPECT_LE(sealed_bytes(), kKept);
  EXPECT_TRUE(std::ranges::any_of(names(rig.disk.files()), is_open));
  EXPECT_EQ(rig.store.counters().segments_deleted, 0U);
  ASSERT_TRUE(rig.close());
  EXPECT_EQ(rig.read().damage, 0);
}

TEST(StoreOthers, WhatCannotBeSealedIsTriedAgain) {
  CaptureRig rig(CaptureRig::small_options(Durability::batch));
  record(rig, 1, 12);
  SimulatedDisk after(1, left_by(rig));
  Store store(after, {});
  ASSERT_TRUE(store.recover({kRun}).has_value());
  store.ended(kRun);
  after.set_on_call([](test::DiskCall call, std::uint64_t) {
    const bool fails = call == test::DiskCall::open_existing;
    return fails ? test::Fault{test::Fault::Kind::fails, EIO} : test::Fault{};
  });
  EXPECT_TRUE(store.look_after_others().has_error());
  EXPECT_TRUE(store.has_others());
  after.set_on_call(nullptr);
  const auto leftovers = store.look_after_others();
  ASSERT_TRUE(leftovers.has_value());
  EXPECT_EQ(leftovers->sealed, 1U);
  EXPECT_FALSE(store.has_others());
}

}  // namespace
}  // namespace sluice
