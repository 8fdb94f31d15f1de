#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "iolib/base/address.h"
#include "iolib/base/clock.h"

namespace sluice {

/// One record of an answer about a name.
struct NameRecord {
  HostPort target = {};  ///< of an SRV record, in lower case; otherwise empty
  std::uint16_t priority = 0;
  std::uint16_t weight = 0;
  /// Where its servers are, with their ports; empty if that is unknown at the moment.
  std::vector<SocketAddress> addresses = {};
  /// Those of this family are unknown, although others are known.
  std::optional<int> unknown_family = {};
  std::string unusable = {};  ///< why addresses are unknown
};

/// A server that a name stands for.
struct NamedServer {
  std::string name;  ///< its address; behind "TARGET/" if it is an SRV record's
  SocketAddress address;
  std::uint32_t weight = 1;  ///< 1 to 256
  bool backup = false;
  friend bool operator==(const NamedServer&, const NamedServer&) = default;
};

/// Hosts of targets, and the families of their addresses.
using KnownFamilies = std::set<std::pair<std::string, int>>;

/// The servers that a name stands for, according to its answers so far. A server that is missing
/// from an answer may still be there: name servers answer with subsets, and caches keep them. So it
/// stays until it has been missing for kLinger.
class NameSet {
 public:
  static constexpr Duration kLinger = std::chrono::seconds(30);
  /// The most servers that are kept, which is more than a route uses.
  static constexpr std::size_t kMost = 16'384;

  /// Takes an answer that came at `now`. An answer without records changes nothing. A record
  /// without addresses keeps those that it has, and so does one without those of a family.
  void take(std::vector<NameRecord> answer, TimePoint now);

  /// In a fixed order, which does not depend on that of the answers. Records of the lowest priority
  /// are the primaries, all others backups. If the weights of either differ, the largest becomes
  /// 256, and the others are in proportion; a weight of 0 beside others is the least that there is.
  [[nodiscard]] std::vector<NamedServer> servers() const;
  [[nodiscard]] bool empty() const { return members_.empty(); }
  /// When the first of the missing servers goes, if the answer is still without it.
  [[nodiscard]] std::optional<TimePoint> next_to_go() const;
  [[nodiscard]] KnownFamilies families() const;
  [[nodiscard]] bool contains(const SocketAddress& address) const {
    return members_.contains(address.to_string());
  }

 private:
  struct Member {
    NameRecord record;  ///< without its addresses
    SocketAddress address;
    std::optional<TimePoint> missing_since;  ///< when the first answer without it came
  };
  using Members = std::map<std::string, Member>;  ///< by address

  std::map<std::string, Member> members_;
};

}  // namespace sluice
