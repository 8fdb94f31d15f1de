#include "proxy/admin/scrape.h"

#include <chrono>
#include <utility>

namespace sluice::admin {
namespace {

// However many scrape, the metrics are rendered once in this time.
constexpr Duration kSharedTime = std::chrono::milliseconds(250);
// How long a turn adds routes.
constexpr Duration kTurn = std::chrono::milliseconds(2);

HttpResponse metrics_response(std::shared_ptr<const std::string> text) {
  HttpResponse response;
  response.content_type = MetricsWriter::kContentType;
  response.body = std::move(text);
  return response;
}

}  // namespace

void Scrape::answer(HttpServer::Reply reply) {
  if (begun_) return begun_->waiting.push_back(std::move(reply));
  if (text_ && Clock::now() - rendered_ < kSharedTime) return reply(metrics_response(text_));
  begun_.emplace(Begun{source_.routes()});
  begun_->waiting.push_back(std::move(reply));
  go_on();
}

void Scrape::go_on() {
  const TimePoint began = Clock::now();
  TimePoint now = began;
  while (begun_->next < begun_->routes.size()) {
    if (now - began >= kTurn) return later_([this] { go_on(); });
    begun_->metrics.add(*begun_->routes[begun_->next++], now);
    now = Clock::now();
  }
  finish();
}

void Scrape::finish() {
  std::string text = rest_();
  begun_->metrics.append_to(text);
  text_ = std::make_shared<const std::string>(std::move(text));
  rendered_ = Clock::now();
  const std::vector<HttpServer::Reply> waiting = std::move(begun_->waiting);
  begun_.reset();
  for (const HttpServer::Reply& reply : waiting) reply(metrics_response(text_));
}

}  // namespace sluice::admin
