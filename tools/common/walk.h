#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/capture/reader.h"

namespace sluice::capture {

/// Where an event comes from.
struct At {
  std::size_t chain_index;
  const Chain& chain;
  const ChainReader& reader;
};

/// Whether to go on; an error ends the walk.
using Visit = std::function<Result<bool>(const Event& event, const At& at)>;

/// How a command uses its stdout.
enum class Stdout : std::uint8_t {
  lines,    ///< it calls clear_progress() before each, or writes none before the walk ends
  streams,  ///< on a terminal there is no room for anything else
};

/// Shows every event of the capture in `paths` to `visit`, chain by chain. Says on stderr
/// how far it is: on a terminal once that has taken a second, elsewhere each ten seconds.
[[nodiscard]] Result<> walk(const std::vector<std::string>& paths, const Visit& visit,
                            Stdout use = Stdout::lines);

/// The same, but of one run's chains, 256 at most, the records come in the order of their times,
/// and each chain's `end` is shown too. A payload is valid until its chain's next event.
[[nodiscard]] Result<> walk_by_time(const std::vector<std::string>& paths, const Visit& visit,
                                    Stdout use = Stdout::lines);

/// Takes the progress away, until it is shown again: a line of something else may follow.
void clear_progress();

/// How long a bad tail of a segment that may be being written is given before it is read again.
inline constexpr std::chrono::milliseconds kRereadDelay{20};

[[nodiscard]] inline Result<bool> go_on(bool yes = true) {
  return {boost::system::in_place_value, yes};
}

}  // namespace sluice::capture
