#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <iostream>
#include <string>

#include "tests/iolib/capture/capture_model.h"
#include "tests/support/settings.h"

namespace sluice {
namespace {

using capture::Durability;
using capture::WhenFull;
using test::CaptureModel;
using test::Fault;

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
    options.steps = test::by_scale(120U, 120U, 400U);
    return options;
  }
};

// Every call that changes something on the disk fails once, or it and all after it; the power is
// cut at the end of each run, and what had been confirmed must be there.
TEST_P(IoFault, AtEveryCallLosesNothingConfirmedAndTheRecorderCloses) {
  CaptureModel whole(options());
  ASSERT_TRUE(whole.run());
  ASSERT_GT(whole.calls(), 50U);
  constexpr std::array kFaults = {Fault{Fault::Kind::fails, EIO}, Fault{Fault::Kind::fails, ENOSPC},
                                  Fault{Fault::Kind::short_write}};
  std::uint64_t runs = 0;
  // Under a sanitizer, which takes twenty times as long, some of them.
  const auto stride = test::by_scale<std::uint64_t>(9, 1, 1);
  for (std::uint64_t call = 0; call < whole.calls(); call += stride) {
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
