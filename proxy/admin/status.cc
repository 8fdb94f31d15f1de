#include "proxy/admin/status.h"

#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "iolib/json/json.h"
#include "proxy/admin/reload.h"
#include "proxy/config/options.h"
#include "proxy/log/log.h"

namespace sluice::admin {

namespace {

json::array predecessors_json(const std::vector<Predecessor>& predecessors) {
  json::array array;
  for (const Predecessor& each : predecessors) {
    json::object object;
    object["pid"] = each.pid;
    object["connections"] = each.connections;
    array.push_back(std::move(object));
  }
  return array;
}

}  // namespace

std::string status_json(const AdminSource& source, Duration uptime) {
  json::object status;
  status["version"] = SLUICE_VERSION;
  status["pid"] = ::getpid();
  status["uptime_seconds"] = std::chrono::floor<std::chrono::seconds>(uptime).count();
  status["state"] = json::string(name_of(source.state()));
  if (const std::optional<Figures> figures = source.figures()) {
    status["engine"] = json::string(figures->engine);
    status["workers"] = figures->workers;
    status["connections"] = figures->connections;
    status["connections_limit"] = figures->connections_limit;
    const auto level = static_cast<std::size_t>(log::level());
    status["log_level"] = json::string(find_option("log-level")->choices[level]);
    status["last_reload"] = last_reload_json(source.reloads());
    status["predecessors"] = predecessors_json(source.predecessors());
  }
  return json::serialize(status) + "\n";
}

}  // namespace sluice::admin
