#include "tools/common/filter_options.h"

namespace sluice::capture {

CommandOption& add_connection_filter(Command& command, Filter& filter) {
  return command.add_text("--connection", "ID", filter.id,
                          "Select the connection with this id, as sluice-capture ls shows it.");
}

void add_filter(Command& command, FilterWords& words, Filter& filter, bool to_is_until) {
  constexpr std::uint16_t kMostPorts = 65'535;
  add_connection_filter(command, filter);
  command.add_texts("--peer", "CIDR", words.peers,
                    "Select connections whose client or upstream has one of these "
                    "addresses, such as 10.0.0.0/8. Can be repeated.");
  command.add_numbers<std::uint16_t>(
      "--port", "PORT", 0, kMostPorts, filter.ports,
      "Select connections whose client or upstream has this port. Can be "
      "repeated.");
  command.add_text("--route", "NAME", filter.route, "Select connections of this route.");
  command.add_text("--from", "TIME", words.from, "Select what was recorded from this time on.");
  command.add_text(to_is_until ? "--until,--to" : "--until", "TIME", words.until,
                   "Select what was recorded before this time.");
}

void understand_filter(const FilterWords& words, Filter& filter) {
  for (const std::string& peer : words.peers) {
    filter.peers.push_back(value_of("--peer", Cidr::parse(peer)));
  }
  if (!words.from.empty()) filter.from_ns = value_of("--from", parse_time(words.from));
  if (!words.until.empty()) filter.until_ns = value_of("--until", parse_time(words.until));
}

}  // namespace sluice::capture
