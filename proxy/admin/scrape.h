#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "iolib/base/clock.h"
#include "proxy/admin/http_server.h"
#include "proxy/admin/route_metrics.h"
#include "proxy/admin/source.h"

namespace sluice::admin {

/// Renders the metrics, in turns of a few milliseconds, so that thousands of routes delay no other
/// request. Those that ask within a short time get the same text. Belongs to the admin thread.
class Scrape {
 public:
  /// `rest` renders all metrics but those of routes. `later` runs a function in a later turn of the
  /// thread. `source` is borrowed.
  Scrape(const AdminSource& source, std::function<std::string()> rest,
         std::function<void(std::function<void()>)> later)
      : source_(source), rest_(std::move(rest)), later_(std::move(later)) {}
  Scrape(const Scrape&) = delete;
  Scrape& operator=(const Scrape&) = delete;

  void answer(HttpServer::Reply reply);

 private:
  /// A rendering that has begun.
  struct Begun {
    Routes routes;
    RouteMetrics metrics = {};
    std::size_t next = 0;  ///< index of the route that is next
    std::vector<HttpServer::Reply> waiting = {};
  };
  void go_on();
  void finish();

  const AdminSource& source_;
  const std::function<std::string()> rest_;
  const std::function<void(std::function<void()>)> later_;
  std::optional<Begun> begun_;
  std::shared_ptr<const std::string> text_;  ///< the last one; null: none yet
  TimePoint rendered_{};
};

}  // namespace sluice::admin
