#include "proxy/serve/worker.h"

#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <string_view>
#include <utility>

#include "iolib/base/shortage.h"
#include "proxy/log/log.h"

namespace sluice {
namespace {

// How often unused pipes are closed.
constexpr Duration kTrimInterval = std::chrono::seconds(10);

// How many sessions that have lost their server end in a turn.
constexpr std::size_t kLostPerTurn = 1'000;

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

Worker::Worker(Shared& shared, Reactor& reactor, std::size_t index, std::vector<Route> routes,
               FileRing* ring)
    : shared_(shared),
      reactor_(reactor),
      ring_(ring),
      index_(index),
      capture_(reactor, index),
      mirrors_(reactor, routes,
               MirrorOptions{index, shared.mirror_buffers_bytes, shared.mirror_descriptors,
                             &shared.mirror_shedding}),
      relay_context_(reactor, shared.pool),
      routes_(std::move(routes)),
      admission_(
          reactor, shared.places, stats_, [this](Accepted client) { admitted(std::move(client)); },
          [this] {
            shared_.workers_closed.fetch_add(1);
            check_drained();
          }) {
  relay_context_.thread = index_;
  relay_context_.on_shortage = [this](PipeShortage why) { note_shortage(why); };
  relay_context_.choose_thread = [this] {
    return admission_.draining() ? -1 : shared_.placement.with_fewer_streams(index_);
  };
  relay_context_.of_thread = [this](int thread) -> auto& {
    return worker(static_cast<std::size_t>(thread)).relay_context();
  };
  capture_.ask_sessions = [this](const std::string& path, std::function<void(bool)> answer) {
    look_for_sessions_to_record(path, std::move(answer));
  };
  mirrors_.id_of = [this](std::uint64_t number) { return session_id(number); };
  mirrors_.on_failed = shared_.on_mirror_failed;
  mirrors_.on_began = [this] { ++shared_.mirror_streams; };
  mirrors_.on_gone = [this] {
    --shared_.mirror_streams;
    check_drained();
  };
  admission_.snapshot_of = [this](std::size_t route) { return routes_.at(route); };
  reactor_.set_timer(*this, reactor_.now() + kTrimInterval);
}

Result<> Worker::prepare_taps(const CapturePlan& plan) {
  return or_shortage([&] { return capture_.prepare(ring_, plan); });
}

void Worker::commit_taps(const CapturePlan& plan, const std::vector<Route>& routes) {
  capture_.commit(plan);
  mirrors_.set_routes(routes);
}

// A session that has not begun to relay keeps the route that it began with, and so its recorder.
void Worker::look_for_sessions_to_record(const std::string& path,
                                         std::function<void(bool)> answer) {
  auto found = std::make_shared<bool>(false);
  walks_.begin(
      [found, path](const Session& session) {
        *found = session.may_yet_record_to(path);
        return !*found;
      },
      [found, answer = std::move(answer)] { answer(*found); });
}

void Worker::stop_sessions(EndReason why) {
  stopping_ = why;
  admission_.turn_away();
  // Sessions end in a later turn, so none leaves the list in this loop.
  for (Session& session : sessions_) session.stop(why);
  mirrors_.stop();
}

// In a deferral: when many servers go down together, the sessions are looked through once.
void Worker::end_some_lost_sessions() {
  std::size_t left = kLostPerTurn;
  for (Session& session : sessions_) {
    if (!session.has_lost_its_server()) continue;
    if (left-- == 0) return end_lost_sessions();
    session.stop(EndReason::server_down);
  }
}

// Keeps the best places in a heap whose front is the last of them. The oldest sessions are visited
// first: in the usual orders most of the others then have no place, and are not described.
void Worker::list_sessions(SessionQuery query, std::function<void(SessionPage)> done) {
  auto page = std::make_shared<SessionPage>();
  const auto before = [](const auto& a, const auto& b) { return a.place < b.place; };
  walks_.begin(
      [page, before, query = std::move(query)](const Session& session) {
        if (query.route && session.route_name() != *query.route) return true;
        const SessionPlace place = session.place(query.order);
        if (query.after && place <= *query.after) return true;
        std::vector<SessionPage::Item>& items = page->items;
        if (items.size() == query.limit) {
          page->more = true;
          if (items.empty() || items.front().place < place) return true;
          std::ranges::pop_heap(items, before);
          items.pop_back();
        }
        items.push_back({place, session.info()});
        std::ranges::push_heap(items, before);
        return true;
      },
      [page, done = std::move(done)] {
        std::ranges::sort(page->items, {}, &SessionPage::Item::place);
        done(std::move(*page));
      });
}

void Worker::kill_session(std::uint64_t number, const std::function<void(bool)>& done) {
  auto found = std::make_shared<bool>(false);
  walks_.begin(
      [found, number](Session& session) {
        if (session.number() != number) return true;
        *found = true;
        session.stop(EndReason::killed);
        return false;
      },
      [found, done] { done(*found); });
}

void Worker::update_route(const Route& route) {
  mirrors_.update(route);
  routes_.update(route);
  route.wake_queue();
}

// Clients that are queued where nobody will listen came for what holds until now. So did those that
// have been sent to another worker: they are there before the change.
void Worker::prepare_change(const WorkerChange& change, std::function<void()> done) {
  places_clients_ = false;
  admission_.retire(change.listeners, std::move(done));
}

void Worker::change(const WorkerChange& change, std::vector<ListenSocket> added) {
  commit_taps(change.captures, change.all_routes);
  for (const Route& route : change.routes.changed) mirrors_.update(route);
  routes_.change(change.routes);
  for (const Route& route : change.routes.changed) route.wake_queue();
  admission_.change(change.listeners, std::move(added));
}

void Worker::end_change() {
  routes_.forget_removed();
  places_clients_ = true;
}

// A connection that is recorded or mirrored stays with the worker where it begins, so it begins
// with the one that has the fewest of them. Any other connection begins on the CPU where it
// arrived, because a hop can double the time of a small message. It moves if it proves to be heavy.
void Worker::admitted(Accepted client) {
  if (client.snapshot != nullptr && !routes_.has(client.route)) {
    if (client.snapshot->tapped()) shared_.placement.arrived(index_);
    return begin(std::move(client));
  }
  if (!routes_.at(client.route)->tapped()) return begin(std::move(client));
  if (!places_clients_) {
    shared_.placement.arrived(index_);
    return begin(std::move(client));
  }
  const std::size_t place = shared_.placement.place(index_);
  if (place == index_) return begin(std::move(client));
  Worker& other = worker(place);
  other.reactor_.post([&other, fd = client.fd.release(), route = client.route, kind = client.kind] {
    other.begin_placed({OwnedFd(fd), route, kind, {}});
  });
}

// During a reload this worker may not know a route that the other one knows already, or know that
// nothing of it is recorded.
void Worker::begin_placed(Accepted client) {
  if (!routes_.knows(client.route)) {
    return reactor_.post(
        [this, fd = client.fd.release(), route = client.route, kind = client.kind] {
          begin_placed({OwnedFd(fd), route, kind, {}});
        });
  }
  if (!routes_.at(client.route)->tapped()) shared_.placement.left(index_);
  begin(std::move(client));
}

void Worker::begin(Accepted client) {
  const RouteSnapshot& route = client.snapshot ? client.snapshot : routes_.at(client.route);
  counts(*route).accepted.add();
  if (client.kind == Leg::Kind::unix_stream) {
    // A TCP socket inherits this from its listener: urgent data keeps its place in the stream.
    const int on = 1;
    static_cast<void>(::setsockopt(client.fd.get(), SOL_SOCKET, SO_OOBINLINE, &on, sizeof on));
  }
  serve(*this, route, std::move(client.fd), client.kind);
}

void Worker::session_began(Session& session) {
  sessions_.push_back(session);  // where walks rely on it
  stats_.active.add();
  if (stopping_) session.stop(*stopping_);
  if (session.has_lost_its_server()) session.stop(EndReason::server_down);
}

void Worker::session_arrived(Session& session) {
  if (session.tapped()) shared_.placement.arrived(index_);
  session_began(session);
}

void Worker::session_ended(Session& session) {
  session_leaves(session);
  admission_.leave();
  check_drained();
}

void Worker::session_leaves(Session& session) {
  walks_.leaves(session);
  sessions_.erase(sessions_.iterator_to(session));
  stats_.active.subtract();
  if (session.tapped()) shared_.placement.left(index_);
}

// It is counted with the worker where it is, if it is recorded or mirrored now.
void Worker::change_route(RouteSnapshot& of_session, RouteSnapshot route) {
  const bool was_tapped = of_session->tapped();
  counts(*of_session).active.subtract();
  of_session = std::move(route);
  counts(*of_session).active.add();
  if (of_session->tapped() != was_tapped) session_tapped(of_session->tapped());
}

std::string Worker::session_id(std::uint64_t number) const {
  const std::uint64_t count = number & ((std::uint64_t{1} << kCountBits) - 1);
  return shared_.id_prefix + '-' + std::to_string(number >> kCountBits) + '-' +
         std::to_string(count);
}

std::optional<std::uint64_t> Worker::session_number(std::string_view id) const {
  const std::string_view after = id.substr(std::min(id.size(), shared_.id_prefix.size() + 1));
  std::uint64_t worker = 0;
  std::uint64_t count = 0;
  const char* const end = after.data() + after.size();
  const char* const dash = std::from_chars(after.data(), end, worker).ptr;
  if (dash == end) return std::nullopt;
  std::from_chars(dash + 1, end, count);
  const std::uint64_t number = (worker << kCountBits) | count;
  return session_id(number) == id ? std::optional(number) : std::nullopt;
}

void Worker::upstream_failed(const Route& route, const Server* server, const Error& error) {
  if (server != nullptr) shared_.on_upstream_failed(route.number, server->index);
  const auto times = route.stats->upstream_failures.happened(reactor_.now());
  if (!times) return;
  const std::string reason = error.to_string();
  log::warn("upstream_failed",
            {{"route", route.config.name}, {"reason", reason}, {"times", *times}});
}

bool Worker::logs_rejection(const RouteSnapshot& route, EndReason why) {
  const TimePoint now = reactor_.now();
  if (route->stats->rejected[ending_index(why)].happened(now)) return true;
  const auto is_same = [&](const RouteSnapshot& each) { return each->stats == route->stats; };
  if (std::ranges::none_of(rejecting_, is_same)) rejecting_.push_back(route);
  if (!rejections_.is_set()) reactor_.set_timer(rejections_, now + EverySecond::kPause);
  return false;
}

// All workers count together, so another one may have logged what this one counted.
void Worker::log_rejections() {
  const TimePoint now = reactor_.now();
  bool pending = false;
  for (const RouteSnapshot& route : rejecting_) {
    for (const Ending& ending : kEndings) {
      if (!is_rejection(ending.reason)) continue;
      EverySecond& lines = route->stats->rejected[ending_index(ending.reason)];
      if (const auto times = lines.due(now)) {
        std::vector<log::Field> fields = {
            {"route", route->config.name}, {"reason", ending.name}, {"times", *times}};
        if (!ending.limit.empty()) fields.insert(fields.end() - 1, {"limit", ending.limit});
        log::write(LogLevel::info, "rejected", fields);
      }
      pending = pending || lines.is_pending();
    }
  }
  if (pending) return reactor_.set_timer(rejections_, now + EverySecond::kPause);
  rejecting_.clear();
}

// Closes unused pipes.
void Worker::expired() {
  shared_.pool.trim();
  shared_.server_changes.summarize();
  if (const auto times = shared_.pipe_shortages.ended(reactor_.now(), kTrimInterval)) {
    log::info("pipes_suffice", {{"times", *times}});
  }
  reactor_.set_timer(*this, reactor_.now() + kTrimInterval);
}

void Worker::note_shortage(PipeShortage shortage) {
  stats_.pipe_shortages.add();
  const auto times = shared_.pipe_shortages.happened(reactor_.now());
  if (!times) return;
  log::warn("copying_for_lack_of_pipes",
            {{"reason", describe(shortage)},
             {"pipe_slots", std::uint64_t{shared_.pool.slots_in_use()}},
             {"times", *times}});
}

// Reports the end of draining. The last worker to close does so if no connection is left, otherwise
// the last connection to end. Connections on their way from one worker to another count, and so do
// mirror streams.
void Worker::check_drained() {
  if (!admission_.closed()) return;
  if (shared_.workers_closed == shared_.workers.size() && shared_.places.taken() == 0 &&
      shared_.mirror_streams == 0) {
    shared_.on_drained();
  }
}

}  // namespace sluice
