#pragma once

#include <map>
#include <string>

#include "tools/bench/html_model.h"

namespace sluice::bench::html {

/// The looks, by contender.
using Looks = std::map<std::string, Look, std::less<>>;

/// Chooses a look for every contender of the report.
[[nodiscard]] Looks looks_of(const Report& report);

}  // namespace sluice::bench::html
