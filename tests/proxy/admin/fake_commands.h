#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proxy/admin/commands.h"

namespace sluice::admin {

/// Does at once what it can, and keeps the rest for a test.
struct FakeCommands final : AdminCommands {
  void order(std::shared_ptr<const Route> route, std::vector<ServerRef> servers, Order order,
             Done done) override {
    for (const ServerRef& server : servers) {
      server->load->order = order;
      ordered.push_back(route->config.name + " " + server->name);
    }
    done();
  }
  void enable_capture(std::shared_ptr<const Route> route, bool enabled, Done done) override {
    route->stats->capture_enabled = enabled;
    done();
  }
  void set_lame_duck(bool on, std::function<void(bool)> done) override {
    lame_duck = on;
    done(!ends);
  }
  void reload(bool dry_run, std::function<void(ReloadResult)> done) override {
    reloads.push_back(dry_run);
    done(reload_result);
  }
  void take_over(std::function<void(TakeoverResult)> done) override { done(takeover_result); }

  std::vector<std::string> ordered = {};  ///< "ROUTE SERVER"
  std::optional<bool> lame_duck = {};     ///< the last that was asked for
  bool ends = false;
  std::vector<bool> reloads = {};  ///< those that were asked for: whether each was a dry run
  ReloadResult reload_result = {};
  TakeoverResult takeover_result = {};
};

}  // namespace sluice::admin
