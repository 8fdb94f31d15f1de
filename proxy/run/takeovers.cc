#include "proxy/run/takeovers.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "iolib/base/file_identity.h"
#include "proxy/log/log.h"
#include "proxy/takeover/runtime_state.h"

namespace sluice {
namespace {

// The sockets of all workers in the order in which they were bound: socket i of an address is with
// worker i % n.
std::vector<OwnedFd> in_order(std::vector<std::vector<OwnedFd>> of_workers) {
  std::vector<OwnedFd> sockets;
  std::size_t most = 0;
  for (const auto& each : of_workers) most = std::max(most, each.size());
  for (std::size_t i = 0; i < most; ++i) {
    for (auto& each : of_workers) {
      if (i < each.size()) sockets.push_back(std::move(each[i]));
    }
  }
  return sockets;
}

}  // namespace

Takeovers::Takeovers(const Config& config, Control& control, const Workers& workers,
                     admin::AdminThread& admin, ListenSockets& listeners, DaemonSource& source,
                     CaptureDirectories& captures, std::vector<std::string> arguments,
                     Actions actions)
    : config_(config),
      control_(control),
      workers_(workers),
      admin_(admin),
      listeners_(listeners),
      actions_(std::move(actions)),
      source_(source),
      captures_(captures),
      predecessors_(
          {.reported = [this] { inherit(); },
           .ended = [this](const std::vector<std::string>& runs) { captures_.ended(runs); }}),
      launcher_(takeover::own_program(arguments.empty() ? "" : arguments.front()),
                std::move(arguments)),
      predecessor_({
          .refusal = [this] { return refusal(); },
          .hand_over = [this] { return hand_over(); },
          .hold = [this](pid_t pid) { return hold(pid); },
          .refused = [this](pid_t pid, const std::string& reason) { launcher_.tell(pid, reason); },
          .release = [this](pid_t pid, const std::string& reason) { release(pid, reason); },
          .confirmed = [this](pid_t pid) { launcher_.tell(pid, ""); },
          .let_go = [this](pid_t pid) { return let_go(pid); },
          .ended = [this](const std::vector<std::string>& runs) { captures_.ended(runs); },
          .report = [this] { return report_changes(); },
      }) {}

// --- As a successor ---

Result<> Takeovers::ask(InheritedSockets& inherited) {
  const char* const told = std::getenv(takeover::kSocketVariable);
  Result<takeover::Handover> handover =
      successor_.ask(told != nullptr ? told : config_.takeover_socket);
  if (handover.has_error()) return handover.error();
  for (OwnedFd& each : handover->sockets) inherited.add(std::move(each));
  handed_paths_ = std::move(handover->paths);
  runtime_ = std::move(handover->runtime);
  other_.pid = handover->pid;
  other_.runs = std::move(handover->runs);
  captures_.inherit(std::move(handover->captures));
  predecessors_.add(std::move(handover->ancestors));
  return {};
}

void Takeovers::restore(std::span<const Route> routes) {
  takeover::restore(runtime_, routes, config_, Clock::now());
}

Result<> Takeovers::await_go() {
  const Result<json::object> go = successor_.await_go(captures_.runs());
  if (go.has_error()) return go.error();
  other_.totals = takeover::totals_from_json(takeover::object_of(*go, "totals"));
  other_.held = takeover::totals_from_json(takeover::object_of(*go, "held"));
  takeover::Totals sums = predecessors_.totals();
  takeover::add(sums, other_.totals);
  takeover::Totals held = predecessors_.held();
  takeover::add(held, other_.held);
  const std::lock_guard lock(totals_mutex_);
  totals_.inherit(sums);
  totals_.set_held(held);
  return {};
}

void Takeovers::settle() {
  if (!pending()) return;
  static_cast<void>(control_.begin_change());
  settling_ = true;
  successor_.settle({
      .answers = [this] { return answers(); },
      .settled =
          [this](json::object released, takeover::Link link) {
            const auto shared = std::make_shared<takeover::Link>(std::move(link));
            control_.post([this, shared, released = std::move(released)] {
              settled(released, std::move(*shared));
            });
          },
      .lost = [this](const Error& why) { control_.post([this, why] { lost(why); }); },
  });
}

// On the successor's thread.
bool Takeovers::answers() {
  return ask_
      .workers<Said>([](WorkerThread& worker, const std::function<void(Said)>& answer) {
        worker.after_turn([answer] { answer(Said{}); });
      })
      .has_value();
}

void Takeovers::settled(const json::object& released, takeover::Link link) {
  log::info("taken_over", {{"pid", static_cast<std::uint64_t>(other_.pid)}});
  settling_ = false;
  control_.end_change();
  captures_.take_charge();
  actions_.begin();
  takeover::replace(other_.totals,
                    takeover::totals_from_json(takeover::object_of(released, "totals")));
  other_.held = takeover::totals_from_json(takeover::object_of(released, "held"));
  other_.connections = takeover::number_of(released, "connections");
  other_.link = link.release();
  other_.process = successor_.release_process();
  predecessors_.add_newest(std::move(other_));
  inherit();
  predecessors_.start();
  if (takeover::flag_of(runtime_, "set_aside")) static_cast<void>(control_.set_lame_duck(true));
  runtime_.clear();
  listeners_.own_paths(handed_paths_);
  admin_.own_paths(handed_paths_);
  sockets_.own_paths(handed_paths_);
  // What this process does not listen on is nobody's any more.
  const std::vector<SocketPath> owned = own_paths();
  for (const SocketPath& each : std::exchange(handed_paths_, {})) {
    if (std::ranges::find(owned, each.path, &SocketPath::path) != owned.end()) continue;
    unlink_if_same(AT_FDCWD, each.path, each.socket);
  }
  if (const Result<> listening = listen_for_successors(); listening.has_error()) {
    log::error("takeover_socket_closed", {{"reason", listening.error().to_string()}});
  }
}

// What all predecessors have counted. On any thread.
void Takeovers::inherit() {
  {
    const std::lock_guard lock(totals_mutex_);
    totals_.inherit(predecessors_.totals());
    totals_.set_held(predecessors_.held());
  }
  std::vector<admin::Predecessor> list;
  for (const auto& [pid, connections] : predecessors_.list()) list.push_back({pid, connections});
  source_.set_predecessors(std::move(list));
}

void Takeovers::lost(const Error& why) {
  const std::string reason = why.to_string();
  log::error("takeover_failed", {{"reason", reason}});
  admin_.remove_unix_paths();
  admin_.let_go();
  actions_.give_up();
}

// --- As a predecessor ---

Result<> Takeovers::open(InheritedSockets& inherited) {
  Result<ListenSockets> sockets = open_takeover_socket(config_, inherited);
  if (sockets.has_error()) return sockets.error();
  sockets_ = *std::move(sockets);
  return {};
}

Result<> Takeovers::listen() {
  if (Result<> listening = sockets_.listen({}); listening.has_error()) return listening;
  return pending() ? Result<>() : listen_for_successors();
}

Result<> Takeovers::listen_for_successors() {
  if (sockets_.sockets.empty()) return {};
  OwnedFd listener = std::move(sockets_.sockets.front().fd);
  sockets_.sockets.clear();
  return predecessor_.start(std::move(listener));
}

void Takeovers::before_end() {
  successor_.give_up();
  if (const pid_t successor = held_by_; successor != 0) actions_.leave(successor);
}

void Takeovers::before_drain() {
  before_end();
  if (held_by_ != 0) forget_paths();
}

void Takeovers::reopen_logs() {
  log::reopen();
  predecessors_.signal(SIGHUP);
}

void Takeovers::forget_paths() {
  listeners_.unix_paths.clear();
  sockets_.unix_paths.clear();
  admin_.let_go();
}

void Takeovers::remove_unix_paths() { sockets_.remove_unix_paths(); }

void Takeovers::launch(std::function<void(admin::TakeoverResult)> done) {
  if (config_.takeover_socket.empty()) {
    return done(
        {.taken = false,
         .reason = "the running process has no takeover-socket: restart it with one in its file"});
  }
  if (settling_) return done({.taken = false, .reason = "another takeover is going on"});
  launcher_.launch(config_.takeover_socket,
                   [done = std::move(done)](pid_t pid, const std::string& reason) {
                     done({.taken = reason.empty(), .reason = reason, .pid = pid});
                   });
}

void Takeovers::end() {
  launcher_.end();
  // Its thread may be about to start or stop that of the predecessors.
  predecessor_.end(report(own_totals()));
  // It may wait for an answer, which only the stop above cuts short.
  successor_.end();
  predecessors_.stop();
}

std::string Takeovers::refusal() {
  if (predecessors_.count() >= takeover::kMostPredecessors) {
    return std::to_string(predecessors_.count()) +
           " processes that were replaced still have connections, and no more may";
  }
  const auto begun = std::make_shared<bool>(false);  // the control thread has it
  const Result<std::string> reason =
      ask_.control<std::string>([this, begun](const std::function<void(std::string)>& answer) {
        if (control_.is_ending()) return answer("the running process ends");
        *begun = control_.begin_change();
        answer(*begun ? "" : "the running process reloads its configuration");
      });
  if (reason.has_value()) return *reason;
  // The question may still be asked, but nobody waits for the answer.
  control_.post([this, begun] {
    if (*begun) control_.end_change();
  });
  return reason.error().to_string();
}

Result<takeover::Handover> Takeovers::hand_over() {
  takeover::Handover handover;
  handover.pid = ::getpid();
  handover.process = takeover::open_process(::getpid());
  using Copies = Result<std::vector<OwnedFd>>;
  using Some = std::shared_ptr<Copies>;
  const Result<std::vector<Some>> copies =
      ask_.workers<Some>([](WorkerThread& worker, const std::function<void(Some)>& answer) {
        worker.copy_sockets(
            [answer](Copies some) { answer(std::make_shared<Copies>(std::move(some))); });
      });
  if (copies.has_error()) return copies.error();
  std::vector<std::vector<OwnedFd>> of_workers;
  for (const Some& each : *copies) {
    if (each->has_error()) return each->error();
    of_workers.push_back(std::move(**each));
  }
  handover.sockets = in_order(std::move(of_workers));
  const Result<Some> of_admin = ask_.control<Some>([this](const std::function<void(Some)>& answer) {
    answer(std::make_shared<Copies>(admin_.copy_sockets()));
  });
  if (of_admin.has_error()) return of_admin.error();
  if ((*of_admin)->has_error()) return (*of_admin)->error();
  for (OwnedFd& each : **of_admin.value()) handover.sockets.push_back(std::move(each));
  OwnedFd own = predecessor_.copy_listener();
  if (!own) return errno_error("copy a listening socket");
  handover.sockets.push_back(std::move(own));
  Result<std::vector<SocketPath>> owned = ask_.control<std::vector<SocketPath>>(
      [this](const std::function<void(std::vector<SocketPath>)>& answer) { answer(own_paths()); });
  if (owned.has_error()) return owned.error();
  handover.paths = *std::move(owned);
  predecessors_.stop();
  Result<takeover::Ancestors> ancestors = predecessors_.hand_over();
  if (ancestors.has_error()) return ancestors.error();
  handover.ancestors = *std::move(ancestors);
  Result<HandedCaptures> captures = captures_.hand_over();
  if (captures.has_error()) return captures.error();
  handover.captures = *std::move(captures);
  handover.runs = captures_.runs();
  handover.runtime = takeover::runtime_state(source_.routes(), *source_.config(), Clock::now());
  handover.runtime["set_aside"] = source_.state() == admin::RunState::lame_duck;
  return handover;
}

std::vector<SocketPath> Takeovers::own_paths() const {
  std::vector<SocketPath> paths = listeners_.unix_paths;
  for (const SocketPath& each : admin_.paths()) paths.push_back(each);
  for (const SocketPath& each : sockets_.unix_paths) paths.push_back(each);
  return paths;
}

Result<json::object> Takeovers::hold(pid_t successor) {
  const Result<std::string> obstacle =
      ask_.control<std::string>([this, successor](const std::function<void(std::string)>& answer) {
        if (control_.is_ending()) return answer("the running process ends");
        held_by_ = successor;
        answer("");
      });
  if (obstacle.has_error()) return obstacle.error();
  if (!obstacle->empty()) return Error{0, *obstacle};
  admin_.hold();
  const Result<std::vector<Said>> held =
      ask_.workers<Said>([](WorkerThread& worker, const std::function<void(Said)>& answer) {
        worker.hold_accepting([answer] { answer(Said{}); });
      });
  if (held.has_error()) return held.error();
  return report(own_totals());
}

takeover::Totals Takeovers::own_totals() {
  const std::lock_guard lock(totals_mutex_);
  return totals_.own();
}

json::object Takeovers::report(const takeover::Totals& totals) const {
  json::object report;
  report["totals"] = takeover::to_json(totals);
  report["held"] = takeover::to_json(totals_.held());
  const auto figures = source_.figures();
  report["connections"] = figures ? figures->connections : 0;
  return report;
}

// A draining process with many routes counts for few of them.
json::object Takeovers::report_changes() {
  takeover::Totals own = own_totals();
  json::object changes = report(takeover::changed(own, reported_));
  reported_ = std::move(own);
  return changes;
}

void Takeovers::release(pid_t successor, const std::string& reason) {
  held_by_ = 0;
  admin_.release();
  const Result<std::vector<Said>> released =
      ask_.workers<Said>([](WorkerThread& worker, const std::function<void(Said)>& answer) {
        worker.release_accepting([answer] { answer(Said{}); });
      });
  static_cast<void>(released);
  predecessors_.start();
  control_.post([this] { control_.end_change(); });
  launcher_.tell(successor, reason);
  log::warn("takeover_failed",
            {{"pid", static_cast<std::uint64_t>(successor)}, {"reason", reason}});
}

// The sockets and captures are the successor's.
void Takeovers::leave(pid_t successor) {
  if (held_by_.exchange(0) == 0) return;
  log::info("handed_over", {{"pid", static_cast<std::uint64_t>(successor)}});
  forget_paths();
  captures_.let_go();
}

json::object Takeovers::let_go(pid_t successor) {
  const Result<Said> gone =
      ask_.control<Said>([this, successor](const std::function<void(Said)>& answer) {
        leave(successor);
        actions_.leave(successor);
        actions_.drain();
        control_.end_change();
        answer(Said{});
      });
  // Then the control thread waits until this one has ended.
  if (gone.has_error() && predecessor_.stop().stopped()) leave(successor);
  reported_ = own_totals();
  return report(reported_);
}

}  // namespace sluice
