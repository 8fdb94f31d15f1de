#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "iolib/balance/random.h"
#include "iolib/base/clock.h"
#include "proxy/upstream/server_set.h"

namespace sluice {

/// A server that only fails is *ejected*: it gets no connections for a time, unless all others are
/// ejected, too. Then one connection tries it. Only connects count, since what clients do must not
/// eject a server. Any thread may call these functions; they share the server's ServerLoad.
struct EjectionPolicy {
  std::uint64_t after = 5;                   ///< consecutive failed connects; 0: never
  Duration time = std::chrono::seconds(10);  ///< of the first ejection; each further one is twice
                                             ///< as long, up to 5 minutes, give or take a fifth
};

/// Whether it gets no connections at this time.
[[nodiscard]] bool is_ejected(const ServerLoad& load, TimePoint now);
/// Whether it gets connections at this time, as long as any server of its route does: an operator
/// allows it, its health checks have not found it down, and it is not ejected.
[[nodiscard]] bool is_usable(const ServerLoad& load, TimePoint now);
/// "down" if its health checks or an operator took it down, else "drain", "ejected" or "up".
[[nodiscard]] std::string_view state_name(const ServerLoad& load, TimePoint now);
/// The caller is about to connect. True if its connect is the trial of a server whose ejection is
/// over: then it is ejected for all others until the trial is decided, or for `time`. Nothing if
/// another caller was faster: the server is ejected.
[[nodiscard]] std::optional<bool> begin_trial(ServerLoad& load, TimePoint now, Duration time);
/// A connect failed through the server's fault. Returns for how long it is ejected from now on, if
/// this failure ejects it. Never ejects more than half of the servers, more than half of the
/// backups, or the last one that is usable.
[[nodiscard]] std::optional<Duration> note_failure(const ServerSet& set, const Server& server,
                                                   const EjectionPolicy& policy, bool on_trial,
                                                   TimePoint now, balance::Random& random);
/// A trial was cancelled, which decides nothing: the server stays ejected, until `latest` at most.
void end_trial(ServerLoad& load, TimePoint latest);
/// A connect succeeded. True if the server had been ejected and is used again.
[[nodiscard]] bool note_success(ServerLoad& load);

}  // namespace sluice
