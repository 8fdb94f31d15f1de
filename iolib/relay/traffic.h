#pragma once

#include "iolib/base/tally.h"

namespace sluice {

/// What some relays have moved on one thread, in one direction.
struct Moved {
  Tally forwarded_bytes;
  Tally spliced_bytes;  ///< of them: never in user space
};

/// What some relays have moved on one thread, which alone writes it. It has a cache line of its
/// own.
struct alignas(64) Traffic {
  Moved to_upstream;
  Moved to_client;
};

}  // namespace sluice
