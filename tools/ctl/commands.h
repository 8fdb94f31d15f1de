#pragma once

#include "tools/ctl/options.h"

namespace sluice::ctl {

Run run_status;
Run run_routes;
Run run_servers;
Run run_connections;
Run run_captures;
Run run_mirrors;
Run run_kill;
Run run_drain;
Run run_undrain;
Run run_capture;
Run run_server;
Run run_log_level;
Run run_reload;
Run run_takeover;
Run run_ready;
Run run_top;

}  // namespace sluice::ctl
