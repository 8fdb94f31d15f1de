#include "tools/replay/gaps.h"

#include <algorithm>
#include <iterator>
#include <limits>

namespace sluice::replay {

std::uint64_t Gaps::without(std::uint64_t at_ns) const {
  const auto later = std::ranges::upper_bound(skips_, at_ns, {}, &Skip::until_ns);
  return later == skips_.begin() ? at_ns : at_ns - std::prev(later)->skipped_ns;
}

void Gaps::skip(std::uint64_t until_ns, std::uint64_t between_runs_ns, std::uint64_t shortened_ns) {
  if (between_runs_ns + shortened_ns == 0) return;
  between_runs_.count += between_runs_ns > 0 ? 1 : 0;
  between_runs_.ns += between_runs_ns;
  shortened_.count += shortened_ns > 0 ? 1 : 0;
  shortened_.ns += shortened_ns;
  skips_.push_back({until_ns, between_runs_.ns + shortened_.ns});
}

// A chain's times come in their order, so that mostly the last span takes the next one.
bool Activity::Span::takes(std::uint64_t at_ns, std::uint64_t longest_gap_ns) {
  const bool after = at_ns > to_ns && at_ns - to_ns > longest_gap_ns;
  const bool before = at_ns < from_ns && from_ns - at_ns > longest_gap_ns;
  if (after || before) return false;
  from_ns = std::min(from_ns, at_ns);
  to_ns = std::max(to_ns, at_ns);
  return true;
}

Result<> Activity::note(std::size_t run, std::uint64_t at_ns) {
  constexpr auto kNever = std::numeric_limits<std::uint64_t>::max();
  if (run >= runs_.size()) runs_.resize(run + 1, Span{kNever, 0});
  runs_[run].from_ns = std::min(runs_[run].from_ns, at_ns);
  runs_[run].to_ns = std::max(runs_[run].to_ns, at_ns);
  const bool same_run = spans_.size() > 0 && run_ == run;
  if (same_run && spans_[spans_.size() - 1].takes(at_ns, longest_gap_ns_)) return {};
  run_ = run;
  return spans_.push_back({at_ns, at_ns});
}

// Runs can overlap.
std::vector<Activity::Span> Activity::between_runs() const {
  std::vector<Span> runs;
  std::ranges::copy_if(runs_, std::back_inserter(runs),
                       [](const Span& run) { return run.from_ns <= run.to_ns; });
  std::ranges::sort(runs, {}, &Span::from_ns);
  std::vector<Span> gaps;
  std::uint64_t reached_ns = runs.empty() ? 0 : runs.front().to_ns;
  for (const Span& run : runs) {
    if (run.from_ns > reached_ns) gaps.push_back({reached_ns, run.from_ns});
    reached_ns = std::max(reached_ns, run.to_ns);
  }
  return gaps;
}

Gaps Activity::gaps() {
  Gaps gaps;
  std::sort(spans_.begin(), spans_.end(),
            [](const Span& a, const Span& b) { return a.from_ns < b.from_ns; });
  const std::vector<Span> empty = between_runs();
  auto next_empty = empty.begin();
  std::uint64_t reached_ns = spans_.size() == 0 ? 0 : spans_[0].to_ns;
  for (const Span& span : spans_) {
    if (span.from_ns > reached_ns) {
      // Each run has times, so there is at most one gap between runs in it.
      std::uint64_t between_ns = 0;
      if (next_empty != empty.end() && next_empty->from_ns >= reached_ns &&
          next_empty->to_ns <= span.from_ns) {
        between_ns = next_empty->to_ns - next_empty->from_ns;
        ++next_empty;
      }
      const std::uint64_t rest_ns = span.from_ns - reached_ns - between_ns;
      gaps.skip(span.from_ns, between_ns, rest_ns - std::min(rest_ns, longest_gap_ns_));
    }
    reached_ns = std::max(reached_ns, span.to_ns);
  }
  return gaps;
}

}  // namespace sluice::replay
