#include "proxy/admin/changes.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "iolib/base/text.h"
#include "proxy/admin/answer.h"
#include "proxy/admin/body.h"
#include "proxy/admin/reload.h"
#include "proxy/config/options.h"
#include "proxy/log/log.h"
#include "proxy/upstream/ejection.h"

namespace sluice::admin {
namespace {

using Call = Paths::Call;
using RouteRef = std::shared_ptr<const Route>;

constexpr std::array kOrderNames = {name_of(Order::up), name_of(Order::drain),
                                    name_of(Order::down)};

// These functions find out what a request wants. If it is wrong they answer it, and return nothing.

bool has_started(const Call& call, const AdminSource& source) {
  if (source.state() != RunState::starting) return true;
  call.reply(make_problem(409, "The daemon is starting."));
  return false;
}

RouteRef route_of(const Call& call, const AdminSource& source) {
  if (!has_started(call, source)) return nullptr;
  for (const RouteRef& route : source.routes()) {
    if (route->config.name == call.parameters[0]) return route;
  }
  call.reply(make_problem(404, "There is no route " + in_quotes(call.parameters[0]) + "."));
  return nullptr;
}

// The value of the only key of the body: its index in `names`.
std::optional<std::size_t> choice_of(const Call& call, std::string_view key,
                                     std::span<const std::string_view> names) {
  const Result<json::value> value = only_member(call.request.body, key);
  if (value.has_error()) {
    call.reply(make_problem(400, value.error().to_string()));
    return std::nullopt;
  }
  const json::string* text = value->if_string();
  for (std::size_t i = 0; text != nullptr && i < names.size(); ++i) {
    if (std::string_view(*text) == names[i]) return i;
  }
  call.reply(
      make_problem(400, "The value of " + in_quotes(key) + " must be " + joined(names) + "."));
  return std::nullopt;
}

// Of {"enabled": true}.
std::optional<bool> switch_of(const Call& call) {
  const Result<json::value> value = only_member(call.request.body, "enabled");
  if (value.has_value() && value->is_bool()) return value->as_bool();
  call.reply(make_problem(400, value.has_error()
                                   ? value.error().to_string()
                                   : "The value of \"enabled\" must be true or false."));
  return std::nullopt;
}

// --- What the requests do ---

void order_servers(const Call& call, const AdminSource& source, AdminCommands& commands) {
  const RouteRef route = route_of(call, source);
  if (route == nullptr) return;
  // A route can have the same address twice.
  std::vector<ServerRef> servers;
  std::ranges::copy_if(route->servers->servers, std::back_inserter(servers),
                       [&](const ServerRef& server) { return server->name == call.parameters[1]; });
  if (servers.empty()) {
    return call.reply(make_problem(404, "The route " + in_quotes(route->config.name) +
                                            " has no server " + in_quotes(call.parameters[1]) +
                                            "."));
  }
  const std::optional<std::size_t> order = choice_of(call, "state", kOrderNames);
  if (!order) return;
  commands.order(route, servers, static_cast<Order>(*order),
                 [reply = call.reply, load = servers.front()->load] {
                   json::object object;
                   object["state"] = json::string(state_name(*load, Clock::now()));
                   object["ordered"] = json::string(name_of(load->order.load()));
                   reply(make_json(object));
                 });
}

void switch_capture(const Call& call, const AdminSource& source, AdminCommands& commands) {
  const RouteRef route = route_of(call, source);
  if (route == nullptr) return;
  const std::optional<bool> enabled = switch_of(call);
  if (!enabled) return;
  const std::string named = "The route " + in_quotes(route->config.name);
  if (route->config.capture.empty()) {
    return call.reply(make_problem(409, named + " has no capture."));
  }
  if (is_sink(route->config)) {
    return call.reply(make_problem(409, named + " is a durable sink, which always records."));
  }
  commands.enable_capture(route, *enabled, [reply = call.reply, enabled = *enabled] {
    json::object object;
    object["capture_enabled"] = enabled;
    reply(make_json(object));
  });
}

void set_lame_duck(const Call& call, bool lame_duck, const AdminSource& source,
                   AdminCommands& commands) {
  if (!has_started(call, source)) return;
  if (const Result<> empty = check_empty(call.request.body); empty.has_error()) {
    return call.reply(make_problem(400, empty.error().to_string()));
  }
  commands.set_lame_duck(lame_duck, [reply = call.reply](bool done) {
    reply(done ? make_no_content() : make_problem(409, "The daemon ends."));
  });
}

std::span<const std::string_view> log_levels() { return find_option("log-level")->choices; }

HttpResponse log_level() {
  json::object object;
  object["level"] = json::string(log_levels()[static_cast<std::size_t>(log::level())]);
  return make_json(object);
}

void set_log_level(const Call& call, const AdminSource& source) {
  if (!has_started(call, source)) return;
  const std::optional<std::size_t> level = choice_of(call, "level", log_levels());
  if (!level) return;
  const auto before = static_cast<std::size_t>(log::level());
  log::set_level(static_cast<LogLevel>(*level));
  if (*level != before) {
    log::print(
        "operator",
        {{"change", "log_level"}, {"from", log_levels()[before]}, {"to", log_levels()[*level]}});
  }
  call.reply(log_level());
}

}  // namespace

void add_changes(Paths& paths, const AdminSource& source, AdminCommands& commands) {
  paths.add("POST", "/v1/servers/{route}/{server}",
            [&](const Call& call) { order_servers(call, source, commands); });
  paths.add("POST", "/v1/routes/{route}/capture",
            [&](const Call& call) { switch_capture(call, source, commands); });
  paths.add("POST", "/v1/drain",
            [&](const Call& call) { set_lame_duck(call, true, source, commands); });
  paths.add("POST", "/v1/undrain",
            [&](const Call& call) { set_lame_duck(call, false, source, commands); });
  paths.add_read("/v1/log-level", log_level);
  paths.add("PUT", "/v1/log-level", [&](const Call& call) { set_log_level(call, source); });
  add_reload(paths, source, commands);
  add_takeover(paths, source, commands);
}

}  // namespace sluice::admin
