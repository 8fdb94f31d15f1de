#include "proxy/names/name_set.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

namespace sluice {
namespace {

constexpr std::uint32_t kHeaviest = 256;

/// The bounds of the weights of one group of records.
struct Weights {
  std::uint16_t least = 0xffff;
  std::uint16_t most = 0;

  void add(std::uint16_t weight) {
    least = std::min(least, weight);
    most = std::max(most, weight);
  }
  [[nodiscard]] std::uint32_t scaled(std::uint16_t weight) const {
    if (least == most) return 1;
    return std::max<std::uint32_t>(1, (weight * kHeaviest + most / 2) / most);
  }
};

std::string name_of(const HostPort& target, const std::string& address) {
  return target.host.empty() ? address : target.host + "/" + address;
}

}  // namespace

void NameSet::take(std::vector<NameRecord> answer, TimePoint now) {
  if (answer.empty()) return;
  // Of several records with the same address, the first in this order counts.
  std::ranges::sort(answer, {}, [](const NameRecord& record) {
    return std::tie(record.priority, record.target.host, record.target.port);
  });
  Members known = std::exchange(members_, {});
  std::map<std::tuple<std::string, std::uint16_t, int>, const NameRecord*> unknown;
  for (NameRecord& record : answer) {
    const std::vector<SocketAddress> addresses = std::exchange(record.addresses, {});
    for (const int family : {AF_INET, AF_INET6}) {
      if (!addresses.empty() && record.unknown_family != family) continue;
      unknown.try_emplace({record.target.host, record.target.port, family}, &record);
    }
    for (const SocketAddress& address : addresses) {
      if (members_.size() == kMost) break;
      members_.try_emplace(address.to_string(), Member{record, address, std::nullopt});
    }
  }
  for (auto& [address, member] : known) {
    const HostPort& target = member.record.target;
    const auto found = unknown.find({target.host, target.port, member.address.family()});
    if (found != unknown.end()) {
      member.record = *found->second;
    } else {
      if (!member.missing_since) member.missing_since = now;
      if (now - *member.missing_since >= kLinger) continue;
    }
    if (members_.size() < kMost) members_.try_emplace(address, std::move(member));
  }
}

std::optional<TimePoint> NameSet::next_to_go() const {
  std::optional<TimePoint> first;
  for (const auto& [address, member] : members_) {
    if (!member.missing_since) continue;
    const TimePoint goes = *member.missing_since + kLinger;
    if (!first || goes < *first) first = goes;
  }
  return first;
}

KnownFamilies NameSet::families() const {
  KnownFamilies families;
  for (const auto& [address, member] : members_) {
    families.emplace(member.record.target.host, member.address.family());
  }
  return families;
}

std::vector<NamedServer> NameSet::servers() const {
  std::uint16_t first = 0xffff;
  for (const auto& [address, member] : members_) first = std::min(first, member.record.priority);
  std::array<Weights, 2> weights;
  const auto is_backup = [first](const Member& member) { return member.record.priority > first; };
  for (const auto& [address, member] : members_) {
    weights.at(is_backup(member) ? 1 : 0).add(member.record.weight);
  }
  std::vector<NamedServer> servers;
  for (const auto& [address, member] : members_) {
    const bool backup = is_backup(member);
    servers.push_back({name_of(member.record.target, address), member.address,
                       weights.at(backup ? 1 : 0).scaled(member.record.weight), backup});
  }
  return servers;
}

}  // namespace sluice
