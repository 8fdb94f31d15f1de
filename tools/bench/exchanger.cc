#include "tools/bench/exchanger.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace sluice::bench {
namespace {

// The longest wait between two looks at the phase.
constexpr std::uint64_t kNapNs = 50'000'000;

}  // namespace

void ExchangeResults::merge(const ExchangeResults& other) {
  latency.merge(other.latency);
  completed += other.completed;
  unsent += other.unsent;
}

void ExchangeResults::add_unsent(std::uint64_t due, std::uint64_t stop, std::uint64_t interval_ns) {
  for (; due < stop; due += interval_ns) {
    latency.add(stop - due);
    ++unsent;
  }
}

void Exchanger::run() {
  wake_on_time();
  std::uint64_t due = now_ns() + pace_.offset_ns;
  while (control_.phase() != Phase::stop) {
    if (pace_.open_loop() && !wait_until(due)) break;
    const std::uint64_t begin = pace_.open_loop() ? due : now_ns();
    exchange();
    const Phase phase = control_.phase();
    if (phase == Phase::measure) ++results_.completed;
    if (phase != Phase::warmup) results_.latency.add(now_ns() - begin);
    due += pace_.interval_ns;
  }
  if (pace_.open_loop()) results_.add_unsent(due, control_.stop_time(), pace_.interval_ns);
  finish();
}

// Returns false if the run ends before `time`.
bool Exchanger::wait_until(std::uint64_t time) const {
  for (std::uint64_t now = now_ns(); now < time; now = now_ns()) {
    if (control_.phase() == Phase::stop) return false;
    std::this_thread::sleep_for(std::chrono::nanoseconds(std::min(time - now, kNapNs)));
  }
  return true;
}

}  // namespace sluice::bench
