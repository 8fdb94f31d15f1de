#include "iolib/capture/store.h"

#include <time.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "iolib/base/aligned_buffer.h"
#include "iolib/base/units.h"

namespace sluice::capture {
namespace {

constexpr std::uint64_t kZeroedPartBytes = 1 << 20;

std::int64_t read_clock(clockid_t clock) {
  timespec now{};
  static_cast<void>(::clock_gettime(clock, &now));
  return now.tv_sec * std::int64_t{1'000'000'000} + now.tv_nsec;
}

bool is_full(const Error& error) { return error.code == ENOSPC || error.code == EDQUOT; }

// After a remove or rename: whether the old name may still exist. ENOENT means that an earlier try,
// or somebody else, removed or renamed it.
bool still_there(const Result<>& done) { return done.has_error() && done.error().code != ENOENT; }

}  // namespace

Store::ChainKey Store::chain_of(const std::string& segment) {
  SegmentName name = *parse_segment_name(segment);
  return {std::move(name.run), name.worker};
}

Store::Time Store::now() { return {read_clock(CLOCK_REALTIME), read_clock(CLOCK_BOOTTIME)}; }

// Calls `call`, which needs `size_bytes` of the disk. If the disk is full, deletes old segments one
// by one and tries again, as long as that can help. One thread at a time, so that none takes the
// space that another one has freed.
template <class Call>
auto Store::with_room(std::uint64_t size_bytes, Call call) {
  auto done = call();
  if (done.has_value() || !is_full(done.error())) return done;
  const std::lock_guard guard(making_room_);
  take_back();
  do {
    done = call();
  } while (done.has_error() && is_full(done.error()) && make_room(size_bytes));
  if (done.has_value()) freed_from_.reset();
  return done;
}

// Others apply no retention, so on a full disk they wait for room: here is some for a segment.
void Store::make_room_for_others() {
  static_cast<void>(with_room(2 * kSmallestBytes, [this]() -> Result<> {
    const Result<std::uint64_t> free = volume_.free_bytes();
    if (free.has_error() || *free >= 2 * kSmallestBytes) return {};
    return Error{ENOSPC, "others"};
  }));
}

// Adds an ended segment to those that may be deleted, whatever its name, durable or not. Without
// it, the segments after it would be deleted, and it would stand before a hole.
void Store::add(const std::string& name, std::uint64_t size_bytes, std::int64_t sealed_ns) {
  const std::lock_guard guard(lock_);
  sealed_.push_back({name, size_bytes, sealed_ns, false});
  sealed_bytes_ += size_bytes;
}

// Deletes the oldest segment. Does not do so if the disk would be too full even without all old
// segments, or if the previous deletion freed nothing: a snapshot keeps its blocks, or others use
// whatever becomes free.
bool Store::make_room(std::uint64_t size_bytes) {
  if (!deletes()) return false;
  const Result<std::uint64_t> told = volume_.free_bytes();
  if (told.has_error() && told.error().code != ENODATA) return false;
  const std::uint64_t free = told.has_value() ? *told : 0;
  if (freed_from_ && free <= *freed_from_) return false;
  freed_from_ = free;
  {
    const std::lock_guard guard(lock_);
    if (free + sealed_bytes_ < size_bytes) return false;
  }
  return delete_oldest(Reason::room);
}

Result<> Store::fill_with_zeros(int file, std::uint64_t size_bytes, bool at_once,
                                const std::atomic<bool>& stop) {
  Result<AlignedBuffer> zeros = AlignedBuffer::allocate(kZeroedPartBytes);
  if (zeros.has_error()) return zeros.error();
  const TimePoint began = Clock::now();
  for (std::uint64_t offset = 0; offset < size_bytes; offset += kZeroedPartBytes) {
    if (stop) return Error{ECANCELED, "fill a segment with zeros"};
    const std::uint64_t part = std::min<std::uint64_t>(kZeroedPartBytes, size_bytes - offset);
    if (Result<> written = volume_.write(file, zeros->bytes().first(part), offset);
        written.has_error()) {
      return written;
    }
    const std::chrono::duration<double> due(static_cast<double>(offset + part) /
                                            static_cast<double>(zeroing_rate_));
    if (!at_once) std::this_thread::sleep_until(began + std::chrono::duration_cast<Duration>(due));
  }
  return {};
}

// The space that one new segment may take: half of the free space. If old segments can be deleted,
// at least an eighth of the free space and the old segments, so that new segments do not become
// smaller and smaller.
std::uint64_t Store::share_bytes() {
  const Result<std::uint64_t> free = volume_.free_bytes();
  if (free.has_error()) return ~std::uint64_t{0};
  const std::lock_guard guard(lock_);
  return std::max(*free / 2, deletes() ? (*free + sealed_bytes_) / 8 : 0);
}

// Allocates the largest possible size: `most_bytes`, a half of it, a quarter, and so on.
Result<std::uint64_t> Store::allocate(int file, std::uint64_t most_bytes) {
  const std::uint64_t least = std::min(most_bytes, kSmallestBytes);
  const auto half = [least](std::uint64_t size) {
    return std::max(least, size / 2 / kMaxFrameBytes * kMaxFrameBytes);
  };
  const std::uint64_t share = share_bytes();
  std::uint64_t size = most_bytes;
  while (size > least && size > share) size = half(size);
  for (;; size = half(size)) {
    const Result<> done = with_room(size, [&] { return volume_.preallocate(file, size); });
    if (done.has_value()) break;
    const bool smaller_may_do = is_full(done.error()) || done.error().code == EFBIG;
    if (size == least || !smaller_may_do) return done.error();
  }
  const bool smaller = size < most_bytes;
  if (!smaller_told_.exchange(smaller) && smaller && on_smaller_) on_smaller_(most_bytes, size);
  return {boost::system::in_place_value, size};
}

Result<Store::NewSegment> Store::make(const SegmentName& name, std::uint64_t most_bytes,
                                      Contents contents, const std::atomic<bool>& stop) {
  const std::string text = to_string(name);
  if (Result<> free = remove_undiscarded(text); free.has_error()) return free.error();
  Result<int> file = with_room(0, [&] { return volume_.create(text); });
  if (file.has_error()) return file.error();
  const Result<std::uint64_t> size = allocate(*file, most_bytes);
  Result<> ready;
  if (size.has_error()) ready = size.error();
  if (ready.has_value() && contents == Contents::zeroed) {
    ready = fill_with_zeros(*file, *size, name.number == 0, stop);
  }
  if (ready.has_value()) ready = volume_.sync(*file);
  if (ready.has_value()) ready = volume_.sync_names();
  if (ready.has_value()) return NewSegment{*file, *size};
  discard(*file, name);
  return ready.error();
}

Result<Store::NewSegment> Store::create(const SegmentName& name, std::uint64_t most_bytes,
                                        Contents contents, const std::atomic<bool>& stop) {
  Result<NewSegment> made = make(name, most_bytes, contents, stop);
  if (made.has_value()) return made;
  std::string context = "segment " + to_string(name) + " of " + format_size_bytes(most_bytes);
  const Result<std::uint64_t> free = volume_.free_bytes();
  if (free.has_value()) context += ", " + format_size_bytes(*free) + " free";
  return Error{made.error().code, context + ": " + made.error().context};
}

Result<> Store::seal(int file, SegmentName name, std::uint64_t size_bytes) {
  Result<> sealed = finish(file, std::move(name), size_bytes);
  if (sealed.has_value()) apply_retention();
  return sealed;
}

Result<> Store::finish(int file, SegmentName name, std::uint64_t size_bytes) {
  const std::string from = to_string(name);
  Result<> done = volume_.sync(file);
  if (done.has_value()) done = volume_.truncate(file, size_bytes);
  if (done.has_value()) done = volume_.sync(file);
  if (done.has_error()) {
    static_cast<void>(abandon(file, std::move(name), size_bytes));
    return done;
  }
  volume_.close(file);
  name.state = SegmentState::sealed;
  done = volume_.rename(from, to_string(name));
  add(done.has_value() ? to_string(name) : from, size_bytes, clock_().boot_ns);
  if (done.has_value()) done = volume_.sync_names();
  return done;
}

Result<> Store::abandon(int& file, SegmentName name, std::uint64_t size_bytes) {
  const std::string from = to_string(name);
  name.state = SegmentState::suspect;
  if (file >= 0) {
    // The next segment needs the space. A failure only wastes space.
    static_cast<void>(volume_.truncate(file, size_bytes));
    volume_.close(std::exchange(file, -1));
    add(from, size_bytes, clock_().boot_ns);
  }
  {
    // Holds off deletions: one that has the old name must not look for it now.
    const std::lock_guard deleting(deleting_);
    const Result<> renamed = volume_.rename(from, to_string(name));
    if (still_there(renamed)) return renamed;
    renamed_to(from, to_string(name));
  }
  return volume_.sync_names();
}

void Store::renamed_to(const std::string& from, const std::string& to) {
  const std::lock_guard guard(lock_);
  for (Sealed& each : sealed_) {
    if (each.name == from) each.name = to;
  }
  for (Sealed& each : set_aside_) {
    if (each.name == from) each.name = to;
  }
}

void Store::discard(int file, const SegmentName& name) {
  volume_.close(file);
  const std::string text = to_string(name);
  const Result<> removed = volume_.remove(text);
  if (!still_there(removed)) return;
  const std::lock_guard guard(lock_);
  undiscarded_.insert(text);
}

// Removes a prepared segment that could not be removed before. Its chain must not continue after
// it: it is in no list, and would stay when the segments around it are deleted.
Result<> Store::remove_undiscarded(const std::string& name) {
  {
    const std::lock_guard guard(lock_);
    if (!undiscarded_.contains(name)) return {};
  }
  Result<> removed = volume_.remove(name);
  if (still_there(removed)) return removed;
  const std::lock_guard guard(lock_);
  undiscarded_.erase(name);
  return {};
}

void Store::apply_retention() {
  if (!deletes()) return;
  take_back();
  for (auto reason = exceeds_retention(); reason && delete_oldest(*reason);) {
    reason = exceeds_retention();
  }
}

std::optional<Store::Reason> Store::exceeds_retention() {
  const std::lock_guard guard(lock_);
  if (sealed_.empty()) return std::nullopt;
  if (retention_.size_bytes != 0 && sealed_bytes_ > retention_.size_bytes) return Reason::size;
  const auto age = std::chrono::nanoseconds(clock_().boot_ns - sealed_.front().sealed_ns);
  if (retention_.age != Duration::zero() && age > retention_.age) return Reason::age;
  return std::nullopt;
}

// Segments that could not be deleted are tried again, first of all.
void Store::take_back() {
  const std::lock_guard guard(lock_);
  for (; !set_aside_.empty(); set_aside_.pop_back()) {
    sealed_bytes_ += set_aside_.back().size_bytes;
    sealed_.push_front(std::move(set_aside_.back()));
  }
}

// Sets aside a segment that cannot be deleted, so that other chains can still be deleted. The later
// segments of its own chain are set aside too, because a chain must have no hole.
void Store::set_aside(Sealed segment) {
  const ChainKey chain = chain_of(segment.name);
  const std::lock_guard guard(lock_);
  set_aside_.push_back(std::move(segment));
  // clang 14 does not take libstdc++'s std::ranges::stable_partition().
  const auto behind =
      std::stable_partition(sealed_.begin(), sealed_.end(),
                            [&](const Sealed& each) { return chain_of(each.name) != chain; });
  for (auto each = behind; each != sealed_.end(); ++each) {
    sealed_bytes_ -= each->size_bytes;
    set_aside_.push_back(std::move(*each));
  }
  sealed_.erase(behind, sealed_.end());
}

// Deletes the oldest segment. Returns false if there is none. A segment that cannot be deleted is
// set aside until the next time. Each deletion is durable before the next one begins: otherwise,
// after a power failure, an old segment could be back while a later one is gone.
bool Store::delete_oldest(Reason reason) {
  const std::lock_guard deleting(deleting_);
  if (deletion_pending_ && volume_.sync_names().has_error()) return false;
  deletion_pending_ = false;
  Sealed oldest;
  {
    const std::lock_guard guard(lock_);
    if (sealed_.empty()) return false;
    oldest = std::move(sealed_.front());
    sealed_.pop_front();
    sealed_bytes_ -= oldest.size_bytes;
  }
  const Result<> removed = volume_.remove(oldest.name);
  const bool failed = still_there(removed);
  const bool news = failed ? !std::exchange(oldest.told, true) : removed.has_value();
  if (failed) {
    if (news) ++counters_.deletions_failed;
    set_aside(oldest);
  } else {
    ++counters_.segments_deleted;
    deletion_pending_ = true;
  }
  if (news && on_deletion_) {
    on_deletion_({oldest.name, oldest.size_bytes, reason,
                  failed ? std::optional(removed.error()) : std::nullopt});
  }
  return true;
}

}  // namespace sluice::capture
