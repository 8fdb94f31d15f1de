#include "proxy/run/worker_thread.h"

#include <pthread.h>
#include <sched.h>

#include <future>
#include <string>
#include <utility>

#include "iolib/base/shortage.h"
#include "iolib/reactor/asio_reactor.h"
#include "iolib/reactor/uring_reactor.h"
#include "proxy/log/log.h"

namespace sluice {

WorkerThread::WorkerThread(Shared& shared, WorkerOptions options)
    : shared_(shared), options_(std::move(options)) {}

Result<> WorkerThread::start() {
  std::promise<Result<>> promise;
  std::future<Result<>> started = promise.get_future();
  thread_ = start_thread([this, &promise] {
    pin();
    Result<> opened = or_shortage([this] { return open_reactor(); });
    const bool failed = opened.has_error();
    promise.set_value(std::move(opened));
    if (failed) return;
    reactor_->run();
    if (worker_) worker_->relay_context().tap_pipe.release();
  });
  return started.get();
}

Result<> WorkerThread::set_up(const CapturePlan& captures) {
  std::promise<Result<>> promise;
  reactor_->post([this, &captures, &promise] {
    promise.set_value(or_shortage([&] { return make_worker(captures); }));
  });
  return promise.get_future().get();
}

void WorkerThread::start_capture(const CapturePlan& captures) {
  reactor_->post([this, captures] { worker_->capture().commit(captures); });
}

void WorkerThread::accept_from(std::vector<ListenSocket> sockets) {
  for (ListenSocket& socket : sockets) worker_->admission().add(std::move(socket));
  reactor_->post([this] { worker_->admission().start(); });
}

void WorkerThread::hold_accepting(std::function<void()> done) {
  reactor_->post([this, done = std::move(done)] {
    worker_->admission().hold();
    done();
  });
}

void WorkerThread::release_accepting(std::function<void()> done) {
  reactor_->post([this, done = std::move(done)] {
    worker_->admission().release();
    done();
  });
}

void WorkerThread::copy_sockets(std::function<void(Result<std::vector<OwnedFd>>)> done) {
  reactor_->post([this, done = std::move(done)] { done(worker_->admission().copy_sockets()); });
}

void WorkerThread::drain() {
  reactor_->post([this] { worker_->admission().drain(); });
}

void WorkerThread::stop_sessions(EndReason why) {
  reactor_->post([this, why] { worker_->stop_sessions(why); });
}

void WorkerThread::end_lost_sessions() {
  reactor_->post([this] { worker_->end_lost_sessions(); });
}

void WorkerThread::close_capture(std::function<void()> done) {
  reactor_->post([this, done = std::move(done)] { worker_->capture().close(done); });
}

void WorkerThread::give_up_capture() {
  reactor_->post([this] { worker_->capture().give_up(); });
}

void WorkerThread::join() {
  if (!thread_.joinable()) return;
  if (reactor_) reactor_->stop();
  thread_.join();
}

void WorkerThread::after_turn(std::function<void()> done) { reactor_->post(std::move(done)); }

void WorkerThread::update_route(const Route& route) {
  reactor_->post([this, route] { worker_->update_route(route); });
}

void WorkerThread::prepare_taps(std::shared_ptr<const CapturePlan> captures,
                                std::function<void(Result<>)> done) {
  reactor_->post([this, captures = std::move(captures), done = std::move(done)] {
    done(worker_->prepare_taps(*captures));
  });
}

void WorkerThread::undo_taps() {
  reactor_->post([this] { worker_->undo_taps(); });
}

void WorkerThread::prepare_change(std::shared_ptr<const WorkerChange> change,
                                  std::function<void()> done) {
  reactor_->post([this, change = std::move(change), done = std::move(done)] {
    worker_->prepare_change(*change, done);
  });
}

void WorkerThread::change(std::shared_ptr<const WorkerChange> change,
                          std::vector<ListenSocket> added, std::function<void()> done) {
  auto sockets = std::make_shared<std::vector<ListenSocket>>(std::move(added));
  reactor_->post([this, change = std::move(change), sockets, done = std::move(done)] {
    worker_->change(*change, std::move(*sockets));
    done();
  });
}

void WorkerThread::end_change() {
  reactor_->post([this] { worker_->end_change(); });
}

// --- On the thread ---

Result<> WorkerThread::open_reactor() {
  if (!options_.uring) {
    Result<std::unique_ptr<AsioReactor>> reactor = AsioReactor::create();
    if (reactor.has_error()) return reactor.error();
    reactor_ = std::move(*reactor);
    return {};
  }
  Result<std::unique_ptr<UringReactor>> reactor = UringReactor::create();
  if (reactor.has_error()) return reactor.error();
  ring_ = reactor->get();
  reactor_ = std::move(*reactor);
  return {};
}

Result<> WorkerThread::make_worker(const CapturePlan& captures) {
  reactor_->set_busy_poll(options_.busy_poll);
  worker_ = std::make_unique<Worker>(shared_, *reactor_, options_.index, std::move(options_.routes),
                                     ring_);
  return worker_->prepare_taps(captures);
}

void WorkerThread::pin() const {
  const std::string name = "worker-" + std::to_string(options_.index);
  pthread_setname_np(pthread_self(), name.c_str());
  if (options_.cpu < 0) return;
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(static_cast<unsigned>(options_.cpu), &cpus);
  if (::sched_setaffinity(0, sizeof cpus, &cpus) != 0) {
    const std::string reason = errno_error("sched_setaffinity").to_string();
    log::warn("worker_not_pinned",
              {{"cpu", static_cast<std::uint64_t>(options_.cpu)}, {"reason", reason}});
  }
}

std::uint64_t sum_of(const Workers& workers, Tally WorkerStats::*count) {
  std::uint64_t sum = 0;
  for (const auto& worker : workers) sum += worker->worker().stats().*count;
  return sum;
}

}  // namespace sluice
