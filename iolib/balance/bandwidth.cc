#include "iolib/balance/bandwidth.h"

#include <algorithm>
#include <mutex>

namespace sluice::balance {
namespace {

constexpr std::uint64_t kBurstsPerSecond = 10;
constexpr std::uint64_t kLeastBurst = 64 << 10;
constexpr std::uint64_t kSlicesPerSecond = 200;
constexpr std::uint64_t kLeastSlice = 4 << 10;
constexpr std::uint64_t kMostSlice = 1 << 20;

std::optional<TokenBucket> bucket_of(std::uint64_t bytes_per_second) {
  if (bytes_per_second == 0) return std::nullopt;
  return TokenBucket(bytes_per_second, burst_of(bytes_per_second));
}

// A stream that could not look in time takes what has gathered, so that it still gets its rate.
std::size_t turn_of(TokenBucket& bucket, std::size_t slice, TimePoint now, std::size_t wanted) {
  return std::min<std::size_t>(wanted, std::max<std::size_t>(slice, bucket.available(now)));
}

}  // namespace

std::uint64_t burst_of(std::uint64_t bytes_per_second) {
  return std::max(kLeastBurst, bytes_per_second / kBurstsPerSecond);
}

std::size_t slice_of(std::uint64_t bytes_per_second) {
  return std::clamp(bytes_per_second / kSlicesPerSecond, kLeastSlice, kMostSlice);
}

void SharedBandwidth::set(std::uint64_t bytes_per_second) {
  const std::scoped_lock guard(lock_);
  if (bytes_per_second == bytes_per_second_) return;
  bytes_per_second_ = bytes_per_second;
  bucket_ = bucket_of(bytes_per_second);
  term_.store(term() + 1, std::memory_order_relaxed);
}

SharedBandwidth::Reservation SharedBandwidth::reserve(TimePoint now, std::size_t wanted) {
  const std::scoped_lock guard(lock_);
  if (!bucket_) return {now, wanted, term()};
  const std::size_t bytes = turn_of(*bucket_, slice_of(bytes_per_second_), now, wanted);
  return {bucket_->reserve(now, bytes), bytes, term()};
}

void SharedBandwidth::charge(TimePoint now, std::size_t bytes) {
  const std::scoped_lock guard(lock_);
  if (bucket_) static_cast<void>(bucket_->reserve(now, bytes));
}

void SharedBandwidth::give_back(std::size_t bytes, std::uint32_t term) {
  const std::scoped_lock guard(lock_);
  if (bucket_ && term == this->term()) bucket_->add(bytes);
}

Throttle::Throttle(std::uint64_t own, SharedBandwidth* shared)
    : shared_(shared), own_(bucket_of(own)), own_slice_(slice_of(own)) {}

Throttle::~Throttle() {
  if (shared_ != nullptr && reserved_ > 0) shared_->give_back(reserved_, term_);
}

std::size_t Throttle::ask(TimePoint now, std::size_t unread) {
  if (unread == 0) return 1;
  if (reserved_ == 0 || is_void()) reserve(now, unread);
  return now < due_ ? 0 : std::min(reserved_, unread);
}

void Throttle::reserve(TimePoint now, std::size_t unread) {
  // What was reserved in an earlier term counts for the stream itself.
  if (own_ && reserved_ > 0) own_->add(reserved_);
  SharedBandwidth::Reservation got{now, unread};
  if (own_) got.bytes = turn_of(*own_, own_slice_, now, unread);
  if (shared_ != nullptr) got = shared_->reserve(now, got.bytes);
  reserved_ = got.bytes;
  due_ = own_ ? std::max(got.due, own_->reserve(now, reserved_)) : got.due;
  term_ = got.term;
}

void Throttle::spend(TimePoint now, std::size_t bytes) {
  const std::size_t left = reserved_ - std::min(reserved_, bytes);
  const std::size_t beyond = bytes - std::min(reserved_, bytes);
  reserved_ = 0;
  if (left > 0) {
    if (own_) own_->add(left);
    if (shared_ != nullptr) shared_->give_back(left, term_);
  }
  if (beyond > 0) {
    if (own_) static_cast<void>(own_->reserve(now, beyond));
    if (shared_ != nullptr) shared_->charge(now, beyond);
  }
}

TimePoint Throttle::next_look(TimePoint now) const {
  if (reserved_ == 0 || now >= due_ || is_void()) return now;
  return shared_ != nullptr ? std::min(due_, now + kLongestPause) : due_;
}

}  // namespace sluice::balance
