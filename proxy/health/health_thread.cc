#include "proxy/health/health_thread.h"

#include <pthread.h>

#include <chrono>
#include <future>
#include <random>
#include <utility>

#include "iolib/base/shortage.h"
#include "iolib/reactor/asio_reactor.h"

namespace sluice {
namespace {

// How long a start waits for the first checks.
constexpr auto kFirstChecks = std::chrono::seconds(1);

}  // namespace

HealthThread::HealthThread(ServerChanges& changes, HealthChecker::Hooks hooks)
    : changes_(changes), hooks_(std::move(hooks)) {
  hooks_.check = check;
  hooks_.checked_once = [this] { checked_.set_value(); };
}

HealthThread::~HealthThread() {
  if (!thread_.joinable()) return;
  if (reactor_) reactor_->stop();
  thread_.join();
}

Result<> HealthThread::start(const std::vector<Route>& routes) {
  std::promise<Result<>> promise;
  thread_ = start_thread([this, &routes, &promise] {
    pthread_setname_np(pthread_self(), "health");
    Result<> opened = or_shortage([&] { return open(routes); });
    const bool failed = opened.has_error();
    promise.set_value(std::move(opened));
    if (!failed) reactor_->run();
  });
  if (Result<> opened = promise.get_future().get(); opened.has_error()) {
    thread_.join();
    return opened;
  }
  reactor_->post([this] { checker_->start(); });
  running_.store(true, std::memory_order_release);
  return {};
}

void HealthThread::await_first_checks() { checked_.get_future().wait_for(kFirstChecks); }

Result<> HealthThread::open(const std::vector<Route>& routes) {
  Result<std::unique_ptr<AsioReactor>> reactor = AsioReactor::create();
  if (reactor.has_error()) return reactor.error();
  reactor_ = std::move(*reactor);
  checker_.emplace(*reactor_, routes, changes_, balance::Random(std::random_device()()), hooks_);
  return {};
}

void HealthThread::update(const Route& route) {
  reactor_->post([this, route] { checker_->update(route); });
}

void HealthThread::remove(std::size_t number) {
  reactor_->post([this, number] { checker_->remove(number); });
}

HealthChecker::LastChecks HealthThread::last_checks(std::size_t route) {
  std::promise<HealthChecker::LastChecks> promise;
  reactor_->post([&] { promise.set_value(checker_->last_checks(route)); });
  return promise.get_future().get();
}

void HealthThread::get_last_checks(std::function<void(HealthChecker::LastChecks)> take) {
  reactor_->post([this, take = std::move(take)] { take(checker_->all_last_checks()); });
}

}  // namespace sluice
