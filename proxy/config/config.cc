#include "proxy/config/config.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include "iolib/base/arguments.h"
#include "iolib/base/text.h"
#include "proxy/config/client_lists.h"
#include "proxy/config/config_file.h"
#include "proxy/config/help.h"
#include "proxy/config/nearest.h"
#include "proxy/config/options.h"

namespace sluice {
namespace {

constexpr int kExitConfiguration = 1;
constexpr int kExitUsage = 2;

Invocation exit_with(int status, std::string message) {
  Invocation invocation;
  invocation.action = Invocation::Action::exit;
  invocation.exit_status = status;
  invocation.message = std::move(message);
  return invocation;
}

Error option_error(std::string_view name, const std::string& text) {
  return Error{0, "--" + std::string(name) + ": " + text};
}

Error missing_value(const Option& option) {
  const std::string allowed = allowed_values(option);
  return option_error(option.name, "missing value, expected " + std::string(option.value) +
                                       (allowed.empty() ? "" : " (" + allowed + ")"));
}

/// The options of a command line, each value still as text.
class CommandLine {
 public:
  /// Splits the command line. Returns every error that shows before values are parsed.
  std::vector<Error> parse(int argc, const char* const* argv);

  [[nodiscard]] bool has(std::string_view name) const { return given_.contains(name); }
  /// The values of an option, empty if it was not given. A flag has the value "true", as in a file.
  [[nodiscard]] const std::vector<std::string>& values(std::string_view name) const {
    static const std::vector<std::string> none;
    const auto found = given_.find(name);
    return found == given_.end() ? none : found->second;
  }
  [[nodiscard]] std::string value(std::string_view name) const { return values(name).front(); }

 private:
  Result<> take(const Argument& argument);

  std::map<std::string_view, std::vector<std::string>> given_;  ///< by option name
};

/// The option that `argument` names; null if the command line has no such option. "-h" is --help.
const Option* option_of(std::string_view argument) {
  if (argument == "-h") argument = "--help";
  if (!argument.starts_with("--")) return nullptr;
  const Option* option = find_option(argument.substr(2));
  return option != nullptr && (option->places & kOnCommandLine) != 0 ? option : nullptr;
}

Error unknown_option(std::string_view argument) {
  std::string_view name = argument;
  name.remove_prefix(std::min(name.find_first_not_of('-'), name.size()));
  const std::string_view nearest = nearest_name(name, option_names(kOnCommandLine));
  return Error{0, std::string(argument) + ": unknown option" +
                      (nearest.empty() ? ", see sluice --help"
                                       : "; did you mean --" + std::string(nearest) + "?")};
}

std::vector<Error> CommandLine::parse(int argc, const char* const* argv) {
  Arguments arguments(argc, argv);
  const auto takes_value = [](std::string_view name) -> std::optional<ValueUse> {
    const Option* option = option_of(name);
    if (option == nullptr) return {};
    if (option->name == "help") return ValueUse::optional;
    return option->kind == OptionKind::flag ? ValueUse::none : ValueUse::required;
  };
  std::vector<Error> errors;
  while (const std::optional<Argument> argument = arguments.next(takes_value)) {
    // A word after an error can be the value of an unknown option.
    if (argument->kind == Argument::Kind::word && !errors.empty()) continue;
    if (const Result<> taken = take(*argument); taken.has_error()) errors.push_back(taken.error());
  }
  return errors;
}

Result<> CommandLine::take(const Argument& argument) {
  const Option* option = option_of(argument.name);
  switch (argument.kind) {
    case Argument::Kind::word:
      return Error{0,
                   "unexpected argument " + in_quotes(argument.value) + ", expected only options"};
    case Argument::Kind::unknown:
      return unknown_option(argument.name);
    case Argument::Kind::value_missing:
      return missing_value(*option);
    case Argument::Kind::value_unwanted:
      return option_error(option->name, "takes no value, expected nothing after it");
    case Argument::Kind::flag:
    case Argument::Kind::option:
      break;
  }
  std::vector<std::string>& values = given_[option->name];
  if (option->kind == OptionKind::flag) {
    values.assign(1, "true");
  } else if (values.empty() || option->repeated) {
    values.emplace_back(argument.value);
  } else {
    return option_error(option->name, "given twice, expected once");
  }
  return {};
}

/// The given options that set a value, each checked on its own.
std::vector<GivenOption> given_options(const CommandLine& line, std::vector<Error>& errors) {
  std::vector<GivenOption> given;
  Config config;
  RouteConfig route;
  for (const Option& option : options()) {
    if (std::holds_alternative<std::monostate>(option.field) || !line.has(option.name)) continue;
    for (const std::string& text : line.values(option.name)) {
      const Result<> done = set_option(option, text, config, route);
      if (!done) errors.push_back(option_error(option.name, done.error().to_string()));
      given.push_back({&option, text});
    }
  }
  return given;
}

/// Builds the single route of --listen and --to, with all given options.
Config single_route(const CommandLine& line, std::span<const GivenOption> given,
                    std::vector<Error>& errors) {
  Config config;
  RouteConfig route;
  route.name = "default";
  ListenSet listens;
  for (const std::string& text : line.values("listen")) {
    Result<ListenAddress> address = parse_listen_address(text);
    if (!address) {
      errors.push_back(option_error("listen", address.error().to_string()));
    } else if (!listens.insert(*address)) {
      errors.push_back(option_error(
          "listen", in_quotes(text) + " is listened on already, expected each address once"));
    } else {
      route.listen.push_back(*std::move(address));
    }
  }
  for (const std::string& text : line.values("to")) {
    Result<TargetAddress> address = parse_target_address(text);
    if (!address) {
      errors.push_back(option_error("to", address.error().to_string()));
    } else {
      route.to.push_back({*std::move(address)});
    }
  }
  if (!errors.empty()) return config;
  apply_options(given, config, route);
  config.routes.push_back(std::move(route));
  for (const RouteConflict& each : find_route_conflicts(config)) {
    errors.push_back(option_error(each.option, each.text));
  }
  for (const RouteConflict& each : read_client_lists(config)) {
    errors.push_back(option_error(each.option, each.text));
  }
  return config;
}

/// An error if an option says how to record but nothing is recorded.
std::optional<Error> check_capture_options(const CommandLine& line) {
  if (line.has("capture")) return std::nullopt;
  for (const Option& option : options()) {
    if (tells_how_to_record(option) && line.has(option.name)) {
      return option_error(option.name, "given without --capture, expected both");
    }
  }
  return std::nullopt;
}

/// An error if the given options do not fit together, or if one is missing.
std::optional<Error> check_combination(const CommandLine& line) {
  if (line.has("config")) {
    for (const std::string_view name : {"listen", "to"}) {
      if (line.has(name)) {
        return option_error(name, "given with --config, expected only one of them");
      }
    }
    return std::nullopt;
  }
  if (!line.has("listen") && !line.has("to")) {
    return Error{0, "no route, expected --listen ADDR and --to ADDR, or --config FILE"};
  }
  if (!line.has("to")) return option_error("listen", "given without --to, expected both");
  if (!line.has("listen")) return option_error("to", "given without --listen, expected both");
  return check_capture_options(line);
}

/// Finds mirrors that are listeners of this configuration: each connection would make another one.
void find_mirrors_of_itself(const Config& config, const ListenSet& listens,
                            std::vector<RouteConflict>& conflicts) {
  for (std::size_t index = 0; index < config.routes.size(); ++index) {
    for (const TargetAddress& mirror : config.routes[index].mirrors) {
      if (listens.reached_by(mirror).empty()) continue;
      conflicts.push_back({index, "mirror",
                           in_quotes(to_string(mirror)) +
                               " is one of sluice's own listeners, expected another server"});
    }
  }
}

/// Finds routes that lead back to themselves, one for each circle. Stops after enough conflicts for
/// a message.
void find_routes_to_themselves(const Config& config, const ListenSet& listens,
                               std::vector<RouteConflict>& conflicts) {
  std::vector<std::vector<std::size_t>> reached;
  for (const RouteConfig& route : config.routes) {
    std::vector<std::size_t>& routes = reached.emplace_back();
    for (const ServerConfig& server : route.to) {
      const std::vector<std::size_t> further = listens.reached_by(server.address);
      routes.insert(routes.end(), further.begin(), further.end());
    }
    for (const RouteMatch& match : route.matches) routes.push_back(match.to_route);
  }
  while (conflicts.size() <= kMostMistakes) {
    const std::optional<std::size_t> found = find_circle(reached);
    if (!found) return;
    for (const ServerConfig& server : config.routes[*found].to) {
      reached[*found] = listens.reached_by(server.address);
      if (!find_circle(reached)) continue;
      conflicts.push_back({*found, "to",
                           in_quotes(to_string(server.address)) +
                               " leads back to a listener of this route, expected another server"});
    }
    for (const RouteMatch& match : config.routes[*found].matches) {
      reached[*found] = {match.to_route};
      if (!find_circle(reached)) continue;
      conflicts.push_back({*found, "match",
                           "route " + in_quotes(match.route) +
                               " leads back to a listener of this route, expected another server"});
    }
    reached[*found].clear();
  }
}

/// Finds the conflicts among the servers of a route.
void check_servers(const RouteConfig& route, std::size_t index,
                   std::vector<RouteConflict>& conflicts) {
  const auto add = [&](std::string text) { conflicts.push_back({index, "to", std::move(text)}); };
  if (route.to.size() > kMostServers) {
    return add(std::to_string(route.to.size()) + " servers, expected at most " +
               std::to_string(kMostServers));
  }
  std::set<std::string> known;
  bool any_weight = false;
  for (const ServerConfig& server : route.to) {
    const std::string text = to_string(server.address);
    if (!known.insert(text).second) add(in_quotes(text) + " is given twice, expected each once");
    if (route.to.size() > 1 && !is_server(server.address) && !names_servers(server.address)) {
      add(in_quotes(text) + " is one of several targets, expected servers only");
    }
    any_weight = any_weight || server.weight > 0;
  }
  if (!route.to.empty() && route.health == Health::exchange &&
      (!route.health_send || !route.health_expect)) {
    conflicts.push_back({index, "health",
                         "exchange without " +
                             std::string(route.health_send ? "health-expect" : "health-send") +
                             ", expected health-send and health-expect in the file"});
  }
  if (!any_weight && !route.to.empty()) add("all weights are 0, expected one above 0");
  if (route.balance == Balance::least_connections && route.to.size() > kMostLeastConnections) {
    conflicts.push_back({index, "balance",
                         "least-connections with " + std::to_string(route.to.size()) +
                             " servers, expected at most " +
                             std::to_string(kMostLeastConnections)});
  }
}

/// Without it, anybody could claim to be any client.
void check_proxy(const RouteConfig& route, std::size_t index,
                 std::vector<RouteConflict>& conflicts) {
  if (route.proxy_in == ProxyIn::off || !route.proxy_trust.empty()) return;
  conflicts.push_back(
      {index, "proxy-in", "given without proxy-trust, expected both: who may send such headers"});
}

/// Nobody would ever wait.
void check_queue(const RouteConfig& route, std::size_t index,
                 std::vector<RouteConflict>& conflicts) {
  const bool limits_servers =
      route.has_servers() &&
      (route.server_connections > 0 || std::ranges::any_of(route.to, [](const ServerConfig& each) {
         return each.connections > 0;
       }));
  if (route.queue == 0 || route.route_connections > 0 || limits_servers) return;
  conflicts.push_back(
      {index, "queue",
       "given without route-connections or server-connections, expected a limit to wait for"});
}

/// For each route, whether clients of unix sockets reach it: its own, or by a match.
std::vector<bool> reached_from_unix(const Config& config) {
  std::vector<bool> reached(config.routes.size());
  for (std::size_t index = 0; index < config.routes.size(); ++index) {
    const RouteConfig& route = config.routes[index];
    const bool is_unix = std::ranges::any_of(route.listen, [](const ListenAddress& address) {
      return std::holds_alternative<UnixEndpoint>(address);
    });
    if (!is_unix) continue;
    reached[index] = true;
    for (const RouteMatch& match : route.matches) reached[match.to_route] = true;
  }
  return reached;
}

/// Finds the conflicts between what a route records or mirrors and its addresses.
void check_route(const RouteConfig& route, std::size_t index, bool is_unix,
                 std::vector<RouteConflict>& conflicts) {
  const auto add = [&](std::string_view option, std::string text) {
    conflicts.push_back({index, option, std::move(text)});
  };
  const bool is_file = std::holds_alternative<FileEndpoint>(route.target());
  const bool is_discard = std::holds_alternative<DiscardEndpoint>(route.target());
  if (!route.mirrors.empty() && is_file) {
    add("mirror", "given with " + to_string(route.target()) +
                      ", which takes nothing from its clients, expected a server, "
                      "discard: or echo:");
  }
  if (route.capture.empty()) return;
  if (is_unix && is_discard) {
    add("listen",
        "a unix socket with discard: and capture, which cannot report a loss to its client, "
        "expected TCP addresses");
  }
  if (is_discard && !route.capture_enabled) {
    add("capture-enabled",
        "false with discard: and capture, which confirms to its clients what is durable, expected "
        "true");
  }
  const bool answers = !is_discard && !std::holds_alternative<EchoEndpoint>(route.target());
  if (!answers && route.capture_direction == CaptureDirection::upstream) {
    add("capture-direction", "upstream with " + to_string(route.target()) +
                                 ", which sends nothing of its own, expected both or client");
  }
  if (is_file && route.capture_direction == CaptureDirection::client) {
    add("capture-direction", "client with " + to_string(route.target()) +
                                 ", to which nothing is forwarded, expected both or upstream");
  }
  if (route.durability == capture::Durability::before_forward &&
      route.capture_full == CaptureFull::drop) {
    add("capture-full", "drop with before-forward, expected auto, block or close");
  }
}

/// Finds routes that share a capture directory but differ in its settings.
void check_shared_captures(const Config& config, std::vector<RouteConflict>& conflicts) {
  std::map<std::string_view, const RouteConfig*> first;
  for (std::size_t index = 0; index < config.routes.size(); ++index) {
    const RouteConfig& route = config.routes[index];
    if (route.capture.empty()) continue;
    const RouteConfig* other = first.try_emplace(route.capture, &route).first->second;
    const CaptureConfig& one = *other;
    if (one == route) continue;
    conflicts.push_back({index, "capture",
                         in_quotes(route.capture) + " is also the directory of route " +
                             in_quotes(other->name) +
                             ", expected the same capture settings for both"});
  }
}

Invocation usage_error(std::span<const Error> errors) {
  std::vector<std::string> lines;
  for (const Error& each : errors) lines.push_back("sluice: " + each.to_string());
  return exit_with(kExitUsage, listing(lines, "sluice") + "\n");
}

Invocation help(std::string_view topic) {
  if (topic.empty()) return exit_with(0, short_help());
  const Option& option = *find_option("help");
  const auto found = std::ranges::find(option.choices, topic);
  if (found != option.choices.end()) {
    return exit_with(0, topic_help(static_cast<Topic>(found - option.choices.begin())));
  }
  const Error unknown =
      option_error(option.name, "unknown topic " + in_quotes(topic) + ": expected " +
                                    allowed_values(option) + suggestion(topic, option.choices));
  return usage_error({&unknown, 1});
}

}  // namespace

ListenSet listeners_of(const Config& config) {
  ListenSet listens;
  for (std::size_t index = 0; index < config.routes.size(); ++index) {
    for (const ListenAddress& address : config.routes[index].listen) {
      static_cast<void>(listens.insert(address, index));
    }
  }
  return listens;
}

// A depth-first search from each route.
std::optional<std::size_t> find_circle(std::vector<std::vector<std::size_t>> reached) {
  enum class Seen : std::uint8_t { not_yet, on_the_way, done };
  struct Step {
    std::size_t route;
    std::vector<std::size_t> next;
  };
  std::vector<Seen> seen(reached.size());
  std::vector<Step> way;
  const auto enter = [&](std::size_t route) {
    seen[route] = Seen::on_the_way;
    way.push_back({route, std::move(reached[route])});
  };
  for (std::size_t first = 0; first < reached.size(); ++first) {
    if (seen[first] == Seen::not_yet) enter(first);
    while (!way.empty()) {
      auto& [route, next] = way.back();
      if (next.empty()) {
        seen[route] = Seen::done;
        way.pop_back();
        continue;
      }
      const std::size_t to = next.back();
      next.pop_back();
      if (seen[to] == Seen::on_the_way) return to;
      if (seen[to] == Seen::not_yet) enter(to);
    }
  }
  return std::nullopt;
}

bool records(const Config& config) {
  return std::ranges::any_of(config.routes,
                             [](const RouteConfig& route) { return !route.capture.empty(); });
}

std::vector<RouteConflict> find_route_conflicts(const Config& config) {
  std::vector<RouteConflict> conflicts;
  const ListenSet listens = listeners_of(config);
  find_routes_to_themselves(config, listens, conflicts);
  find_mirrors_of_itself(config, listens, conflicts);
  const std::vector<bool> from_unix = reached_from_unix(config);
  for (std::size_t index = 0; index < config.routes.size(); ++index) {
    check_servers(config.routes[index], index, conflicts);
    check_proxy(config.routes[index], index, conflicts);
    check_queue(config.routes[index], index, conflicts);
    check_route(config.routes[index], index, from_unix[index], conflicts);
  }
  check_shared_captures(config, conflicts);
  return conflicts;
}

Invocation parse_command_line(int argc, const char* const* argv) {
  if (argc <= 1) return exit_with(kExitUsage, usage_line() + "\n");
  CommandLine line;
  std::vector<Error> errors = line.parse(argc, argv);
  if (!errors.empty()) return usage_error(errors);
  if (line.has("help")) return help(line.value("help"));
  if (line.has("version")) return exit_with(0, "sluice " SLUICE_VERSION "\n");
  if (const auto error = check_combination(line)) return usage_error({&*error, 1});
  const std::vector<GivenOption> given = given_options(line, errors);
  Config config;
  if (!line.has("config")) {
    config = single_route(line, given, errors);
  } else if (errors.empty()) {
    Result<Config> loaded = load_config_file(line.value("config"), given);
    if (!loaded) return exit_with(kExitConfiguration, loaded.error().to_string() + "\n");
    config = *std::move(loaded);
  }
  if (!errors.empty()) return usage_error(errors);
  // load_config_file() has checked what a file says about pipes, and reports its line.
  if (const Result<> fits = check_pipe_budget(config); !fits) {
    const std::string_view blamed = line.has("pipe-budget") ? "pipe-budget" : "pipe-size";
    const Error error = option_error(blamed, fits.error().to_string());
    return usage_error({&error, 1});
  }
  if (const Result<> apart = check_admin_addresses(config); !apart) {
    const Error error = option_error("admin", apart.error().to_string());
    return usage_error({&error, 1});
  }
  if (line.has("takeover") && config.takeover_socket.empty()) {
    const Error error =
        option_error("takeover", "given without takeover-socket, expected both: where to ask");
    return usage_error({&error, 1});
  }
  Invocation invocation;
  invocation.takes_over = line.has("takeover");
  if (line.has("check")) invocation.action = Invocation::Action::check;
  invocation.config = std::move(config);
  if (line.has("config")) invocation.config_file = line.value("config");
  return invocation;
}

}  // namespace sluice
