#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::test {

/// One line of the daemon's log as its `key=value` pairs, quotes taken off. Words without `=` are
/// left out.
using LogFields = std::map<std::string, std::string, std::less<>>;
[[nodiscard]] LogFields parse_text_line(std::string_view line);

/// The members of a line that is one JSON object, strings without their quotes and numbers as
/// written in decimal; nothing if the line is not valid JSON.
[[nodiscard]] std::optional<LogFields> parse_json_line(std::string_view line);

/// What the daemon logs when a connection ends. Keys missing in the line are empty or zero.
struct ConnectionEnd {
  std::string id;
  std::string route;
  std::string client;
  std::string upstream;
  std::uint64_t to_upstream = 0;
  std::uint64_t to_client = 0;
  std::uint64_t spliced_to_upstream = 0;
  std::uint64_t spliced_to_client = 0;
  std::string reason;
  std::string line;  ///< as logged, for messages
};
/// All such lines, text or JSON, in their order: the lines that have an id and a reason.
[[nodiscard]] std::vector<ConnectionEnd> connection_ends(std::string_view log);
/// How many clients were turned away for this reason, in text lines: some of these have a count.
/// `limit`: only those of this limit.
[[nodiscard]] std::uint64_t count_rejected(std::string_view log, std::string_view reason,
                                           std::string_view limit = {});

}  // namespace sluice::test
