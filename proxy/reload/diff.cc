#include "proxy/reload/diff.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "proxy/config/option_text.h"
#include "proxy/config/options.h"

namespace sluice {
namespace {

using Change = ConfigDiff::Change;

// The keys of the process that a running one can change.
constexpr std::string_view kHotKeys[] = {"log-level", "drain-timeout", "lame-duck",
                                         "max-connections"};
// Whether an option says how its capture directory is written, for all routes that share it.
bool is_of_directory(std::string_view key) {
  constexpr std::string_view kKeys[] = {
      "durability",    "capture-full", "capture-exact", "capture-io",  "flush-interval",
      "sync-interval", "segment-size", "segment-time",  "retain-size", "retain-age"};
  return std::ranges::find(kKeys, key) != std::end(kKeys);
}

std::string joined_texts(const std::vector<std::string>& texts, std::string_view between = ", ") {
  std::string all;
  for (const std::string& each : texts) all.append(all.empty() ? "" : between).append(each);
  return all;
}

std::string listen_text(const RouteConfig& route) {
  std::vector<std::string> texts;
  for (const ListenAddress& each : route.listen) texts.push_back(to_string(each));
  return joined_texts(texts);
}

std::string to_text(const RouteConfig& route) {
  std::vector<std::string> texts;
  for (const ServerConfig& each : route.to) {
    std::string text = to_string(each.address);
    if (each.weight != ServerConfig().weight) text += " weight=" + std::to_string(each.weight);
    if (each.backup) text += " backup";
    if (each.connections > 0) text += " connections=" + std::to_string(each.connections);
    texts.push_back(std::move(text));
  }
  return joined_texts(texts);
}

std::string match_text(const RouteConfig& route) {
  std::vector<std::string> texts;
  for (const RouteMatch& match : route.matches) {
    std::string text;
    for (const std::string_view condition : kConditions) {
      const std::vector<std::string> values = condition_texts(match, condition);
      if (!values.empty()) text += std::string(condition) + "=" + joined_texts(values) + " ";
    }
    texts.push_back(text + "route=" + match.route);
  }
  return joined_texts(texts, "; ");
}

std::string shown(const Option& option, const std::vector<std::string>& texts) {
  return is_secret(option) && !texts.empty() ? std::string(kNotShown) : joined_texts(texts);
}

// The settings of each directory.
std::map<std::string_view, const CaptureConfig*> directories_of(const Config& config) {
  std::map<std::string_view, const CaptureConfig*> directories;
  for (const RouteConfig& route : config.routes) {
    if (!route.capture.empty()) directories.emplace(route.capture, &route);
  }
  return directories;
}

// Whether other clients may come in, whatever lists that is written in.
bool admit_alike(const RouteConfig& a, const RouteConfig& b) {
  if (a.clients == nullptr || b.clients == nullptr) return a.clients == b.clients;
  return *a.clients == *b.clients;
}

bool has_port_of_its_own(const ListenAddress& address) {
  const auto* host_port = std::get_if<HostPort>(&address);
  return host_port == nullptr || host_port->port != 0;
}

/// Collects what differs between two configurations.
class Comparison {
 public:
  Comparison(const Config& from, const Config& to) : from_(from), to_(to) {
    for (std::size_t i = 0; i < from.routes.size(); ++i) by_name_[from.routes[i].name] = i;
  }

  ConfigDiff result() {
    compare_process();
    find_continued();
    found_.differs.resize(to_.routes.size());
    for (std::size_t i = 0; i < to_.routes.size(); ++i) {
      const std::size_t before = found_.changes.size();
      compare_route(to_.routes[i], found_.continues[i]);
      found_.differs[i] = found_.changes.size() > before;
    }
    for (std::size_t i = 0; i < from_.routes.size(); ++i) {
      if (!continued_.contains(i)) add("remove", from_.routes[i].name, "", "", "", true);
    }
    return std::move(found_);
  }

 private:
  void add(std::string_view op, const std::string& route, std::string_view key,
           std::string old_value, std::string new_value, bool is_hot) {
    found_.changes.push_back(
        {std::string(op), route, std::string(key), std::move(old_value), std::move(new_value)});
    if (!is_hot) found_.not_hot.push_back(found_.changes.back());
  }

  // Options of the process are those that no route can have.
  void compare_process() {
    for (const Option& option : options()) {
      if ((option.places & kInRoute) != 0 || (option.places & kInDefaults) == 0) continue;
      const auto old_texts = option_texts(option, from_, RouteConfig());
      const auto new_texts = option_texts(option, to_, RouteConfig());
      if (old_texts == new_texts) continue;
      const bool is_hot = std::ranges::find(kHotKeys, option.name) != std::end(kHotKeys);
      add("change", "", option.name, shown(option, old_texts), shown(option, new_texts), is_hot);
    }
  }

  void find_continued() {
    found_.continues.resize(to_.routes.size());
    std::set<std::string_view> names;
    for (const RouteConfig& route : to_.routes) names.insert(route.name);
    std::unordered_map<std::string, std::size_t> by_address;  // routes whose names are gone
    for (std::size_t i = 0; i < from_.routes.size(); ++i) {
      if (names.contains(from_.routes[i].name)) continue;
      for (const ListenAddress& each : from_.routes[i].listen) {
        if (has_port_of_its_own(each)) by_address[to_string(each)] = i;
      }
    }
    for (std::size_t i = 0; i < to_.routes.size(); ++i) {
      const auto known = by_name_.find(to_.routes[i].name);
      if (known != by_name_.end()) {
        found_.continues[i] = known->second;
        continued_.insert(known->second);
        continue;
      }
      for (const ListenAddress& each : to_.routes[i].listen) {
        const auto renamed = by_address.find(to_string(each));
        if (renamed == by_address.end() || !continued_.insert(renamed->second).second) continue;
        found_.continues[i] = renamed->second;
        break;
      }
    }
  }

  void compare_route(const RouteConfig& route, std::optional<std::size_t> continued) {
    if (!continued) {
      return add("add", route.name, "", "", "", true);
    }
    const RouteConfig& old = from_.routes[*continued];
    const auto compare = [&](std::string_view key, std::string before, std::string now) {
      if (before != now) add("change", route.name, key, std::move(before), std::move(now), true);
    };
    compare("name", old.name, route.name);
    compare("listen", listen_text(old), listen_text(route));
    compare("to", to_text(old), to_text(route));
    compare("match", match_text(old), match_text(route));
    for (const Option& option : options()) {
      if ((option.places & kInRoute) == 0) continue;
      const auto old_texts = option_texts(option, from_, old);
      const auto new_texts = option_texts(option, to_, route);
      if (old_texts == new_texts) continue;
      add("change", route.name, option.name, shown(option, old_texts), shown(option, new_texts),
          is_hot(option.name, route));
    }
    // A file that a list names can have changed.
    const bool lists_alike = old.allow == route.allow && old.deny == route.deny;
    if (lists_alike && !admit_alike(old, route)) {
      const std::string_view key = route.deny.empty() ? "allow" : "deny";
      const std::string text =
          shown(*find_option(key), option_texts(*find_option(key), to_, route));
      add("change", route.name, key, text, text, true);
    }
  }

  // A directory that is open keeps its settings.
  [[nodiscard]] bool is_hot(std::string_view key, const RouteConfig& route) const {
    if (!is_of_directory(key) || route.capture.empty()) return true;
    const auto open = directories_.find(route.capture);
    const CaptureConfig& settings = route;
    return open == directories_.end() || *open->second == settings;
  }

  const Config& from_;
  const Config& to_;
  std::map<std::string_view, std::size_t> by_name_;
  const std::map<std::string_view, const CaptureConfig*> directories_ = directories_of(from_);
  std::set<std::size_t> continued_;
  ConfigDiff found_;
};

}  // namespace

ConfigDiff diff(const Config& from, const Config& to) { return Comparison(from, to).result(); }

}  // namespace sluice
