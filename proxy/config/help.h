#pragma once

#include <string>

#include "proxy/config/options.h"

namespace sluice {

/// What --help prints: the common options with a line each, examples, and the topics.
[[nodiscard]] std::string short_help();
/// What --help TOPIC prints: the topic's options, each with its unit, default and bounds.
[[nodiscard]] std::string topic_help(Topic topic);
/// The line that is printed if there are no arguments.
[[nodiscard]] std::string usage_line();

}  // namespace sluice
