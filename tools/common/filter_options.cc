#include "tools/common/filter_options.h"

namespace sluice::capture {

CommandOption& add_connection_filter(Command& command, Filter& filter) {
  return command.add_text("--connection", "ID", filter.id,
                          "its id, as `sluice-capture ls` shows it");
}

void add_filter(Command& command, FilterWords& words, Filter& filter, bool to_is_until) {
  constexpr std::uint16_t kMostPorts = 65'535;
  add_connection_filter(command, filter);
  command.add_texts("--peer", "CIDR", words.peers,
                    "the client's or the upstream's address; may be given again");
  command.add_numbers<std::uint16_t>("--port", "PORT", 0, kMostPorts, filter.ports,
                                     "the client's or the upstream's; may be given again");
  command.add_text("--route", "NAME", filter.route, "the route's name");
  command.add_text("--from", "TIME", words.from, "not before, as 2026-11-24T09:30:00Z");
  command.add_text(to_is_until ? "--until,--to" : "--until", "TIME", words.until, "before");
}

void understand_filter(const FilterWords& words, Filter& filter) {
  for (const std::string& peer : words.peers) {
    filter.peers.push_back(value_of("--peer", Cidr::parse(peer)));
  }
  if (!words.from.empty()) filter.from_ns = value_of("--from", parse_time(words.from));
  if (!words.until.empty()) filter.until_ns = value_of("--until", parse_time(words.until));
}

}  // namespace sluice::capture
