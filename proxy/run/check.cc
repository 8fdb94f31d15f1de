#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "iolib/base/text.h"
#include "iolib/base/units.h"
#include "proxy/admin/admin_thread.h"
#include "proxy/listen/listen_sockets.h"
#include "proxy/log/log.h"
#include "proxy/run/control.h"
#include "proxy/run/machine.h"
#include "proxy/run/server.h"
#include "proxy/taps/capture.h"

namespace sluice {
namespace {

int failed(const Error& error) {
  std::fprintf(stderr, "sluice: %s\n", one_line(error.to_string()).c_str());
  return 1;
}

// Prints what --check reports about the machine.
void report(const Config& config, const Machine& machine) {
  std::printf("engine: %s%s%s\n", machine.uring ? "uring" : "epoll",
              machine.uring_refused.empty() ? "" : ", since ", machine.uring_refused.c_str());
  std::printf("workers: %zu%s\n", machine.workers, machine.cpus.empty() ? "" : ", pinned");
  std::printf("descriptors: %llu", static_cast<unsigned long long>(machine.descriptors));
  std::printf(machine.connections < config.max_connections
                  ? " (enough for %llu connections at once, not for --max-connections %llu)\n"
                  : "\n",
              static_cast<unsigned long long>(machine.connections),
              static_cast<unsigned long long>(config.max_connections));
  if (machine.pipe_bytes == 0) {
    std::printf("pipes: none (%s): all bytes are copied\n", machine.pipe_refused.c_str());
  } else {
    std::printf("pipes: %s granted of %s\n", format_size_bytes(machine.pipe_bytes).c_str(),
                format_size_bytes(config.pipe_size_bytes).c_str());
  }
}

}  // namespace

int check_server(const Config& config) {
  Result<Machine> machine = probe_machine(config);
  if (machine.has_error()) return failed(machine.error());
  report(config, *machine);
  Control control(std::make_shared<const Config>(config), machine->workers, {});
  if (Result<std::vector<Route>> routes = control.resolve_routes(); routes.has_error()) {
    return failed(routes.error());
  }
  for (const LookUps::Unresolved& each : control.unresolved()) {
    std::printf("%s: %s: %s, at the moment\n", std::string(each.kind).c_str(), each.address.c_str(),
                each.reason.c_str());
  }
  std::vector<std::string> probed;
  for (const RouteConfig& route : config.routes) {
    if (route.capture.empty() || std::ranges::find(probed, route.capture) != probed.end()) continue;
    Result<std::string> found = probe_capture(route, machine->workers);
    if (found.has_error()) return failed(found.error());
    std::printf("capture: %s: %s\n", one_line(route.capture).c_str(), found->c_str());
    probed.push_back(route.capture);
  }
  Result<std::vector<std::string>> remarks = probe_listeners(config);
  if (remarks.has_error()) return failed(remarks.error());
  for (const std::string& each : *remarks) std::printf("listen: %s\n", one_line(each).c_str());
  if (Result<> admin = admin::probe_admin(config); admin.has_error()) return failed(admin.error());
  if (Result<> files = probe_files(config); files.has_error()) return failed(files.error());
  if (Result<> log_file = log::probe(config); log_file.has_error()) return failed(log_file.error());
  std::printf("configuration: good, %zu route%s\n", config.routes.size(),
              config.routes.size() == 1 ? "" : "s");
  return 0;
}

}  // namespace sluice
