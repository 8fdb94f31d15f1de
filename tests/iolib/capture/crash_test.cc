#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/iolib/capture/capture_model.h"
#include "tests/support/settings.h"

namespace sluice {
namespace {

using capture::Durability;
using capture::WhenFull;
using test::CaptureModel;
using test::Random;

// One run's options, all derived from its seed.
CaptureModel::Options options_of(std::uint64_t seed) {
  Random random(seed);
  constexpr std::array kLevels = {Durability::none, Durability::interval, Durability::batch,
                                  Durability::before_forward};
  const Durability level = kLevels[random() % kLevels.size()];
  CaptureModel::Options options;
  options.seed = seed;
  options.recorder = test::CaptureRig::small_options(level);
  options.recorder.segments.segment_bytes = std::uint64_t{64 << 10} << (random() % 2);
  options.recorder.when_full = static_cast<WhenFull>(random() % 3);
  if (level == Durability::before_forward && options.recorder.when_full == WhenFull::drop) {
    options.recorder.when_full = WhenFull::block;
  }
  options.recorder.segments.sync_interval = std::chrono::milliseconds(20);
  const std::uint64_t mode = random() % 4;
  if (mode == 1 || mode == 3) options.faults_per_mille = 20;
  if (mode >= 2) options.lies_per_mille = 20;
  options.crashes_per_mille = 300;
  if (random() % 3 == 0) {
    options.retention.size_bytes = options.recorder.segments.segment_bytes * (random() % 4);
  }
  return options;
}

struct Sum {
  std::atomic<std::uint64_t> runs{0};
  std::atomic<std::uint64_t> states{0};
  std::atomic<std::uint64_t> damage{0};
  std::atomic<std::uint64_t> confirmed_bytes{0};
  std::atomic<std::uint64_t> deletions{0};
  std::mutex lock;
  std::string problem;  ///< under lock
};

void run_models(std::uint64_t first_seed, std::uint64_t states, Sum& sum) {
  while (sum.states < states) {
    CaptureModel model(options_of(first_seed + sum.runs++));
    static_cast<void>(model.run());
    model.crash();
    sum.states += model.crashes();
    sum.damage += model.damage_found();
    sum.confirmed_bytes += model.confirmed_bytes();
    sum.deletions += model.deletions();
    if (model.problem().empty()) continue;
    const std::lock_guard guard(sum.lock);
    if (sum.problem.empty()) sum.problem = model.problem();
    sum.states += states;
  }
}

// A failure prints the seed of its run. SLUICE_SEED=<seed> makes that run the first one.
TEST(CaptureCrash, WhatWasConfirmedIsReadableAfterEveryPowerCut) {
  const auto states = test::by_scale<std::uint64_t>(500, 100'000, 5'000'000);
  Sum sum;
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] { run_models(test::seed(), states, sum); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(sum.problem, "");
  if (!sum.problem.empty()) return;
  EXPECT_GT(sum.damage, 0U) << "no lie was ever found out";
  EXPECT_GT(sum.confirmed_bytes, 0U);
  EXPECT_GT(sum.deletions, 0U);
  std::cout << sum.states << " crash states in " << sum.runs << " runs; damage found in "
            << sum.damage << "; " << sum.confirmed_bytes << " bytes confirmed\n";
}

}  // namespace
}  // namespace sluice
