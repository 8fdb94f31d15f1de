#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "proxy/admin/source.h"

namespace sluice::admin {

/// A source whose data a test sets.
struct FakeSource final : AdminSource {
  [[nodiscard]] RunState state() const override { return its_state; }
  [[nodiscard]] std::shared_ptr<const Config> config() const override { return its_config; }
  [[nodiscard]] Reloads reloads() const override { return its_reloads; }
  [[nodiscard]] std::vector<Predecessor> predecessors() const override { return its_predecessors; }
  [[nodiscard]] std::optional<Figures> figures() const override { return its_figures; }
  [[nodiscard]] Routes routes() const override { return its_routes; }
  [[nodiscard]] std::vector<CaptureFigures> captures() const override { return its_captures; }
  [[nodiscard]] std::vector<MirrorFigures> mirrors() const override { return its_mirrors; }
  void get_checks(std::function<void(Checks)> take) const override { take(its_checks); }
  /// A page of one connection, which can be killed.
  void list_connections(SessionQuery query,
                        std::function<void(const SessionPage&)> done) const override {
    SessionPage page{.more = true};
    page.items.push_back({{query.limit, 5}, {.id = "run-0-5", .to_upstream_bytes = 1ULL << 53}});
    done(page);
  }
  void kill_connection(std::string id, std::function<void(bool)> done) const override {
    done(id == "run-0-5");
  }

  /// The route that is added stays as it is, but what is counted for it goes on.
  const Route& add_route(Route route) {
    its_routes.push_back(std::make_shared<const Route>(std::move(route)));
    return *its_routes.back();
  }

  RunState its_state = RunState::ready;
  std::shared_ptr<const Config> its_config = std::make_shared<const Config>();
  Reloads its_reloads = {};
  std::vector<Predecessor> its_predecessors = {};
  std::optional<Figures> its_figures = Figures{.engine = "uring",
                                               .workers = 2,
                                               .connections = 3,
                                               .connections_limit = 9'007'199'254'740'993};
  Routes its_routes = {};
  std::vector<CaptureFigures> its_captures = {};
  std::vector<MirrorFigures> its_mirrors = {};
  Checks its_checks = {};
};

}  // namespace sluice::admin
