#include "proxy/config/config_file.h"

#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "iolib/base/text.h"
#include "iolib/base/units.h"
#include "proxy/config/client_lists.h"
#include "proxy/config/listen_set.h"
#include "proxy/config/nearest.h"
#include "proxy/config/whole_file.h"

namespace sluice {
namespace {

using Position = toml::source_position;

// Larger ratios than 1:256 have no use.
constexpr std::int64_t kLargestWeight = 256;
constexpr std::string_view kAllowedWeights = "0 to 256";

/// One key and its value.
struct Entry {
  std::string_view key;
  Position key_position;
  const toml::node* value = nullptr;
};

/// The entries of a table in the order of the file; toml::table sorts them by name.
std::vector<Entry> entries_in_order(const toml::table& table) {
  std::vector<Entry> entries;
  for (auto&& [key, value] : table) {
    entries.push_back({key.str(), key.source().begin, &value});
  }
  std::ranges::sort(entries, {}, [](const Entry& entry) {
    return std::pair(entry.key_position.line, entry.key_position.column);
  });
  return entries;
}

std::string_view type_name(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "table";
    case toml::node_type::array:
      return "array";
    case toml::node_type::string:
      return "string";
    case toml::node_type::integer:
      return "integer";
    case toml::node_type::floating_point:
      return "floating-point number";
    case toml::node_type::boolean:
      return "boolean";
    default:
      return "date or time";
  }
}

/// Builds a Config from a parsed file.
class Reader {
 public:
  Reader(const std::string& path, std::span<const GivenOption> given)
      : path_(path), given_(given) {}

  Result<Config> read(const toml::table& root);

 private:
  void key_error(Position position, std::string_view key, const std::string& text) {
    mistakes_.push_back({position, "key " + in_quotes(key) + ": " + text});
  }
  void wrong_type(const Entry& entry, const toml::node& node, std::string_view expected) {
    key_error(node.source().begin, entry.key,
              "wrong type " + std::string(type_name(node)) + ", expected " + std::string(expected));
  }
  void unknown_key(const Entry& entry, std::span<const std::string_view> known) {
    key_error(entry.key_position, entry.key,
              "unknown key, expected one of " + joined(known) + suggestion(entry.key, known));
  }
  [[nodiscard]] Error all_mistakes();

  void read_defaults(const Entry& entry);
  void read_routes(const Entry& entry);
  void read_route(const Entry& route_entry, const toml::table& table);
  void read_route_key(const Entry& entry, RouteConfig& route);
  void read_name(const Entry& entry, RouteConfig& route);
  using ReadElement = void (Reader::*)(const Entry&, const toml::node&, RouteConfig&);
  void read_each(const Entry& entry, RouteConfig& route, ReadElement read_element);
  void read_listen(const Entry& entry, const toml::node& node, RouteConfig& route);
  void read_target(const Entry& entry, const toml::node& node, RouteConfig& route);
  void read_server_keys(const toml::table& table, ServerConfig& server);
  void read_matches(const Entry& entry, RouteConfig& route);
  void read_match(const toml::table& table, RouteConfig& route);
  [[nodiscard]] bool find_matched_routes();
  void read_repeated(const Entry& entry, const Option& option, RouteConfig& route);
  void read_option(const Entry& entry, const Option& option, RouteConfig& route);
  void check_together();
  void apply_given();
  void check_recording();
  void check_pipes();
  void check_admin();

  struct Mistake {
    Position position;
    std::string text;
  };
  const std::string& path_;
  std::span<const GivenOption> given_;
  std::vector<Mistake> mistakes_;
  Config config_;
  RouteConfig route_defaults_;
  ListenSet listens_;
  std::set<std::string> names_;
  std::vector<Position> route_positions_;
  std::vector<std::optional<Entry>> how_to_record_;  // for each route, its first key about
                                                     // recording
  std::optional<Position> pipe_position_;  // of the later one of pipe-size and pipe-budget
  std::string_view pipe_key_;
  std::optional<Position> admin_position_;
};

Result<Config> Reader::read(const toml::table& root) {
  static constexpr std::string_view kTopKeys[] = {"defaults", "route"};
  const std::vector<Entry> entries = entries_in_order(root);
  for (const Entry& entry : entries) {
    if (entry.key == "defaults" || entry.key == "route") continue;
    if (const Option* option = find_option(entry.key);
        option != nullptr && (option->places & (kInDefaults | kInRoute)) != 0) {
      const bool in_defaults = (option->places & kInDefaults) != 0;
      key_error(entry.key_position, entry.key,
                std::string("outside of any table, expected in ") +
                    (in_defaults ? "[defaults]" : "[[route]]"));
    } else {
      unknown_key(entry, kTopKeys);
    }
  }
  // Read the defaults first, wherever they are: each route starts as a copy of them.
  for (const Entry& entry : entries) {
    if (entry.key == "defaults") read_defaults(entry);
  }
  const bool good_defaults = mistakes_.empty();
  for (const Entry& entry : entries) {
    if (entry.key == "route") read_routes(entry);
  }
  if (config_.routes.empty() && mistakes_.empty()) {
    key_error({1, 1}, "route", "missing, expected at least one [[route]] table");
  }
  // config_ has only the routes without mistakes. Bad defaults could cause further conflicts among
  // them.
  if (good_defaults) check_together();
  if (!mistakes_.empty()) return all_mistakes();
  return std::move(config_);
}

void Reader::check_together() {
  apply_given();
  if (!find_matched_routes()) return;
  check_recording();
  check_pipes();
  check_admin();
  for (const RouteConflict& each : find_route_conflicts(config_)) {
    key_error(route_positions_[each.route], each.option, each.text);
  }
  for (const RouteConflict& each : read_client_lists(config_)) {
    key_error(route_positions_[each.route], each.option, each.text);
  }
}

Error Reader::all_mistakes() {
  std::ranges::stable_sort(mistakes_, {}, [](const Mistake& mistake) {
    return std::pair(mistake.position.line, mistake.position.column);
  });
  std::vector<std::string> lines;
  for (const auto& [position, text] : mistakes_) {
    lines.push_back(path_ + ":" + std::to_string(position.line) + ":" +
                    std::to_string(position.column) + ": " + text);
  }
  return Error{0, listing(lines, path_)};
}

void Reader::read_defaults(const Entry& entry) {
  const toml::table* table = entry.value->as_table();
  if (table == nullptr) return wrong_type(entry, *entry.value, "a [defaults] table");
  for (const Entry& key : entries_in_order(*table)) {
    const Option* option = find_option(key.key);
    if (option == nullptr || (option->places & (kInDefaults | kInRoute)) == 0) {
      unknown_key(key, option_names(kInDefaults));
      continue;
    }
    if ((option->places & kInDefaults) == 0) {
      key_error(key.key_position, key.key, "belongs to one route, expected in [[route]]");
      continue;
    }
    read_option(key, *option, route_defaults_);
    if (key.key == "pipe-size" || key.key == "pipe-budget") {
      pipe_position_ = key.value->source().begin;
      pipe_key_ = option->name;
    }
    if (key.key == "admin") admin_position_ = key.value->source().begin;
  }
}

void Reader::read_routes(const Entry& entry) {
  const toml::array* array = entry.value->as_array();
  if (array == nullptr) return wrong_type(entry, *entry.value, "[[route]] tables");
  for (const toml::node& node : *array) {
    const toml::table* table = node.as_table();
    if (table != nullptr) {
      read_route(entry, *table);
    } else {
      wrong_type(entry, node, "[[route]] tables");
    }
  }
}

void Reader::read_route(const Entry& route_entry, const toml::table& table) {
  RouteConfig route = route_defaults_;
  std::optional<Entry> how_to_record;
  const std::size_t mistakes = mistakes_.size();
  for (const Entry& entry : entries_in_order(table)) {
    read_route_key(entry, route);
    const Option* option = find_option(entry.key);
    if (option != nullptr && tells_how_to_record(*option) && !how_to_record) how_to_record = entry;
  }
  for (const std::string_view key : {"name", "to"}) {
    // A route with matches may have no target of its own.
    if (table.contains(key) || (key == "to" && table.contains("match"))) continue;
    key_error(table.source().begin, key,
              "missing in this " + std::string(route_entry.key) + ", expected a " +
                  (key == "name" ? "name for the log" : "string with an address"));
  }
  if (mistakes_.size() > mistakes) return;
  config_.routes.push_back(std::move(route));
  route_positions_.push_back(table.source().begin);
  how_to_record_.push_back(how_to_record);
}

void Reader::read_route_key(const Entry& entry, RouteConfig& route) {
  if (entry.key == "name") return read_name(entry, route);
  if (entry.key == "listen") return read_each(entry, route, &Reader::read_listen);
  if (entry.key == "to") return read_each(entry, route, &Reader::read_target);
  if (entry.key == "match") return read_matches(entry, route);
  const Option* option = find_option(entry.key);
  if (option == nullptr || (option->places & (kInDefaults | kInRoute)) == 0) {
    std::vector<std::string_view> known = option_names(kInRoute);
    known.emplace_back("match");
    return unknown_key(entry, known);
  }
  if ((option->places & kInRoute) == 0) {
    return key_error(entry.key_position, entry.key,
                     "holds for the whole process, expected in [defaults]");
  }
  return read_option(entry, *option, route);
}

void Reader::read_name(const Entry& entry, RouteConfig& route) {
  const auto name = entry.value->value_exact<std::string>();
  if (!name) return wrong_type(entry, *entry.value, "a string");
  const Position position = entry.value->source().begin;
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  if (name->empty() || name->size() > kLongestRouteNameBytes ||
      !std::ranges::all_of(*name, allowed)) {
    return key_error(position, entry.key,
                     "bad name " + in_quotes(*name) + ", expected 1 to " +
                         std::to_string(kLongestRouteNameBytes) +
                         " letters, digits, '.', '_' and '-'");
  }
  if (!names_.insert(*name).second) {
    return key_error(position, entry.key,
                     in_quotes(*name) + " names two routes, expected another name for each");
  }
  route.name = *name;
}

/// Reads one element, or an array of at least one.
void Reader::read_each(const Entry& entry, RouteConfig& route, ReadElement read_element) {
  const toml::array* array = entry.value->as_array();
  if (array == nullptr) return (this->*read_element)(entry, *entry.value, route);
  if (array->empty()) {
    return key_error(entry.value->source().begin, entry.key,
                     "empty array, expected at least one address");
  }
  for (const toml::node& node : *array) (this->*read_element)(entry, node, route);
}

void Reader::read_listen(const Entry& entry, const toml::node& node, RouteConfig& route) {
  const auto text = node.value_exact<std::string>();
  if (!text) return wrong_type(entry, node, "a string with an address, or an array of them");
  Result<ListenAddress> address = parse_listen_address(*text);
  if (!address) return key_error(node.source().begin, entry.key, address.error().to_string());
  if (!listens_.insert(*address)) {
    return key_error(node.source().begin, entry.key,
                     in_quotes(*text) + " is listened on already, expected each address once");
  }
  route.listen.push_back(*std::move(address));
}

/// Reads an address, or a table with an address and how to use it.
void Reader::read_target(const Entry& entry, const toml::node& node, RouteConfig& route) {
  const toml::table* table = node.as_table();
  ServerConfig server;
  if (table != nullptr) read_server_keys(*table, server);
  const toml::node* text = table == nullptr ? &node : table->get("address");
  if (text == nullptr) {
    return key_error(node.source().begin, "address", "missing, expected a string with an address");
  }
  const auto address_text = text->value_exact<std::string>();
  if (!address_text) {
    return wrong_type(entry, *text, "a string with an address, a table, or an array of them");
  }
  Result<TargetAddress> address = parse_target_address(*address_text);
  if (!address) return key_error(text->source().begin, entry.key, address.error().to_string());
  const toml::node* weight = table == nullptr ? nullptr : table->get("weight");
  if (weight != nullptr && std::holds_alternative<SrvName>(*address)) {
    return key_error(
        weight->source().begin, "weight",
        "given with " + in_quotes(*address_text) + ", whose records have weights, expected none");
  }
  server.address = *std::move(address);
  route.to.push_back(std::move(server));
}

void Reader::read_server_keys(const toml::table& table, ServerConfig& server) {
  static constexpr std::string_view kKeys[] = {"address", "weight", "backup", "connections"};
  for (const Entry& entry : entries_in_order(table)) {
    if (entry.key == "address") continue;
    if (entry.key == "weight") {
      const auto weight = entry.value->value_exact<std::int64_t>();
      if (!weight) {
        wrong_type(entry, *entry.value, "an integer, " + std::string(kAllowedWeights));
      } else if (*weight < 0 || *weight > kLargestWeight) {
        key_error(entry.value->source().begin, entry.key,
                  std::to_string(*weight) + " is out of bounds, expected " +
                      std::string(kAllowedWeights));
      } else {
        server.weight = static_cast<std::uint32_t>(*weight);
      }
    } else if (entry.key == "connections") {
      const Option& option = *find_option("server-connections");
      const auto most = entry.value->value_exact<std::int64_t>();
      if (!most) {
        wrong_type(entry, *entry.value, "an integer, " + allowed_values(option));
      } else if (*most < 0 || static_cast<std::uint64_t>(*most) > option.highest) {
        key_error(entry.value->source().begin, entry.key,
                  std::to_string(*most) + " is out of bounds, expected " + allowed_values(option));
      } else {
        server.connections = static_cast<std::uint64_t>(*most);
      }
    } else if (entry.key == "backup") {
      const auto backup = entry.value->value_exact<bool>();
      if (!backup) wrong_type(entry, *entry.value, "true or false");
      server.backup = backup.value_or(false);
    } else {
      unknown_key(entry, kKeys);
    }
  }
}

void Reader::read_matches(const Entry& entry, RouteConfig& route) {
  const toml::array* array = entry.value->as_array();
  if (array == nullptr) return wrong_type(entry, *entry.value, "[[route.match]] tables");
  if (array->empty()) {
    return key_error(entry.value->source().begin, entry.key,
                     "empty array, expected at least one match");
  }
  for (const toml::node& node : *array) {
    const toml::table* table = node.as_table();
    if (table == nullptr) return wrong_type(entry, node, "[[route.match]] tables");
    read_match(*table, route);
  }
}

void Reader::read_match(const toml::table& table, RouteConfig& route) {
  RouteMatch match;
  for (const Entry& entry : entries_in_order(table)) {
    if (entry.key == "route") {
      const auto name = entry.value->value_exact<std::string>();
      if (!name) wrong_type(entry, *entry.value, "a string with the name of a route");
      match.route = name.value_or("?");
      continue;
    }
    if (std::ranges::find(kConditions, entry.key) == kConditions.end()) {
      std::vector<std::string_view> known(kConditions.begin(), kConditions.end());
      known.emplace_back("route");
      unknown_key(entry, known);
      continue;
    }
    const auto read_one = [&](const toml::node& node) {
      const auto text = node.value_exact<std::string>();
      if (!text) return wrong_type(entry, node, "a string, or an array of them");
      const Result<> done = add_condition(match, entry.key, *text);
      if (!done) key_error(node.source().begin, entry.key, done.error().to_string());
    };
    const toml::array* array = entry.value->as_array();
    if (array == nullptr) {
      read_one(*entry.value);
    } else if (array->empty()) {
      key_error(entry.value->source().begin, entry.key, "empty array, expected at least one value");
    } else {
      for (const toml::node& node : *array) read_one(node);
    }
  }
  if (match.route.empty()) {
    key_error(table.source().begin, "route", "missing in this match, expected the name of a route");
  }
  route.matches.push_back(std::move(match));
}

/// Sets the indices of the routes that matches name. Returns whether all are known: routes with
/// mistakes are not there.
bool Reader::find_matched_routes() {
  std::vector<bool> reached(config_.routes.size());
  bool all_known = true;
  for (std::size_t index = 0; index < config_.routes.size(); ++index) {
    for (RouteMatch& match : config_.routes[index].matches) {
      const auto found = std::ranges::find(config_.routes, match.route, &RouteConfig::name);
      const Position position = route_positions_[index];
      all_known = all_known && found != config_.routes.end() && found->matches.empty();
      if (!names_.contains(match.route)) {
        key_error(position, "match",
                  in_quotes(match.route) + " is no route, expected the name of another route");
      } else if (found == config_.routes.end()) {
        continue;
      } else if (!found->matches.empty()) {
        key_error(position, "match",
                  in_quotes(match.route) + " has matches itself, expected a route without");
      } else {
        match.to_route = static_cast<std::size_t>(found - config_.routes.begin());
        reached[match.to_route] = true;
      }
    }
  }
  if (!mistakes_.empty()) return all_known;
  for (std::size_t index = 0; index < config_.routes.size(); ++index) {
    if (reached[index] || !config_.routes[index].listen.empty()) continue;
    key_error(route_positions_[index], "listen",
              "missing in this route, and no match leads to it, expected one of them");
  }
  return true;
}

/// Replaces the addresses of a repeated option with one address or an array of them.
void Reader::read_repeated(const Entry& entry, const Option& option, RouteConfig& route) {
  clear_option(option, config_, route);
  const auto read_one = [&](const toml::node& node) {
    const auto text = node.value_exact<std::string>();
    const std::string_view what = option.kind == OptionKind::choice   ? "a string"
                                  : option.kind == OptionKind::prefix ? "a string with a block"
                                  : option.kind == OptionKind::name   ? "a string with a name"
                                                                      : "a string with an address";
    if (!text) return wrong_type(entry, node, std::string(what) + ", or an array of them");
    const Result<> done = set_option(option, *text, config_, route);
    if (!done) key_error(node.source().begin, entry.key, done.error().to_string());
  };
  const toml::array* array = entry.value->as_array();
  if (array == nullptr) return read_one(*entry.value);
  for (const toml::node& node : *array) read_one(node);
}

/// The shortest text without an exponent that parses back to `number`.
std::string decimal(double number) {
  std::array<char, 400> text{};
  const auto [end, error] =
      std::to_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  return {text.data(), end};
}

void Reader::read_option(const Entry& entry, const Option& option, RouteConfig& route) {
  if (option.repeated) return read_repeated(entry, option, route);
  const auto string = entry.value->value_exact<std::string>();
  const auto integer = entry.value->value_exact<std::int64_t>();
  const auto number = entry.value->value_exact<double>();
  const bool measured = option.kind == OptionKind::duration || option.kind == OptionKind::size ||
                        option.kind == OptionKind::rate || option.kind == OptionKind::bandwidth;
  const bool fraction = option.kind == OptionKind::fraction;
  if (option.kind == OptionKind::flag) {
    const auto flag = entry.value->value_exact<bool>();
    if (!flag) return wrong_type(entry, *entry.value, "true or false");
    static_cast<void>(set_option(option, *flag ? "true" : "false", config_, route));
    return;
  }
  if (option.kind == OptionKind::count) {
    if (!integer) return wrong_type(entry, *entry.value, "an integer, " + allowed_values(option));
  } else if (fraction ? !string && !integer && !number : !string && !(measured && integer)) {
    if (fraction) return wrong_type(entry, *entry.value, "a number, " + allowed_values(option));
    return wrong_type(entry, *entry.value,
                      "a string" + std::string(measured ? " with a number and a unit" : ""));
  }
  // Treat an integer as text: 0 needs no unit, and 5 gives the error of the missing unit.
  const std::string text = string ? *string : integer ? std::to_string(*integer) : decimal(*number);
  const Result<> done = set_option(option, text, config_, route);
  if (!done) key_error(entry.value->source().begin, entry.key, done.error().to_string());
}

void Reader::apply_given() {
  for (RouteConfig& route : config_.routes) apply_options(given_, config_, route);
}

/// A route that sets how it is recorded must also set a capture. Such keys in [defaults] apply only
/// to recorded routes.
void Reader::check_recording() {
  for (std::size_t index = 0; index < config_.routes.size(); ++index) {
    const std::optional<Entry>& key = how_to_record_[index];
    if (!key || !config_.routes[index].capture.empty()) continue;
    key_error(key->key_position, key->key, "given without capture, expected both in this route");
  }
}

/// Checks the pipe keys of this file only. The caller checks those of the command line.
void Reader::check_pipes() {
  if (!pipe_position_) return;
  const Result<> done = check_pipe_budget(config_);
  if (!done) key_error(*pipe_position_, pipe_key_, done.error().to_string());
}

/// Checks the admin addresses of this file only. The caller checks those of the command line.
void Reader::check_admin() {
  const bool given = std::ranges::any_of(
      given_, [](const GivenOption& each) { return each.option->name == "admin"; });
  if (!admin_position_ || given) return;
  const Result<> done = check_admin_addresses(config_);
  if (!done) key_error(*admin_position_, "admin", done.error().to_string());
}

}  // namespace

Result<Config> load_config_file(const std::string& path, std::span<const GivenOption> given) {
  const Result<std::string> content = read_whole_file(path, kLargestConfigFileBytes);
  if (!content) {
    return Error{0, one_line(path + ":1:1: " + content.error().to_string() +
                             ", expected a readable regular file of at most " +
                             format_size_bytes(kLargestConfigFileBytes))};
  }
  try {
    const toml::table root = toml::parse(*content, path);
    return Reader(path, given).read(root);
  } catch (const toml::parse_error& error) {
    const Position position = error.source().begin;
    return Error{0, one_line(path + ":" + std::to_string(position.line) + ":" +
                             std::to_string(position.column) +
                             ": syntax error: " + std::string(error.description()))};
  }
}

}  // namespace sluice
