#include "proxy/serve/worker.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <csignal>
#include <cstring>
#include <future>
#include <string_view>
#include <system_error>
#include <utility>

#include "iolib/base/shortage.h"
#include "iolib/reactor/asio_reactor.h"
#include "iolib/reactor/uring_reactor.h"
#include "proxy/log/log.h"

namespace sluice {
namespace {

// How often pipes that nobody needed are closed.
constexpr Duration kTrimInterval = std::chrono::seconds(10);
// A lack of places or descriptors is over once nobody has had to wait for so long.
constexpr Duration kCalm = std::chrono::milliseconds(500);

std::string_view describe(PipeShortage shortage) {
  switch (shortage) {
    case PipeShortage::budget:
      return "--pipe-budget is used up";
    case PipeShortage::quota:
      return "the user's pipe quota is used up (fs.pipe-user-pages-soft)";
    case PipeShortage::descriptors:
      return "no descriptors or memory for a pipe";
    case PipeShortage::none:
      break;
  }
  return "?";
}

}  // namespace

Worker::Worker(Shared& shared, WorkerOptions options)
    : shared_(shared), options_(std::move(options)) {}

Worker::~Worker() { join(); }

// --- The control thread's side ---

Result<> Worker::start() {
  std::promise<Result<>> promise;
  std::future<Result<>> started = promise.get_future();
  thread_ = start_thread([this, &promise] {
    pin();
    Result<> opened = or_shortage([this] { return open_reactor(); });
    const bool failed = opened.has_error();
    promise.set_value(std::move(opened));
    if (failed) return;
    reactor_->run();
    if (relay_context_) relay_context_->tap_pipe.release();
  });
  return started.get();
}

Result<> Worker::set_up() {
  std::promise<Result<>> promise;
  reactor_->post([this, &promise] {
    promise.set_value(or_shortage([this] { return make_sessions_possible(); }));
  });
  return promise.get_future().get();
}

void Worker::start_capture() {
  reactor_->post([this] {
    if (capture_) capture_->start();
  });
}

void Worker::accept_from(std::vector<ListenSocket> sockets) {
  for (ListenSocket& socket : sockets) {
    listeners_.push_back(
        std::make_unique<Listener>(*this, std::move(socket), shared_.accepts_one_by_one));
  }
  reactor_->post([this] {
    for (const auto& listener : listeners_) listener->start();
  });
}

void Worker::drain() {
  reactor_->post([this] {
    draining_ = true;
    accepting_ = false;
    for (const auto& listener : listeners_) listener->drain();
    check_drained();
  });
}

void Worker::stop_sessions(SessionEnd why) {
  reactor_->post([this, why] {
    stopping_ = why;
    for (Waiting& waiting : waiting_) close_with_reset(waiting.client);
    waiting_.clear();
    sessions_.stop_all(why);
    mirrors_->stop();
    check_drained();
  });
}

void Worker::close_capture(std::function<void()> done) {
  reactor_->post([this, done = std::move(done)] {
    if (capture_) return capture_->close(done);
    done();
  });
}

void Worker::give_up_capture() {
  reactor_->post([this] {
    if (capture_) capture_->give_up();
  });
}

void Worker::join() {
  if (!thread_.joinable()) return;
  if (reactor_) reactor_->stop();
  thread_.join();
}

void Worker::update_route(const Route& route) {
  reactor_->post([this, route] {
    preferred_[route.index] = 0;
    mirrors_->update(route);
    routes_[route.index] = std::make_shared<const Route>(route);
  });
}

// --- The thread ---

Result<> Worker::open_reactor() {
  if (!options_.uring) {
    Result<std::unique_ptr<AsioReactor>> reactor = AsioReactor::create();
    if (reactor.has_error()) return reactor.error();
    reactor_ = std::move(*reactor);
    return {};
  }
  Result<std::unique_ptr<UringReactor>> reactor = UringReactor::create();
  if (reactor.has_error()) return reactor.error();
  uring_ = reactor->get();
  reactor_ = std::move(*reactor);
  return {};
}

Result<> Worker::open_capture() {
  if (shared_.captures == nullptr || shared_.captures->empty()) return {};
  capture_ = std::make_unique<WorkerCapture>(*reactor_);
  return capture_->open(uring_, *shared_.captures, options_.index);
}

Result<> Worker::make_sessions_possible() {
  if (Result<> opened = open_capture(); opened.has_error()) return opened;
  relay_context_ = std::make_unique<RelayContext>(*reactor_, shared_.pool);
  relay_context_->on_shortage = [this](PipeShortage why) { note_shortage(why); };
  relay_context_->choose_thread = [this] { return worker_with_fewer_streams(); };
  relay_context_->of_thread = [this](int thread) -> auto& {
    return worker(thread).relay_context();
  };
  open_mirrors();
  for (Route& route : options_.routes) {
    routes_.push_back(std::make_shared<const Route>(std::move(route)));
  }
  preferred_.resize(routes_.size());
  reactor_->set_timer(trim_, reactor_->now() + kTrimInterval);
  return {};
}

void Worker::open_mirrors() {
  mirrors_ = std::make_unique<WorkerMirrors>(
      *reactor_, options_.routes,
      MirrorOptions{options_.index, shared_.mirror_buffers_bytes, shared_.mirror_descriptors,
                    &shared_.mirror_shedding});
  mirrors_->id_of = [this](std::uint64_t number) { return session_id(number); };
  mirrors_->on_failed = shared_.on_mirror_failed;
  mirrors_->of_worker = [this](int index) -> WorkerMirrors& { return worker(index).mirrors(); };
  mirrors_->on_began = [this] { ++shared_.mirror_streams; };
  mirrors_->on_gone = [this] {
    --shared_.mirror_streams;
    check_drained();
  };
}

void Worker::pin() const {
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

// --- Accepting ---

void Worker::accepted(OwnedFd client, std::size_t route, Leg::Kind kind) {
  if (stopping_) return close_with_reset(client);
  if (waiting_.empty() && descriptors_wanted_ == 0 && admit())
    return adopt(std::move(client), route, kind);
  if (descriptors_wanted_ == 0) note_full(1);
  waiting_.push_back({std::move(client), route, kind});
  pause_accepting();
}

// All listeners rest, and those who wait are looked at again soon.
void Worker::pause_accepting() {
  if (std::exchange(accepting_, false)) stats_.add(Counter::accept_pauses);
  for (const auto& listener : listeners_) listener->pause();
  reactor_->set_timer(retry_accepting_, reactor_->now() + Listener::kPause);
}

// Takes a place within --max-connections.
bool Worker::admit() {
  if (shared_.connections.fetch_add(1) < shared_.max_connections) {
    return true;
  }
  shared_.connections.fetch_sub(1);
  return false;
}

// What is recorded stays with the worker that it began with: it begins with the one that has the
// least of it. Anything else stays on the CPU where it arrived, and moves if it proves to be heavy:
// a hop can double a small message's time.
void Worker::adopt(OwnedFd client, std::size_t route, Leg::Kind kind) {
  if (routes_[route]->config.capture.empty()) return begin(std::move(client), route, kind);
  Worker& worker = take_recorded();
  if (&worker == this) return begin(std::move(client), route, kind);
  worker.reactor_->post(
      [&worker, fd = client.release(), route, kind] { worker.begin(OwnedFd(fd), route, kind); });
}

Worker& Worker::take_recorded() {
  Worker* best = this;
  for (Worker* other : shared_.workers) {
    if (other->recorded_ < best->recorded_) best = other;
  }
  ++best->recorded_;
  return *best;
}

void Worker::begin(OwnedFd client, std::size_t route, Leg::Kind kind) {
  stats_.add(Counter::accepted);
  if (kind == Leg::Kind::unix_stream) {
    // What a TCP socket inherits from its listener: urgent data keeps its place in the stream.
    const int on = 1;
    static_cast<void>(::setsockopt(client.get(), SOL_SOCKET, SO_OOBINLINE, &on, sizeof on));
  }
  serve(*this, routes_[route], std::move(client), kind);
}

void Worker::accept_failed(int error) {
  pause_accepting();
  const auto times = shared_.accept_pauses.happened(reactor_->now());
  if (!times) return;
  const std::string reason = std::generic_category().message(error);
  rlimit descriptors{};
  static_cast<void>(::getrlimit(RLIMIT_NOFILE, &descriptors));
  log::warn("accept_paused", {{"reason", reason},
                              {"descriptors", std::uint64_t{descriptors.rlim_cur}},
                              {"times", *times}});
}

void Worker::descriptor_wanted(int error) {
  ++descriptors_wanted_;
  accept_failed(error);
}

void Worker::serve_waiting() {
  while (!waiting_.empty() && descriptors_wanted_ == 0 && admit()) {
    Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    adopt(std::move(next.client), next.route, next.kind);
  }
}

// After a pause: first those who were accepted already, then the listeners.
void Worker::resume_accepting() {
  reactor_->cancel_timer(retry_accepting_);
  serve_waiting();
  if (!waiting_.empty() || descriptors_wanted_ > 0) {
    if (descriptors_wanted_ == 0) note_full(0);
    reactor_->set_timer(retry_accepting_, reactor_->now() + Listener::kPause);
    return;
  }
  if (draining_) return check_drained();
  if (std::exchange(accepting_, true)) return note_calm();
  for (const auto& listener : listeners_) listener->start();
  reactor_->set_timer(retry_accepting_, reactor_->now() + kCalm);
}

void Worker::note_full(std::uint64_t clients) {
  const auto waited = shared_.full.happened(reactor_->now(), clients);
  if (!waited) return;
  log::warn("connections_full",
            {{"max_connections", shared_.max_connections}, {"waited", *waited}});
}

void Worker::note_calm() {
  if (const auto waited = shared_.full.ended(reactor_->now(), kCalm)) {
    log::info("connections_resumed",
              {{"max_connections", shared_.max_connections}, {"waited", *waited}});
  }
  if (const auto times = shared_.accept_pauses.ended(reactor_->now(), kCalm)) {
    log::info("accept_resumed", {{"times", *times}});
  }
}

// --- Sessions ---

void Worker::session_began(Session& session) {
  sessions_.add(session);
  stats_.add(Counter::active);
  if (!stopping_) return;
  session.stop(*stopping_);
  mirrors_->stop();  // what came along
}

void Worker::session_ended(Session& session) {
  session_leaves(session);
  if (session.recorded()) --recorded_;
  shared_.connections.fetch_sub(1);
  // Its place is for one that waits, but not from within somebody's call.
  if (!waiting_.empty()) reactor_->defer(*this);
  check_drained();
}

void Worker::session_leaves(Session& session) {
  sessions_.remove(session);
  stats_.subtract(Counter::active);
}

// Another worker that would have fewer streams, with one more, than this one has.
int Worker::worker_with_fewer_streams() const {
  std::uint32_t fewest = relay_context_->streams.load(std::memory_order_relaxed);
  int best = -1;
  if (draining_) return best;
  for (const Worker* other : shared_.workers) {
    const std::uint32_t streams = other->relay_context_->streams.load(std::memory_order_relaxed);
    if (streams + 1 >= fewest) continue;
    fewest = streams + 1;
    best = static_cast<int>(other->options_.index);
  }
  return best;
}

std::string Worker::session_id(std::uint64_t number) const {
  const std::uint64_t count = number & ((std::uint64_t{1} << kCountBits) - 1);
  return shared_.id_prefix + '-' + std::to_string(number >> kCountBits) + '-' +
         std::to_string(count);
}

std::size_t Worker::preferred_upstream(const Route& route) const { return preferred_[route.index]; }

void Worker::prefer_upstream(const Route& route, std::size_t upstream) {
  // An older snapshot's addresses may be others than those of today.
  if (routes_[route.index].get() == &route) preferred_[route.index] = upstream;
}

void Worker::upstream_failed(const Route& route, const Error& error) {
  shared_.on_upstream_failed(route.index);
  const auto times = shared_.upstream_failures[route.index].happened(reactor_->now());
  if (!times) return;
  const std::string reason = error.to_string();
  log::warn("upstream_failed",
            {{"route", route.config.name}, {"reason", reason}, {"times", *times}});
}

// --- Housekeeping ---

void Worker::trim_pipes() {
  free_pipes();
  if (const auto times = shared_.pipe_shortages.ended(reactor_->now(), kTrimInterval)) {
    log::info("pipes_suffice", {{"times", *times}});
  }
  reactor_->set_timer(trim_, reactor_->now() + kTrimInterval);
}

void Worker::note_shortage(PipeShortage shortage) {
  stats_.add(Counter::pipe_shortages);
  const auto times = shared_.pipe_shortages.happened(reactor_->now());
  if (!times) return;
  log::warn("copying_for_lack_of_pipes",
            {{"reason", describe(shortage)},
             {"pipe_slots", std::uint64_t{shared_.pool.slots_in_use()}},
             {"times", *times}});
}

// The last worker to close while no connection is left, or the last connection to end while all are
// closed, says so; connections on their way from one worker to another count, and so does what is
// still mirrored.
void Worker::check_drained() {
  if (!draining_) return;
  if (!closed_) {
    if (!waiting_.empty()) return;
    for (const auto& listener : listeners_) {
      if (!listener->closed()) return;
    }
    closed_ = true;
    shared_.workers_closed.fetch_add(1);
  }
  if (shared_.workers_closed == shared_.workers.size() && shared_.connections == 0 &&
      shared_.mirror_streams == 0) {
    shared_.on_drained();
  }
}

}  // namespace sluice
