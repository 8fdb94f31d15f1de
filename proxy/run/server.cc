#include "proxy/run/server.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <latch>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "iolib/base/owned_fd.h"
#include "iolib/base/text.h"
#include "iolib/base/units.h"
#include "iolib/pipe/pipe_pool.h"
#include "proxy/admin/admin_thread.h"
#include "proxy/health/health_thread.h"
#include "proxy/listen/listen_sockets.h"
#include "proxy/log/log.h"
#include "proxy/run/admin_commands.h"
#include "proxy/run/admin_source.h"
#include "proxy/run/control.h"
#include "proxy/run/machine.h"
#include "proxy/run/reloader.h"
#include "proxy/run/run_id.h"
#include "proxy/run/service.h"
#include "proxy/run/start_watch.h"
#include "proxy/run/summary.h"
#include "proxy/run/takeovers.h"
#include "proxy/run/worker_thread.h"
#include "proxy/serve/shared.h"
#include "proxy/system/activation.h"
#include "proxy/system/notify.h"
#include "proxy/taps/capture.h"

namespace sluice {
namespace {

using admin::RunState;

constexpr int kExitDone = 0;
constexpr int kExitFailed = 1;
// How long the end waits for captures to close, how often it checks, and how long it waits again
// after giving up unwritten bytes.
constexpr Duration kCaptureGrace = std::chrono::seconds(10);
constexpr Duration kCaptureLook = std::chrono::milliseconds(2);
constexpr Duration kCaptureLastGrace = std::chrono::seconds(2);

// The descriptors of one connection without pipes: at most its socket, its file, and the eventfd on
// which it waits for the file's thread.
constexpr std::size_t kConnectionDescriptors = 3;
// The descriptors of a recorder: its segment and the next one.
constexpr std::size_t kRecorderDescriptors = 2;

constexpr std::string_view kPipesSmaller =
    "the limit for unprivileged users: fs.pipe-max-size or fs.pipe-user-pages-soft";

int fail(const Error& error) {
  std::fprintf(stderr, "sluice: %s\n", one_line(error.to_string()).c_str());
  return kExitFailed;
}

// Blocks or unblocks signals for this thread and its later threads. `how` is SIG_BLOCK or
// SIG_UNBLOCK. Only the control thread handles signals.
void mask_signals(int how, std::initializer_list<int> signals) {
  sigset_t masked;
  sigemptyset(&masked);
  for (const int signal : signals) sigaddset(&masked, signal);
  pthread_sigmask(how, &masked, nullptr);
}

// Fails if there are too few free descriptors for all recorders and one connection: a daemon that
// listens without them would serve no client.
Result<> find_descriptors(std::size_t recorders) {
  std::vector<OwnedFd> found;
  while (found.size() < kConnectionDescriptors + recorders * kRecorderDescriptors) {
    found.emplace_back(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0));
    if (!found.back()) return errno_error("reserve descriptors for a connection");
  }
  return {};
}

// The running daemon. The control thread owns it.
class Daemon {
 public:
  /// `arguments`: the command line, for reloads.
  Daemon(const Invocation& invocation, Machine machine, std::vector<std::string> arguments,
         InheritedSockets inherited, Duration watchdog_time)
      : Daemon(std::make_shared<const Config>(invocation.config), std::move(machine), arguments,
               std::move(inherited), watchdog_time) {
    if (!invocation.config_file.empty()) arguments_ = std::move(arguments);
    commands_.use(takeovers_);
  }

  ~Daemon() {
    takeovers_.end();
    takeovers_.remove_unix_paths();
    listeners_.remove_unix_paths();
    admin_.end();  // it reads what the workers count
    end_workers();
    health_.reset();  // it may hold a reply, which needs the loop of the admin thread
  }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  /// Does everything that can take long: resolves names, binds the listeners, recovers captures,
  /// and creates the workers. A signal can end the process at any point.
  Result<> start(bool takes_over);
  /// Begins to accept clients.
  Result<> listen();
  int run();
  /// Tells the process that this one was to replace.
  void tell_failure(const Error& error) { takeovers_.fail(error); }
  /// Leaves no path of the admin thread behind when a signal ends the start. Any thread.
  void before_early_end() { admin_.remove_unix_paths(); }

 private:
  Daemon(std::shared_ptr<const Config> config, Machine machine,
         std::vector<std::string> command_line, InheritedSockets inherited, Duration watchdog_time)
      : config_(std::move(config)),
        command_line_(std::move(command_line)),
        machine_(std::move(machine)),
        pool_({config_->pipe_size_bytes, config_->pipe_budget_slots,
               PipePool::Options{}.thread_pipes}),
        control_(config_, machine_.workers,
                 {[this] { begin_lame_duck(); }, [this] { begin_drain(); }, [this] { end_drain(); },
                  [this] { exit_now(); }, [this] { reload(); },
                  [this] {
                    print_limits(control_.routes());
                    print_servers(control_.routes(), health_.get());
                    print_summary();
                  },
                  [this](const Route& route) {
                    for (const auto& worker : workers_) worker->update_route(route);
                    if (health_->is_running()) health_->update(route);
                    source_.update_route(route);
                  },
                  [this] {
                    for (const auto& worker : workers_) worker->end_lost_sessions();
                  },
                  [this](bool lame_duck) { set_lame_duck(lame_duck); }}),
        inherited_(std::move(inherited)),
        service_(watchdog_time, control_, workers_, admin_) {}

  Result<> prepare();
  void make_health();
  Result<> start_workers(const CapturePlan& captures);
  void share(const std::string& run);
  Result<> make_workers();
  void end_workers();
  void close_captures();
  void reload();
  void set_lame_duck(bool lame_duck);
  void begin_lame_duck();
  void begin_drain();
  void give_up();
  void end_drain();
  [[noreturn]] void exit_now();
  void print_summary() const {
    sluice::print_summary(control_.routes(), removed_, workers_, *captures_, pool_);
  }
  void log_start();
  [[nodiscard]] std::string serving() const;

  const std::shared_ptr<const Config> config_;  ///< of the start
  const std::vector<std::string> command_line_;
  std::vector<std::string> arguments_;  ///< empty: there is no file to reload
  Machine machine_;
  PipePool pool_;
  Control control_;
  RemovedRoutes removed_;
  ServerChanges server_changes_;
  std::unique_ptr<HealthThread> health_;
  /// Shared with the thread of a reload, which can outlive this.
  const std::shared_ptr<CaptureDirectories> captures_ = std::make_shared<CaptureDirectories>();
  std::unique_ptr<Shared> shared_;
  std::vector<std::unique_ptr<WorkerThread>> workers_;
  InheritedSockets inherited_;  ///< that no listener has taken yet
  ListenSockets listeners_;     ///< hold the sockets until the workers take them
  DaemonSource source_{machine_, pool_, config_->pipe_budget_slots, workers_, *captures_, health_};
  DaemonCommands commands_{control_, workers_};
  admin::AdminThread admin_{*config_, source_, commands_};
  Service service_;
  std::optional<Reloader> reloader_;  ///< while it runs, if there is a file
  Takeovers takeovers_{*config_,
                       control_,
                       workers_,
                       admin_,
                       listeners_,
                       source_,
                       *captures_,
                       command_line_,
                       {[this] { service_.begin(serving()); },
                        [this](pid_t successor) { service_.hand_over(successor); },
                        [this] { control_.hand_over(); }, [this] { give_up(); }}};
  bool incomplete_ = false;  ///< recorded bytes did not reach the disk
  bool given_up_ = false;    ///< the process that was to be replaced goes on
};

Result<> Daemon::prepare() {
  Result<std::vector<Route>> routes = control_.resolve_routes();
  if (routes.has_error()) return routes.error();
  takeovers_.restore(*routes);
  source_.set_routes(*routes);
  Result<ListenSockets> listeners = open_listeners(*config_, machine_.workers, inherited_);
  if (listeners.has_error()) return listeners.error();
  listeners_ = std::move(*listeners);
  if (Result<> opened = log::open(*config_); opened.has_error()) return opened;
  report_unresolved(control_.look_ups());
  close_unused(inherited_);
  report_passed_over(*config_, listeners_);
  make_health();
  if (std::ranges::none_of(*routes, checks_servers)) return {};
  if (Result<> started = health_->start(*routes); started.has_error()) return started;
  health_->await_first_checks();
  return {};
}

void Daemon::make_health() {
  // The listeners of a reload listen before its servers are checked.
  const auto listeners = std::make_shared<const ListenSet>(listeners_of(*config_));
  health_ = std::make_unique<HealthThread>(
      server_changes_,
      HealthChecker::Hooks{
          .listens_here =
              [listeners](const Server& server) { return leads_to(*listeners, server); },
          .failed =
              [this](const Route& route, const Server& server) {
                // A name of many is looked up at its interval anyway.
                const bool is_name = server.endpoints.front().text != server.name &&
                                     is_server(route.config.to[server.index].address);
                if (is_name) control_.upstream_failed(route.number, server.index);
              },
          .end_sessions = [this] { control_.server_fell(); }});
}

Result<> Daemon::start(bool takes_over) {
  log::set_level(config_->log_level);  // for those who ask during the start
  source_.set_config(config_);
  if (takes_over) {
    if (Result<> asked = takeovers_.ask(inherited_); asked.has_error()) return asked;
  }
  // First, so that it answers while the rest may take long.
  if (Result<> started = admin_.start(inherited_, !takes_over); started.has_error()) return started;
  if (Result<> opened = takeovers_.open(inherited_); opened.has_error()) return opened;
  if (Result<> prepared = prepare(); prepared.has_error()) return prepared;
  control_.start_file_threads();
  const std::string run = run_id();
  Result<CapturePlan> captures = captures_->prepare(*config_, run);
  if (captures.has_error()) return captures.error();
  if (Result<> started = start_workers(*captures); started.has_error()) return started;
  const std::size_t recorders = captures->directories.size() * workers_.size();
  if (Result<> found = find_descriptors(recorders); found.has_error()) return found;
  return takeovers_.pending() ? takeovers_.await_go() : Result<>();
}

// If one worker cannot have io_uring although the probe could, all workers use epoll.
Result<> Daemon::start_workers(const CapturePlan& captures) {
  share(captures.run);
  Result<> made = make_workers();
  if (made.has_error() && machine_.uring && config_->engine == Engine::automatic) {
    machine_.uring = false;
    machine_.uring_refused = made.error().to_string();
    made = make_workers();
  }
  if (made.has_error()) return made;
  for (const auto& worker : workers_) {
    if (Result<> set_up = worker->set_up(captures); set_up.has_error()) return set_up;
    shared_->workers.push_back(&worker->worker());
    shared_->placement.add(worker->worker().relay_context());
  }
  captures_->commit(captures);
  return {};
}

// Joins all threads before it destroys any worker, because workers read each other's state.
void Daemon::end_workers() {
  for (const auto& worker : workers_) worker->join();
  workers_.clear();
}

Result<> Daemon::make_workers() {
  end_workers();
  for (std::size_t index = 0; index < machine_.workers; ++index) {
    WorkerOptions options;
    options.index = index;
    options.uring = machine_.uring;
    options.busy_poll = to_duration(config_->busy_poll);
    options.cpu = machine_.cpus.empty() ? -1 : machine_.cpus[index];
    options.routes = control_.routes();
    workers_.push_back(std::make_unique<WorkerThread>(*shared_, std::move(options)));
    if (Result<> started = workers_.back()->start(); started.has_error()) return started;
  }
  return {};
}

Result<> Daemon::listen() {
  if (Result<> listening = listeners_.listen(machine_.cpus); listening.has_error()) {
    return listening;
  }
  if (Result<> listening = takeovers_.listen(); listening.has_error()) return listening;
  // Nothing fails from here on: a process that was to be replaced could not serve who is accepted.
  std::vector<std::vector<ListenSocket>> of_workers(workers_.size());
  for (ListenSocket& socket : std::exchange(listeners_.sockets, {})) {
    of_workers[socket.worker].push_back(std::move(socket));
  }
  for (const auto& worker : workers_) worker->start_capture(captures_->plan());
  for (std::size_t index = 0; index < workers_.size(); ++index) {
    workers_[index]->accept_from(std::move(of_workers[index]));
  }
  source_.enter(RunState::ready);
  admin_.release();
  if (!takeovers_.pending()) service_.begin(serving());
  return {};
}

void Daemon::share(const std::string& run) {
  shared_ = std::make_unique<Shared>(pool_, server_changes_, machine_.connections,
                                     accepts_one_by_one(*config_, machine_.connections));
  shared_->id_prefix = run;
  shared_->on_upstream_failed = [this](std::size_t route, std::size_t server) {
    control_.upstream_failed(route, server);
  };
  shared_->on_mirror_failed = [this](const std::string& address) {
    control_.mirror_failed(address);
  };
  shared_->mirror_buffers_bytes = config_->mirror_buffers_bytes;
  shared_->mirror_descriptors = machine_.mirror_descriptors;
  shared_->on_drained = [this] { control_.finish(); };
}

void Daemon::log_start() {
  if (!machine_.uring_refused.empty()) {
    log::warn("engine_fallback", {{"engine", "epoll"}, {"reason", machine_.uring_refused}});
  }
  // Without any pipe, the log says so when the first connection needs one.
  if (machine_.pipe_bytes > 0 && machine_.pipe_bytes < config_->pipe_size_bytes) {
    log::warn("pipes_smaller", {{"granted", format_size_bytes(machine_.pipe_bytes)},
                                {"asked", format_size_bytes(config_->pipe_size_bytes)},
                                {"reason", kPipesSmaller}});
  }
  report_bound(*config_, listeners_);
  for (const ListenSockets::Bound& bound : admin_.listeners().bound) {
    log::info("admin_listening", {{"address", bound.address}});
  }
  for (const ListenSockets::PassedOver& each : admin_.listeners().passed_over) {
    log::warn("address_passed_over", {{"name", each.name}, {"reason", each.reason}});
  }
  if (machine_.connections < config_->max_connections) {
    log::warn("connections_bounded",
              {{"max_connections", machine_.connections}, {"descriptors", machine_.descriptors}});
  }
  captures_->log_new();
  log::info("started", {{"workers", std::uint64_t{machine_.workers}},
                        {"engine", machine_.uring ? "uring" : "epoll"},
                        {"pinned", machine_.cpus.empty() ? "no" : "yes"}});
}

int Daemon::run() {
  log_start();
  takeovers_.settle();
  if (!arguments_.empty()) {
    reloader_.emplace(
        Reloader::Daemon{control_, workers_, *health_, source_, *shared_, machine_, listeners_,
                         removed_, captures_, [this] { service_.reloading(); },
                         [this] { service_.reloaded(serving()); }},
        std::move(arguments_));
    commands_.use(*reloader_);
  }
  control_.catch_signals();
  mask_signals(SIG_UNBLOCK, {SIGTERM, SIGINT, SIGHUP, SIGUSR1});
  control_.run();
  takeovers_.end();
  close_captures();
  for (const auto& worker : workers_) worker->join();
  server_changes_.summarize();
  if (log::enabled(LogLevel::info)) print_summary();
  log::info("ended", {{"reason", control_.ending()}});
  return incomplete_ || given_up_ ? kExitFailed : kExitDone;
}

// Writes and seals all captures, in bounded time.
void Daemon::close_captures() {
  std::latch open(static_cast<std::ptrdiff_t>(workers_.size()));
  for (const auto& worker : workers_) worker->close_capture([&open] { open.count_down(); });
  const auto closed_within = [&open](Duration grace) {
    const TimePoint deadline = Clock::now() + grace;
    while (!open.try_wait() && Clock::now() < deadline) std::this_thread::sleep_for(kCaptureLook);
    return open.try_wait();
  };
  if (closed_within(kCaptureGrace)) return;
  log::error("capture_incomplete", {{"reason", "the disk did not finish in time"}});
  incomplete_ = true;
  for (const auto& worker : workers_) worker->give_up_capture();
  if (closed_within(kCaptureLastGrace)) return;
  static_cast<void>(log::close());
  admin_.remove_unix_paths();
  std::_Exit(kExitFailed);
}

// What systemd shows of the daemon.
std::string Daemon::serving() const {
  const std::size_t routes = control_.routes().size();
  return "Serves " + std::to_string(routes) + (routes == 1 ? " route" : " routes");
}

// Whatever the file says, the log is opened anew: log rotation relies on it. In a process that was
// replaced nothing else is left to do.
void Daemon::reload() {
  takeovers_.reopen_logs();
  if (reloader_ && !control_.is_handed_over()) reloader_->reload(false, {});
}

void Daemon::set_lame_duck(bool lame_duck) {
  const RunState next = lame_duck ? RunState::lame_duck : RunState::ready;
  log::print("operator",
             {{"change", "state"}, {"from", name_of(source_.state())}, {"to", name_of(next)}});
  source_.enter(next);
  service_.status(lame_duck ? "Asks clients to go elsewhere" : serving());
}

void Daemon::begin_lame_duck() {
  log::info("lame_duck", {{"time", format_duration(control_.config()->lame_duck)}});
  source_.enter(RunState::lame_duck);
  takeovers_.before_end();
  service_.stopping("Asks clients to go elsewhere");
}

void Daemon::begin_drain() {
  source_.enter(RunState::draining);
  takeovers_.before_drain();
  service_.stopping("Accepts no connections; waits for those that are left to end");
  const Config& config = *control_.config();
  const auto timeout = control_.is_handed_over() ? config.takeover_drain : config.drain_timeout;
  const bool forever = control_.is_handed_over() && timeout == Duration::zero();
  log::info("draining", {{"timeout", forever ? "none" : format_duration(timeout)}});
  listeners_.remove_unix_paths();
  for (const auto& worker : workers_) worker->drain();
}

void Daemon::give_up() {
  given_up_ = true;
  control_.hand_over();
}

void Daemon::end_drain() {
  for (const auto& worker : workers_) worker->stop_sessions(EndReason::drain_timeout);
}

// Ends the process although connections are left. Bytes recorded for them may be unwritten or
// unsealed.
void Daemon::exit_now() {
  const bool recorded = !captures_->all().empty();
  if (recorded) {
    log::error("capture_incomplete", {{"reason", "connections did not end in time"}});
  }
  log::flush();
  takeovers_.remove_unix_paths();
  admin_.remove_unix_paths();
  std::_Exit(recorded ? kExitFailed : kExitDone);
}

}  // namespace

int run_server(const Invocation& invocation, std::vector<std::string> arguments) {
  // Before anything opens a descriptor or starts a thread.
  InheritedSockets inherited = take_activation_sockets();
  const Duration watchdog_time = take_watchdog_time();
  Result<Machine> machine = probe_machine(invocation.config);
  if (machine.has_error()) return fail(machine.error());
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);  // a write beyond RLIMIT_FSIZE then fails with EFBIG
  mask_signals(SIG_BLOCK, {SIGHUP, SIGUSR1});
  Daemon daemon(invocation, std::move(*machine), std::move(arguments), std::move(inherited),
                watchdog_time);
  StartWatch watch([&daemon] { daemon.before_early_end(); });
  Result<> started = daemon.start(invocation.takes_over);
  if (started.has_value()) {
    // listen() waits for nothing, and it creates paths that only the destructor of `daemon`
    // removes.
    watch.stop();
    started = daemon.listen();
  }
  if (started.has_value()) return daemon.run();
  daemon.tell_failure(started.error());
  return fail(started.error());
}

}  // namespace sluice
