#include "proxy/upstream/balancer.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "iolib/balance/least.h"
#include "iolib/balance/two_choices.h"
#include "iolib/base/hash.h"
#include "proxy/upstream/ejection.h"

namespace sluice {
namespace {

// The load identifies a server, whatever its addresses are.
bool is_in(std::span<const ServerRef> list, const Server& server) {
  return std::ranges::any_of(list,
                             [&](const ServerRef& each) { return each->load == server.load; });
}

auto unusable_or_tried(std::span<const ServerRef> tried, TimePoint now) {
  return [tried, now](const Server& server) {
    return !is_usable(*server.load, now) || server.is_full() || is_in(tried, server);
  };
}

// An operator is never wrong, and neither is a limit.
auto forbidden_or_tried(std::span<const ServerRef> tried) {
  return [tried](const Server& server) {
    return !server.load->is_allowed() || server.is_full() || is_in(tried, server);
  };
}

// The member for a client; if it is skipped, that for other hashes of the client in turn, so that
// the client always comes to the same one of those that are left.
template <class Skip>
std::optional<std::size_t> by_source(const balance::Maglev* table, std::size_t members,
                                     std::uint64_t source, const Skip& skip) {
  std::size_t left = 0;
  while (left < members && skip(left)) ++left;
  if (left == members) return std::nullopt;
  // Of a server with one in 256 of the weight, one client in 10^7 does not find it.
  constexpr std::uint64_t kDraws = 4'096;
  for (std::uint64_t times = 0; times < kDraws; ++times) {
    const std::size_t member = table->at(finalized(source + times));
    if (!skip(member)) return member;
  }
  return left;
}

}  // namespace

Balancer::Balancer(std::shared_ptr<const ServerSet> set, balance::Random random) : random_(random) {
  use(std::move(set));
}

void Balancer::use(std::shared_ptr<const ServerSet> set) {
  set_ = std::move(set);
  if (set_->balance != Balance::round_robin) return;
  for (std::size_t tier = 0; tier < turns_.size(); ++tier) {
    std::vector<std::uint32_t> weights;
    for (const std::uint32_t member : set_->tiers[tier].members) {
      weights.push_back(set_->servers[member]->weight);
    }
    turns_[tier] = balance::Edf(weights, random_);
  }
}

Balancer::Pick Balancer::pick(std::uint64_t source, std::span<const ServerRef> tried, TimePoint now,
                              Duration trial) {
  const auto excluded = forbidden_or_tried(tried);
  Pick pick = pick_on_trial(set_->balance, source, unusable_or_tried(tried, now), now, trial);
  if (pick.server != nullptr) return pick;
  // Its limit is no reason to try one that is down.
  const bool has_full = std::ranges::any_of(set_->servers, [&](const ServerRef& server) {
    return server->weight > 0 && server->is_full() && is_usable(*server->load, now) &&
           !is_in(tried, *server);
  });
  if (has_full) return {};
  // Checks can be wrong. What connects have found is newer.
  const auto ejected = [&](const Server& server) {
    return is_ejected(*server.load, now) || excluded(server);
  };
  pick = pick_on_trial(set_->balance, source, ejected, now, trial);
  if (pick.server != nullptr) return pick;
  return {pick_if_not(set_->balance, source, excluded), false};
}

bool Balancer::is_full() const {
  return std::ranges::any_of(set_->servers, [](const ServerRef& server) {
    return server->weight > 0 && server->load->is_allowed() && server->is_full();
  });
}

Balancer::Pick Balancer::pick_hedge(std::uint64_t source, std::span<const ServerRef> tried,
                                    TimePoint now, Duration trial) {
  const bool has_turns = set_->balance == Balance::round_robin;
  return pick_on_trial(has_turns ? Balance::two_choices : set_->balance, source,
                       unusable_or_tried(tried, now), now, trial);
}

// Begins a trial if the server needs one.
template <class Skip>
Balancer::Pick Balancer::pick_on_trial(Balance how, std::uint64_t source, const Skip& skip,
                                       TimePoint now, Duration trial) {
  // Each round without a trial means that another worker began one.
  while (ServerRef server = pick_if_not(how, source, skip)) {
    const std::optional<bool> on_trial = begin_trial(*server->load, now, trial);
    if (on_trial) return {std::move(server), *on_trial};
  }
  return {};
}

template <class Skip>
ServerRef Balancer::pick_if_not(Balance how, std::uint64_t source, const Skip& skip) {
  for (std::size_t tier = 0; tier < turns_.size(); ++tier) {
    const auto found = pick_from(tier, how, source, skip);
    if (found) return set_->servers[set_->tiers[tier].members[*found]];
  }
  return nullptr;
}

// The index of the picked member of the tier.
template <class Skip>
std::optional<std::size_t> Balancer::pick_from(std::size_t tier, Balance how, std::uint64_t source,
                                               const Skip& skip_server) {
  const std::vector<std::uint32_t>& members = set_->tiers[tier].members;
  const auto server = [&](std::size_t member) -> const Server& {
    return *set_->servers[members[member]];
  };
  const auto skip = [&](std::size_t member) { return skip_server(server(member)); };
  const auto active = [&](std::size_t member) {
    return server(member).load->active.load(std::memory_order_relaxed);
  };
  const auto weight = [&](std::size_t member) { return server(member).weight; };
  switch (how) {
    case Balance::round_robin:
      return turns_[tier].next(skip);
    case Balance::source_hash:
      return by_source(set_->tiers[tier].table.get(), members.size(), source, skip);
    case Balance::least_connections:
      return balance::least_loaded(members.size(), random_, skip, active, weight);
    case Balance::two_choices:
      break;
  }
  return balance::two_choices(members.size(), random_, skip, active, weight);
}

}  // namespace sluice
