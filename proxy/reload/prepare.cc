#include "proxy/reload/prepare.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "iolib/base/text.h"
#include "proxy/listen/inherited.h"
#include "proxy/upstream/route.h"

namespace sluice {
namespace {

using Outcome = admin::ReloadResult::Outcome;

PreparedReload refused(std::vector<std::string> errors) {
  return {.result = {.outcome = Outcome::refused, .changes = {}, .errors = std::move(errors)}};
}

// One for each line of what the command line's parser says.
std::vector<std::string> errors_of(std::string_view message) {
  constexpr std::string_view kProgram = "sluice: ";
  std::vector<std::string> errors;
  while (!message.empty()) {
    std::string_view line = message.substr(0, message.find('\n'));
    message.remove_prefix(std::min(line.size() + 1, message.size()));
    if (line.starts_with(kProgram)) line.remove_prefix(kProgram.size());
    if (!line.empty()) errors.emplace_back(line);
  }
  return errors;
}

Invocation parse(const std::vector<std::string>& arguments) {
  std::vector<const char*> argv;
  for (const std::string& each : arguments) argv.push_back(each.c_str());
  return parse_command_line(static_cast<int>(argv.size()), argv.data());
}

Result<ListenSockets> open_added(const ReloadInput& input, const PreparedReload& prepared) {
  std::vector<ListenRequest> wanted;
  for (const OpenAddress& each : prepared.listeners.added) {
    const RouteConfig& route = prepared.config->routes[each.route];
    wanted.push_back({each.address, each.route, each.group, route.congestion, is_sink(route), {}});
  }
  std::vector<TcpPlace> closing;
  for (const ListenSockets::Bound& each : input.bound) {
    const bool closes = std::ranges::find(prepared.listeners.removed, each.group,
                                          &OpenAddress::group) != prepared.listeners.removed.end();
    if (closes && each.place) closing.push_back(*each.place);
  }
  InheritedSockets none;
  return open_listeners(wanted, input.workers, none, closing);
}

PreparedReload failed(PreparedReload prepared, const Error& error) {
  PreparedReload result = refused({error.to_string()});
  result.result.changes = std::move(prepared.result.changes);
  return result;
}

std::string describe_settings(const std::string& directory) {
  return "capture " + in_quotes(directory) + " is still open with other settings";
}

std::string describe(const ConfigDiff::Change& change) {
  const std::string what = change.key.empty() ? "" : change.key;
  if (change.route.empty()) return what;
  return "route " + in_quotes(change.route) + (what.empty() ? "" : ": " + what);
}

}  // namespace

PreparedReload prepare_reload(const ReloadInput& input) {
  Invocation invocation = parse(input.arguments);
  if (invocation.action == Invocation::Action::exit) {
    return refused(errors_of(invocation.message));
  }
  PreparedReload prepared;
  prepared.config = std::make_shared<const Config>(std::move(invocation.config));
  prepared.diff = diff(*input.current, *prepared.config);
  prepared.result.changes = prepared.diff.changes;
  if (prepared.diff.changes.empty()) return prepared;
  // One that closes counts, too, until it is closed.
  for (const std::string& each : input.captures->changed_settings(*prepared.config)) {
    if (prepared.diff.not_hot.empty()) prepared.result.errors.push_back(describe_settings(each));
  }
  if (!prepared.diff.not_hot.empty() || !prepared.result.errors.empty()) {
    prepared.result.outcome = Outcome::needs_takeover;
    for (const ConfigDiff::Change& each : prepared.diff.not_hot) {
      prepared.result.errors.push_back(describe(each) +
                                       ": only a takeover or a restart changes it");
    }
    return prepared;
  }
  prepared.listeners =
      plan_listeners(input.open, *prepared.config, prepared.diff.continues, input.next_group);
  Result<ListenSockets> opened = open_added(input, prepared);
  if (opened.has_error()) return failed(std::move(prepared), opened.error());
  prepared.sockets = *std::move(opened);
  Result<CapturePlan> captures = input.captures->prepare(*prepared.config, input.run);
  if (captures.has_error()) return failed(std::move(prepared), captures.error());
  prepared.captures = *std::move(captures);
  prepared.result.outcome = Outcome::applied;
  return prepared;
}

}  // namespace sluice
