#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "iolib/base/owned_fd.h"
#include "tests/system/load.h"

namespace sluice::test {

/// What clients must see of a configuration: which servers each address leads to. Addresses that
/// are missing refuse.
using Meaning = std::map<std::uint16_t, std::set<std::size_t>>;

/// A configuration that was drawn.
struct DrawnConfig {
  std::string routes;  ///< the file without [defaults]
  Meaning meaning;
  std::set<std::string> captures;  ///< directories
};

/// Draws configurations of a few routes over the same addresses, names and servers, so that routes
/// are renamed, swap their addresses, and come and go.
class ConfigDraw {
 public:
  static constexpr std::size_t kServers = 5;  ///< the last of them is only ever a mirror

  /// `folder`: where captures go.
  ConfigDraw(const EchoServers& servers, std::string folder);

  [[nodiscard]] DrawnConfig valid(std::mt19937_64& random) const;
  /// What a daemon with this configuration refuses: the file is bad, or cannot be bound.
  [[nodiscard]] std::string bad(const DrawnConfig& current, std::mt19937_64& random) const;
  [[nodiscard]] const std::vector<std::uint16_t>& ports() const { return ports_; }

 private:
  [[nodiscard]] std::string route(std::size_t name, const std::vector<std::uint16_t>& listen,
                                  const std::set<std::size_t>& servers, DrawnConfig& drawn,
                                  std::mt19937_64& random) const;

  const EchoServers& servers_;
  const std::string folder_;
  std::vector<std::uint16_t> ports_;
  Listener taken_ = listen_tcp();  ///< an address that nobody else can have
};

/// Which configurations hold at a moment, and whether what clients see fits one of them.
class ReloadModel {
 public:
  explicit ReloadModel(Meaning first) : meanings_{{std::move(first)}} {}

  /// Where a connection goes that stays open.
  using Keep = std::function<void(OwnedFd)>;

  /// From now on, the next one may hold. `breaks`: in a process that is killed, which resets the
  /// clients that it has accepted.
  void begin(Meaning next, bool breaks = false);
  /// It holds, and those before do not; or it never will, and never did.
  void end(bool applied);

  /// Tries the address once. Empty if what it saw can be. `keep` gets the connection, unless it may
  /// break.
  [[nodiscard]] std::string check(std::uint16_t port, std::mt19937_64& random,
                                  const Keep& keep = {});
  [[nodiscard]] const ConnectCounts& counts() const { return counts_; }

 private:
  struct Possible {
    Meaning meaning;
    bool breaks = false;
  };
  struct Range {
    std::size_t first, last;
  };
  [[nodiscard]] Range now() const;
  [[nodiscard]] bool may_break(Range range) const;
  [[nodiscard]] std::string judge(std::uint16_t port, const Attempt& seen, Range range) const;

  mutable std::mutex mutex_;  ///< guards the next two
  std::vector<Possible> meanings_;
  std::size_t holds_ = 0;  ///< the first that can hold; all behind it can hold too
  ConnectCounts counts_;
};

}  // namespace sluice::test
