#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/capture/reader.h"

namespace sluice::capture {

/// The place in the capture that an event comes from.
struct At {
  std::size_t chain_index;
  const Chain& chain;
  const ChainReader& reader;
};

/// Called for each event. Returning false ends the walk; an error ends it with this error.
using Visit = std::function<Result<bool>(const Event& event, const At& at)>;

/// How a command uses its stdout.
enum class Stdout : std::uint8_t {
  lines,    ///< text; the command calls clear_progress() before it prints during the walk
  streams,  ///< raw bytes; no progress on stderr if stdout is the same terminal
};

/// Calls `visit` with every event of the capture in `paths`, chain by chain. Shows progress on
/// stderr: on a terminal from the first second on, elsewhere every ten seconds.
[[nodiscard]] Result<> walk(const std::vector<std::string>& paths, const Visit& visit,
                            Stdout use = Stdout::lines);

/// Like walk(), but merges the chains of a run, at most 256 at a time, so that records come in the
/// order of their times. `visit` also gets each chain's `end` event. An event's payload is valid
/// until the next event of its chain.
[[nodiscard]] Result<> walk_by_time(const std::vector<std::string>& paths, const Visit& visit,
                                    Stdout use = Stdout::lines);

/// Erases the progress line on stderr. Call it before printing anything else; the next update shows
/// the line again.
void clear_progress();

/// The pause before a bad tail of a segment is read again, because a writer may still be appending.
inline constexpr std::chrono::milliseconds kRereadDelay{20};

/// The result of a Visit: whether the walk goes on.
[[nodiscard]] inline Result<bool> go_on(bool yes = true) {
  return {boost::system::in_place_value, yes};
}

}  // namespace sluice::capture
