#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "iolib/base/clock.h"
#include "proxy/admin/guard.h"
#include "proxy/admin/http.h"
#include "proxy/admin/http_server.h"
#include "proxy/admin/paths.h"
#include "proxy/admin/source.h"

namespace sluice::admin {

/// Answers the requests that the server lets through: guards them, and finds what their path names.
/// Belongs to the admin thread.
class Endpoints {
 public:
  /// `rejected`: what the server itself has rejected. `source` is borrowed.
  Endpoints(GuardRules rules, const AdminSource& source,
            std::function<std::uint64_t(Rejection)> rejected);

  Endpoints(const Endpoints&) = delete;
  Endpoints& operator=(const Endpoints&) = delete;

  /// The response can come later.
  void answer(HttpRequest request, HttpServer::Reply reply);

 private:
  void add_paths();
  [[nodiscard]] HttpResponse readyz() const;
  [[nodiscard]] HttpResponse metrics();
  [[nodiscard]] std::string render_metrics() const;
  void count(unsigned status);

  const GuardRules rules_;
  const AdminSource& source_;
  const std::function<std::uint64_t(Rejection)> rejected_;
  Paths paths_;
  const TimePoint start_ = Clock::now();
  std::uint64_t wrong_hosts_ = 0;
  std::uint64_t wrong_tokens_ = 0;
  std::uint64_t forbidden_ = 0;
  std::shared_ptr<const std::string> rendering_;  ///< of the metrics, for those who ask soon after
  TimePoint rendered_{};
};

}  // namespace sluice::admin
