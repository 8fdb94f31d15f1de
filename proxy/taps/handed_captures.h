#pragma once

#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "iolib/json/json.h"

namespace sluice {

/// What a process gives to its successor, so that both can record to the same directories.
struct HandedCaptures {
  struct Lock {
    std::string path;
    OwnedFd lock;  ///< see Directory::inherit()
  };
  std::vector<Lock> locks;          ///< of every directory that the giver has open
  std::vector<std::string> living;  ///< the runs of all processes that may still write: the giver,
                                    ///< and those that it took over from
};

/// Without the descriptors, which go beside it in the order of `locks`.
[[nodiscard]] json::object to_json(const HandedCaptures& captures);
/// The reverse. Takes the locks from the front of `descriptors`. Fails if these are too few.
[[nodiscard]] Result<HandedCaptures> captures_from_json(const json::value& value,
                                                        std::vector<OwnedFd>& descriptors);

}  // namespace sluice
