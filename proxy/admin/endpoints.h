#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "iolib/base/clock.h"
#include "proxy/admin/commands.h"
#include "proxy/admin/guard.h"
#include "proxy/admin/history.h"
#include "proxy/admin/http.h"
#include "proxy/admin/http_server.h"
#include "proxy/admin/paths.h"
#include "proxy/admin/scrape.h"
#include "proxy/admin/source.h"

namespace sluice::admin {

/// Answers the requests that the server lets through: guards them, and finds what their path names.
/// Belongs to the admin thread.
class Endpoints {
 public:
  /// What it needs of the server, on the admin thread.
  struct Hooks {
    std::function<std::uint64_t(Rejection)> rejected;  ///< see HttpServer
    std::function<void(std::function<void()>)> post;   ///< likewise; any thread
  };
  /// Borrows `source` and `commands`.
  Endpoints(GuardRules rules, const AdminSource& source, AdminCommands& commands, Hooks hooks);

  Endpoints(const Endpoints&) = delete;
  Endpoints& operator=(const Endpoints&) = delete;

  /// The response can come later.
  void answer(HttpRequest request, HttpServer::Reply reply);

  /// Adds what happened since the last call to the history. Call it once a second.
  void sample();

 private:
  void add_paths();
  [[nodiscard]] HttpResponse readyz() const;
  void servers(const Paths::Call& call) const;
  [[nodiscard]] std::string render_metrics() const;
  void count(unsigned status);

  const GuardRules rules_;
  const AdminSource& source_;
  const Hooks hooks_;
  Paths paths_;
  const TimePoint start_ = Clock::now();
  std::uint64_t wrong_hosts_ = 0;
  std::uint64_t wrong_tokens_ = 0;
  std::uint64_t forbidden_ = 0;
  Scrape scrape_;
  History history_;
};

}  // namespace sluice::admin
