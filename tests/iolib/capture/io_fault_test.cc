#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <iostream>
#include <string>
#include <utility>

#include "tests/iolib/capture/capture_model.h"
#include "tests/support/capture_rig.h"
#include "tests/support/settings.h"

namespace sluice {
namespace {

using capture::Durability;
using capture::WhenFull;
using test::CaptureModel;
using test::Fault;
using test::SimulatedDisk;

struct Case {
  Durability durability;
  WhenFull when_full;
};

class IoFault : public testing::TestWithParam<Case> {
 protected:
  [[nodiscard]] static CaptureModel::Options options() {
    CaptureModel::Options options;
    options.seed = 11;
    options.recorder = test::CaptureRig::small_options(GetParam().durability);
    options.recorder.segments.segment_bytes = 64 << 10;
    options.recorder.segments.sync_interval = std::chrono::milliseconds(20);
    options.recorder.when_full = GetParam().when_full;
    // With `close`, retention keeps one segment and the one being written. Otherwise it keeps
    // everything.
    options.retention.size_bytes = GetParam().when_full == WhenFull::close ? 64 << 10 : 0;
    options.steps = test::by_scale(120U, 120U, 400U);
    return options;
  }
};

// Every call that changes the disk fails once, or with all later ones. The power is cut at the end
// of each run; everything that was confirmed must still be there.
TEST_P(IoFault, AtEveryCallLosesNothingConfirmedAndTheRecorderCloses) {
  CaptureModel whole(options());
  ASSERT_TRUE(whole.run());
  ASSERT_GT(whole.calls(), 50U);
  ASSERT_EQ(whole.deletions() > 0, GetParam().when_full == WhenFull::close);
  constexpr std::array kFaults = {Fault{Fault::Kind::fails, EIO}, Fault{Fault::Kind::fails, ENOSPC},
                                  Fault{Fault::Kind::short_write}};
  std::uint64_t runs = 0;
  // Under a sanitizer, which takes twenty times as long, only some of them.
  const auto stride = test::by_scale<std::uint64_t>(29, 1, 1);
  for (std::uint64_t call = test::seed() % stride; call < whole.calls(); call += stride) {
    for (const Fault& fault : kFaults) {
      for (const bool for_good : {false, true}) {
        CaptureModel model(options());
        model.fail_call(call, fault, for_good);
        const bool in_time = model.run();
        model.crash();
        ASSERT_EQ(model.problem(), "") << "call " << call << " fails with " << fault.error
                                       << (for_good ? " and all after it" : "");
        ASSERT_TRUE(in_time || for_good) << "call " << call << " fails with " << fault.error;
        ++runs;
      }
    }
  }
  std::cout << runs << " runs, " << whole.calls() << " calls\n";
}

// What a crash left of two runs: for each a sealed segment, one being written and one prepared. The
// last bytes are zeros, which recovery must not take for the end.
SimulatedDisk::Files after_a_crash() {
  SimulatedDisk::Files left;
  for (const char run : {'1', '2'}) {
    capture::RecorderOptions options = test::CaptureRig::small_options(Durability::batch);
    options.segments.run = std::string("run") + run;
    test::CaptureRig rig(options);
    capture::Recording& recording = rig.open(run == '1' ? 1 : 2);
    for (int i = 0; i < 29; ++i) {
      rig.append(recording, std::string(6'000, static_cast<char>('a' + i)));
    }
    rig.append(recording, std::string(6'000, '\0'));
    EXPECT_TRUE(rig.run_until_durable());
    for (auto& [name, remains] : rig.disk.crash(1)) left[name] = std::move(remains.bytes);
  }
  return left;
}

struct RecoveryFault {
  std::uint64_t call = 0;
  int error = 0;
  bool for_good = false;
  bool power_fails = false;  ///< after the recovery
};

// Recovers `files` while calls fail; true if that was reported. `left`: the files afterwards.
bool fails_to_recover(const SimulatedDisk::Files& files, const RecoveryFault& fault,
                      SimulatedDisk::Files& left) {
  SimulatedDisk disk(1, files);
  disk.set_on_call([&](test::DiskCall, std::uint64_t index) {
    const bool fails = fault.for_good ? index >= fault.call : index == fault.call;
    return fails ? Fault{Fault::Kind::fails, fault.error} : Fault{};
  });
  capture::Store store(disk, {});
  const bool failed = store.recover().has_error();
  left = disk.files();
  if (!fault.power_fails) return failed;
  left.clear();
  for (auto& [name, remains] : disk.crash(fault.call)) left[name] = std::move(remains.bytes);
  return failed;
}

test::ReadCapture read_recovered(const SimulatedDisk::Files& files, std::uint64_t& calls) {
  SimulatedDisk disk(1, files);
  capture::Store store(disk, {});
  EXPECT_TRUE(store.recover().has_value());
  calls = disk.calls();
  for (const auto& [name, bytes] : disk.files()) EXPECT_FALSE(name.ends_with(".open")) << name;
  return test::read_capture(disk.files());
}

// Recovery has no short calls: it does not write, and its reads continue to the end.
TEST(Recovery, WithAFaultAtAnyCallFailsAndLosesNothingThatTheNextOneFinds) {
  const SimulatedDisk::Files files = after_a_crash();
  std::uint64_t calls = 0;
  const test::ReadCapture expected = read_recovered(files, calls);
  ASSERT_EQ(expected.client(1).bytes.size(), 180'000U);
  ASSERT_EQ(expected.client(2).bytes.size(), 180'000U);
  ASSERT_GT(calls, 20U);
  for (std::uint64_t i = 0; i < calls * 8; ++i) {
    const RecoveryFault fault{i / 8, (i & 1) != 0 ? EIO : ENOSPC, (i & 2) != 0, (i & 4) != 0};
    SimulatedDisk::Files left;
    EXPECT_TRUE(fails_to_recover(files, fault, left)) << "call " << fault.call;
    std::uint64_t ignored = 0;
    const test::ReadCapture read = read_recovered(left, ignored);
    EXPECT_EQ(read.damage + read.lost, 0) << "call " << fault.call;
    for (const std::uint64_t connection : {1U, 2U}) {
      ASSERT_TRUE(read.connections.contains(connection)) << "call " << fault.call;
      ASSERT_EQ(read.client(connection).bytes, expected.client(connection).bytes)
          << "call " << fault.call << " fails with " << fault.error
          << (fault.for_good ? " for good" : "") << (fault.power_fails ? ", then the power" : "");
    }
  }
}

std::string name_of(const testing::TestParamInfo<Case>& tested) {
  constexpr std::array kPolicies = {"Block", "Drop", "Close"};
  std::string name(capture::to_string(tested.param.durability));
  std::erase(name, '-');
  return name + kPolicies[static_cast<std::size_t>(tested.param.when_full)];
}

INSTANTIATE_TEST_SUITE_P(LevelsAndPolicies, IoFault,
                         testing::Values(Case{Durability::none, WhenFull::block},
                                         Case{Durability::none, WhenFull::drop},
                                         Case{Durability::none, WhenFull::close},
                                         Case{Durability::interval, WhenFull::block},
                                         Case{Durability::interval, WhenFull::drop},
                                         Case{Durability::interval, WhenFull::close},
                                         Case{Durability::batch, WhenFull::block},
                                         Case{Durability::batch, WhenFull::drop},
                                         Case{Durability::batch, WhenFull::close},
                                         Case{Durability::before_forward, WhenFull::block},
                                         Case{Durability::before_forward, WhenFull::close}),
                         name_of);

}  // namespace
}  // namespace sluice
