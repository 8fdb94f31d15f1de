#pragma once

#include <string>
#include <string_view>

#include "proxy/log/log.h"

namespace sluice::log {

/// `event name=value …`, printable ASCII on one line.
[[nodiscard]] std::string format_text(std::string_view event, Fields fields);
/// The members of a JSON object.
[[nodiscard]] std::string format_json(std::string_view event, Fields fields);
/// An entry of the journal in its native protocol: PRIORITY, MESSAGE with `message` (one line),
/// SYSLOG_IDENTIFIER, SLUICE_EVENT, and SLUICE_<NAME> for each field.
[[nodiscard]] std::string format_journal(LogLevel level, std::string_view message,
                                         std::string_view event, Fields fields);
/// "<N>MESSAGE" of such an entry, which the journal understands on stderr.
[[nodiscard]] std::string line_of_entry(std::string_view entry);

}  // namespace sluice::log
