#include "proxy/admin/reload.h"

#include <chrono>
#include <optional>
#include <string_view>
#include <utility>

#include "proxy/admin/answer.h"
#include "proxy/admin/body.h"

namespace sluice::admin {
namespace {

using Call = Paths::Call;
using Outcome = ReloadResult::Outcome;

// Whether the query asks for a dry run; nullopt if it asks for something else.
std::optional<bool> is_dry_run(std::string_view target) {
  const std::size_t mark = target.find('?');
  const std::string_view query = mark == target.npos ? "" : target.substr(mark + 1);
  if (query.empty() || query == "dry-run=0") return false;
  if (query == "dry-run=1") return true;
  return std::nullopt;
}

// Whether the daemon can do what the request asks for. If not, it is answered.
bool can_begin(const Call& call, const AdminSource& source) {
  if (source.state() == RunState::starting) {
    call.reply(make_problem(409, "The daemon is starting."));
    return false;
  }
  if (source.state() == RunState::draining) {
    call.reply(make_problem(409, "The daemon ends."));
    return false;
  }
  if (const Result<> empty = check_empty(call.request.body); empty.has_error()) {
    call.reply(make_problem(400, empty.error().to_string()));
    return false;
  }
  return true;
}

unsigned status_of(Outcome outcome) {
  if (outcome == Outcome::refused) return 422;
  return outcome == Outcome::needs_takeover ? 409 : 200;
}

json::value text_or_null(std::string_view text) {
  if (text.empty()) return nullptr;
  return json_text(text);
}

void reload(const Call& call, const AdminSource& source, AdminCommands& commands) {
  const std::optional<bool> dry_run = is_dry_run(call.request.target);
  if (!dry_run) return call.reply(make_problem(400, "The query takes dry-run=1."));
  if (!can_begin(call, source)) return;
  commands.reload(*dry_run, [reply = call.reply](const ReloadResult& result) {
    HttpResponse response = make_json(reload_json(result));
    response.status = status_of(result.outcome);
    reply(std::move(response));
  });
}

void take_over(const Call& call, const AdminSource& source, AdminCommands& commands) {
  if (!can_begin(call, source)) return;
  commands.take_over([reply = call.reply](const TakeoverResult& result) {
    if (!result.taken) return reply(make_problem(409, result.reason));
    json::object object;
    object["result"] = "taken";
    object["pid"] = result.pid;
    reply(make_json(object));
  });
}

}  // namespace

json::object reload_json(const ReloadResult& result) {
  json::array changes;
  for (const ReloadResult::Change& change : result.changes) {
    json::object object;
    object["op"] = json_text(change.op);
    object["route"] = text_or_null(change.route);
    object["key"] = text_or_null(change.key);
    object["old"] = text_or_null(change.old_value);
    object["new"] = text_or_null(change.new_value);
    changes.push_back(std::move(object));
  }
  json::array errors;
  for (const std::string& error : result.errors) errors.push_back(json_text(error));
  json::object object;
  object["result"] = json::string(name_of(result.outcome));
  object["changes"] = std::move(changes);
  object["errors"] = std::move(errors);
  return object;
}

json::value last_reload_json(const Reloads& reloads) {
  if (!reloads.last) return nullptr;
  json::object object;
  object["time"] = std::chrono::duration<double>(reloads.last->time.time_since_epoch()).count();
  object["result"] = json::string(name_of(reloads.last->outcome));
  object["error"] = text_or_null(reloads.last->error);
  return object;
}

void add_reload(Paths& paths, const AdminSource& source, AdminCommands& commands) {
  paths.add("POST", "/v1/reload", [&](const Call& call) { reload(call, source, commands); });
}

void add_takeover(Paths& paths, const AdminSource& source, AdminCommands& commands) {
  paths.add("POST", "/v1/takeover", [&](const Call& call) { take_over(call, source, commands); });
}

}  // namespace sluice::admin
