#include "proxy/admin/status.h"

#include <unistd.h>

#include <chrono>
#include <cstddef>

#include "iolib/json/json.h"
#include "proxy/config/options.h"
#include "proxy/log/log.h"

namespace sluice::admin {

std::string status_json(RunState state, const std::optional<Figures>& figures, Duration uptime) {
  json::object status;
  status["version"] = SLUICE_VERSION;
  status["pid"] = ::getpid();
  status["uptime_seconds"] = std::chrono::floor<std::chrono::seconds>(uptime).count();
  status["state"] = json::string(name_of(state));
  if (figures) {
    status["engine"] = json::string(figures->engine);
    status["workers"] = figures->workers;
    status["connections"] = figures->connections;
    status["connections_limit"] = figures->connections_limit;
    const auto level = static_cast<std::size_t>(log::level());
    status["log_level"] = json::string(find_option("log-level")->choices[level]);
  }
  return json::serialize(status) + "\n";
}

}  // namespace sluice::admin
