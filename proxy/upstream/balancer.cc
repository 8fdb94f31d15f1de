#include "proxy/upstream/balancer.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "iolib/balance/least.h"
#include "iolib/balance/two_choices.h"
#include "iolib/base/hash.h"

namespace sluice {
namespace {

// How often a client's hash is drawn again before any server is taken. With half of the servers
// left, more are needed once in a million times.
constexpr std::uint64_t kRedraws = 20;

// The load identifies a server, whatever its addresses are.
bool is_in(std::span<const ServerRef> list, const Server& server) {
  return std::ranges::any_of(list,
                             [&](const ServerRef& each) { return each->load == server.load; });
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

ServerRef Balancer::pick(std::uint64_t source, std::span<const ServerRef> tried) {
  for (std::size_t tier = 0; tier < turns_.size(); ++tier) {
    const auto found = pick_from(tier, source, tried);
    if (found) return set_->servers[set_->tiers[tier].members[*found]];
  }
  return nullptr;
}

// The index of the picked member of the tier.
std::optional<std::size_t> Balancer::pick_from(std::size_t tier, std::uint64_t source,
                                               std::span<const ServerRef> tried) {
  const std::vector<std::uint32_t>& members = set_->tiers[tier].members;
  const auto server = [&](std::size_t member) -> const Server& {
    return *set_->servers[members[member]];
  };
  const auto skip = [&](std::size_t member) { return is_in(tried, server(member)); };
  const auto active = [&](std::size_t member) {
    return server(member).load->active.load(std::memory_order_relaxed);
  };
  const auto weight = [&](std::size_t member) { return server(member).weight; };
  switch (set_->balance) {
    case Balance::round_robin:
      return turns_[tier].next(skip);
    case Balance::source_hash:
      for (std::uint64_t times = 0; !members.empty() && times < kRedraws; ++times) {
        const std::size_t member = set_->tiers[tier].table->at(finalized(source + times));
        if (!skip(member)) return member;
      }
      [[fallthrough]];
    case Balance::least_connections:
      return balance::least_loaded(members.size(), random_, skip, active, weight);
    case Balance::two_choices:
      break;
  }
  return balance::two_choices(members.size(), random_, skip, active, weight);
}

Duration Balancer::jitter(Duration longest) {
  return Duration(
      static_cast<Duration::rep>(random_.below(static_cast<std::uint64_t>(longest.count()) + 1)));
}

}  // namespace sluice
