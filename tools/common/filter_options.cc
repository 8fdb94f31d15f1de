#include "tools/common/filter_options.h"

namespace sluice::capture {

CLI::Option* add_connection_filter(CLI::App& command, Filter& filter) {
  return command.add_option("--connection", filter.id, "its id, as `sluice-capture ls` shows it")
      ->check([](const std::string& id) { return std::string(id.empty() ? "no id is empty" : ""); })
      ->type_name("ID");
}

void add_filter(CLI::App& command, FilterWords& words, Filter& filter, bool to_is_until) {
  add_connection_filter(command, filter);
  command
      .add_option("--peer", words.peers,
                  "the client's or the upstream's address; may be given again")
      ->allow_extra_args(false)
      ->type_name("CIDR");
  command.add_option("--port", filter.ports, "the client's or the upstream's; may be given again")
      ->allow_extra_args(false)
      ->type_name("PORT");
  command.add_option("--route", filter.route, "the route's name")->type_name("NAME");
  command.add_option("--from", words.from, "not before, as 2026-11-24T09:30:00Z")
      ->type_name("TIME");
  command.add_option(to_is_until ? "--until,--to" : "--until", words.until, "before")
      ->type_name("TIME");
}

void understand_filter(const FilterWords& words, Filter& filter) {
  for (const std::string& peer : words.peers) {
    filter.peers.push_back(value_of("--peer", Cidr::parse(peer)));
  }
  if (!words.from.empty()) filter.from_ns = value_of("--from", parse_time(words.from));
  if (!words.until.empty()) filter.until_ns = value_of("--until", parse_time(words.until));
}

}  // namespace sluice::capture
