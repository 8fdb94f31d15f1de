#pragma once

#include <string>
#include <vector>

#include "iolib/capture/filter.h"
#include "tools/common/command_line.h"

namespace sluice::capture {

/// The text of a Filter's options that understand_filter() parses.
struct FilterWords {
  std::string from, until;
  std::vector<std::string> peers;
};

/// Adds --connection. `filter` must outlive the parsing.
CommandOption& add_connection_filter(Command& command, Filter& filter);

/// Adds --connection, --peer, --port, --route, --from and --until. `words` and `filter` must
/// outlive the parsing. `to_is_until`: --to is another name for --until.
void add_filter(Command& command, FilterWords& words, Filter& filter, bool to_is_until = true);

/// Parses `words` into `filter`. Throws Wrong.
void understand_filter(const FilterWords& words, Filter& filter);

}  // namespace sluice::capture
