#pragma once

#include <span>
#include <vector>

#include "iolib/base/error.h"
#include "proxy/names/name_set.h"

namespace sluice {

/// The SRV records of a DNS message, without addresses. Leaves those out whose target cannot be
/// connected to: the root, which means that there is no service, a port 0, and what is no name of a
/// host. A message that is malformed anywhere is an error.
[[nodiscard]] Result<std::vector<NameRecord>> parse_srv_answer(
    std::span<const unsigned char> message);

}  // namespace sluice
