#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "iolib/capture/leftover.h"
#include "iolib/capture/store.h"

namespace sluice::capture {

struct Store::Chain {
  struct Found {
    Volume::Entry entry;
    SegmentName name;
  };
  std::string run;
  std::vector<Found> segments;
};

Result<std::vector<Store::Chain>> Store::list_chains() {
  Result<std::vector<Volume::Entry>> entries = volume_.list();
  if (entries.has_error()) return entries.error();
  std::map<ChainKey, Chain> found;
  for (Volume::Entry& entry : *entries) {
    std::optional<SegmentName> name = parse_segment_name(entry.name);
    if (!name) continue;
    Chain& chain = found[{name->run, name->worker}];
    chain.run = name->run;
    chain.segments.push_back({std::move(entry), *std::move(name)});
  }
  std::vector<Chain> chains;
  for (auto& [key, chain] : found) {
    std::ranges::sort(chain.segments, {}, [](const auto& each) { return each.name.number; });
    chains.push_back(std::move(chain));
  }
  return chains;
}

// --- What is there already ---

Result<Store::Leftovers> Store::recover(const std::set<std::string>& living) {
  const Result<std::vector<Chain>> chains = list_chains();
  if (chains.has_error()) return chains.error();
  {
    const std::lock_guard guard(lock_);
    for (const std::string& run : living) others_[run] = Other::living;
    others_left_ = others_.size();
  }
  Leftovers leftovers;
  const Time now = clock_();
  for (const Chain& chain : *chains) {
    if (living.contains(chain.run)) {
      count_sealed(chain, now);
    } else if (Result<> taken = take_chain(chain, now, leftovers); taken.has_error()) {
      return taken.error();
    }
  }
  std::erase_if(counted_, [&](const std::string& segment) {
    return !living.contains(chain_of(segment).first);
  });
  sort_by_age(now.boot_ns);
  apply_retention();
  return leftovers;
}

// Counts what is sealed, and seals what a crash left.
Result<> Store::take_chain(const Chain& chain, const Time& now, Leftovers& leftovers) {
  for (const Chain::Found& each : chain.segments) {
    if (each.name.state != SegmentState::open) {
      if (counted_.insert(each.entry.name).second) add_found(each.entry, now);
      continue;
    }
    const bool is_last = &each == &chain.segments.back();
    Result<> sealed = seal_leftover(each.entry, each.name, is_last, leftovers);
    if (sealed.has_error()) return sealed;
    SegmentName name = each.name;
    name.state = SegmentState::sealed;
    counted_.insert(to_string(name));
  }
  return {};
}

// Counts what the living writer of a chain has sealed since the last time. What follows an open
// segment is not deleted before that one, so it does not count yet.
void Store::count_sealed(const Chain& chain, const Time& now) {
  for (const Chain::Found& each : chain.segments) {
    if (each.name.state == SegmentState::open) return;
    if (counted_.insert(each.entry.name).second) add_found(each.entry, now);
  }
}

// `now` is the same for all that are found together: equal times of files must give equal ages.
void Store::add_found(const Volume::Entry& entry, const Time& now) {
  add(entry.name, entry.size_bytes, now.boot_ns - (now.wall_ns - entry.changed_ns));
}

Result<> Store::seal_leftover(const Volume::Entry& entry, SegmentName name, bool is_last,
                              Leftovers& leftovers) {
  Result<int> file = volume_.open_existing(entry.name);
  if (file.has_error()) return file.error();
  // A read error fails: what a bad sector hides must not be taken for the end.
  const Result<std::uint64_t> end = written_end(volume_, *file, entry.size_bytes);
  if (end.has_error()) {
    volume_.close(*file);
    return Error{end.error().code, "read " + entry.name};
  }
  // An empty segment within a chain stays, so that the chain has no hole.
  if (*end == 0 && is_last) {
    volume_.close(*file);
    ++leftovers.empty;
    return volume_.remove(entry.name);
  }
  ++leftovers.sealed;
  // The retention is applied after all segments are known, because they are found in the order of
  // their names.
  return finish(*file, std::move(name), *end);
}

// Sorts the segments by age, so that each chain is deleted from its head, whatever the files' times
// are. A time in the future counts as now.
void Store::sort_by_age(std::int64_t now_ns) {
  const std::lock_guard guard(lock_);
  std::map<ChainKey, std::int64_t> latest;
  for (Sealed& each : sealed_) {
    const auto before = latest.try_emplace(chain_of(each.name), each.sealed_ns).first;
    each.sealed_ns = before->second = std::max(before->second, each.sealed_ns);
  }
  std::ranges::stable_sort(sealed_, {}, &Sealed::sealed_ns);
  for (Sealed& each : sealed_) each.sealed_ns = std::min(each.sealed_ns, now_ns);
}

// --- Other processes ---

void Store::ended(const std::string& run) {
  const std::lock_guard guard(lock_);
  others_[run] = Other::ended;
  others_left_ = others_.size();
}

Result<Store::Leftovers> Store::look_after_others() {
  std::map<std::string, Other> others;
  {
    const std::lock_guard guard(lock_);
    others = others_;
  }
  const Result<std::vector<Chain>> chains = list_chains();
  if (chains.has_error()) return chains.error();
  Leftovers leftovers;
  const Time now = clock_();
  Result<> all_taken;
  std::set<std::string> left;
  for (const Chain& chain : *chains) {
    const auto other = others.find(chain.run);
    if (other == others.end()) continue;
    if (other->second == Other::living) {
      count_sealed(chain, now);
    } else if (Result<> taken = take_chain(chain, now, leftovers); taken.has_error()) {
      left.insert(chain.run);
      if (all_taken.has_value()) all_taken = taken;
    }
  }
  sort_by_age(now.boot_ns);
  apply_retention();
  make_room_for_others();
  const std::lock_guard guard(lock_);
  for (const auto& each : others) {
    const std::string& run = each.first;
    if (each.second != Other::ended || left.contains(run)) continue;
    others_.erase(run);
    std::erase_if(counted_,
                  [&run](const std::string& segment) { return chain_of(segment).first == run; });
  }
  others_left_ = others_.size();
  if (all_taken.has_error()) return all_taken.error();
  return leftovers;
}

}  // namespace sluice::capture
