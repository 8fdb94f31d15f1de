#include "proxy/log/repeated.h"

#include <algorithm>
#include <mutex>
#include <utility>

namespace sluice {
namespace {

constexpr int kGrowth = 6;

}  // namespace

std::optional<std::uint64_t> Repeated::happened(TimePoint now, std::uint64_t times) {
  const std::lock_guard guard(lock_);
  unlogged_ += times;
  since_end_ += times;
  const bool fresh = now - std::exchange(last_, now) >= kQuiet;
  if (fresh) pause_ = kFirstPause;
  if (!fresh && now < next_line_) return std::nullopt;
  next_line_ = now + pause_;
  pause_ = std::min(kGrowth * pause_, kLongestPause);
  logged_ = true;
  return std::exchange(unlogged_, 0);
}

std::optional<std::uint64_t> Repeated::ended(TimePoint now, Duration calm) {
  const std::lock_guard guard(lock_);
  if (!logged_ || now - last_ < calm) return std::nullopt;
  logged_ = false;
  unlogged_ = 0;
  return std::exchange(since_end_, 0);
}

bool EverySecond::happened(TimePoint now) {
  const std::lock_guard guard(lock_);
  if (unlogged_ > 0 || now < next_line_) {
    ++unlogged_;
    return false;
  }
  next_line_ = now + kPause;
  return true;
}

std::optional<std::uint64_t> EverySecond::due(TimePoint now) {
  const std::lock_guard guard(lock_);
  if (unlogged_ == 0 || now < next_line_) return std::nullopt;
  next_line_ = now + kPause;
  return std::exchange(unlogged_, 0);
}

bool EverySecond::is_pending() {
  const std::lock_guard guard(lock_);
  return unlogged_ > 0;
}

}  // namespace sluice
