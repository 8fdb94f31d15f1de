#pragma once

#include <string>

namespace sluice {

/// A size with a binary unit, for people: "512 bytes", "23.5 GiB".
[[nodiscard]] std::string as_bytes(double bytes);

}  // namespace sluice
