#include "tools/bench/server.h"

#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "iolib/base/shortage.h"
#include "iolib/json/json.h"
#include "tools/bench/blocking.h"
#include "tools/bench/engine.h"
#include "tools/bench/message.h"
#include "tools/bench/net.h"
#include "tools/bench/opening.h"
#include "tools/bench/protocol.h"
#include "tools/bench/sample.h"
#include "tools/bench/stream.h"

namespace sluice::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr const char* kWho = "upstream";
// Closes a connection that has sent no Hello by then, and a call whose client has its answer but
// does not close.
constexpr std::uint64_t kHelloTimeoutNs = 20'000'000'000;
// The pause in accepting after an error such as a lack of descriptors.
constexpr std::uint64_t kAcceptPauseNs = 100'000'000;
constexpr std::chrono::seconds kArrivalTimeout{30};
constexpr milliseconds kTick{100};
constexpr std::chrono::seconds kEndTimeout{30};
// A load begins its run at once. A control connection that sends only a Hello must not keep others
// out.
constexpr int kBeginTimeoutMs = 5'000;
// A run ends if its load sends no request for this long.
constexpr int kControlTimeoutMs = 60'000;
constexpr std::size_t kMostThreads = 64;
constexpr std::string_view kTooManyRuns = "{\"error\":\"upstream: too many runs at a time\"}\n";

}  // namespace

/// The connections of one run at this end.
class ServedRun {
 public:
  explicit ServedRun(std::size_t threads) {
    for (std::size_t i = 0; i < threads; ++i) loops_.push_back(std::make_unique<Loop>(control_));
  }

  [[nodiscard]] Control& control() { return control_; }

  /// Takes over a data connection that has sent its Hello. Any thread.
  void take(OwnedFd fd, const Hello& hello) {
    if (hello.role == Role::call) return attendants_.serve(std::move(fd), hello);
    StreamCounts* counts = nullptr;
    {
      const std::lock_guard guard(lock_);
      auto& mine = counts_[hello.number];
      if (mine) return control_.fail("upstream: two connections with one number");
      if (hello.role == Role::echo) message_bytes_ += hello.size_bytes;
      if (message_bytes_ > kMaxRunMessageBytes) {
        return control_.fail("upstream: all messages together are too large");
      }
      mine = std::make_unique<StreamCounts>();
      counts = mine.get();
      ++arrived_;
    }
    Loop& loop = *loops_[hello.number % loops_.size()];
    if (hello.role == Role::echo && hello.threaded) {
      attendants_.serve(std::move(fd), hello);
    } else if (hello.role == Role::echo) {
      loop.add(std::make_unique<Echo>(std::move(fd), hello.size_bytes));
    } else {
      StreamOptions options;
      options.who = kWho;
      options.number = hello.number;
      options.send = hello.send;
      options.receive = hello.receive;
      if (hello.limit != 0) options.limit = hello.limit;
      options.ends = hello.plain ? Ends::plain : Ends::zero_copy;
      options.verify_all = hello.verify;
      loop.add(std::make_unique<Stream>(std::move(fd), *counts, options));
    }
    arrival_.notify_all();
  }

  [[nodiscard]] bool wait_for_arrivals(std::size_t count) {
    const auto deadline = steady_clock::now() + kArrivalTimeout;
    std::unique_lock guard(lock_);
    while (arrived_ < count && !control_.failed()) {
      const bool is_late = steady_clock::now() > deadline;
      arrival_.wait_for(guard, kTick);
      if (is_late && arrived_ < count) return false;
    }
    return true;
  }

  [[nodiscard]] json::object mark() {
    json::array connections;
    const std::lock_guard guard(lock_);
    const std::uint64_t time = now_ns();
    std::uint32_t next = 0;
    for (const auto& [number, counts] : counts_) {
      for (; next < number; ++next) connections.push_back(json::array{0, 0});
      connections.push_back(json::array{counts->sent.load(std::memory_order_relaxed),
                                        counts->received.load(std::memory_order_relaxed)});
      ++next;
    }
    return {{"time_ns", time}, {"connections", std::move(connections)}};
  }

  /// Stops sending, and waits until all connections have ended. Fails the run if nothing arrives
  /// for kEndTimeout.
  void stop() {
    control_.enter(Phase::stop);
    for (const auto& loop : loops_) loop->stop();
    std::uint64_t before = 0;
    auto moved = steady_clock::now();
    while (serves() && !control_.failed()) {
      std::this_thread::sleep_for(milliseconds(1));
      const std::uint64_t arrived = received_bytes();
      if (std::exchange(before, arrived) != arrived) moved = steady_clock::now();
      if (steady_clock::now() - moved > kEndTimeout) {
        control_.fail("upstream: some connections did not end");
      }
    }
  }

 private:
  [[nodiscard]] bool serves() {
    return attendants_.busy() ||
           !std::ranges::all_of(loops_, [](const auto& loop) { return loop->finished(); });
  }
  [[nodiscard]] std::uint64_t received_bytes() {
    const std::lock_guard guard(lock_);
    std::uint64_t bytes = 0;
    for (const auto& [number, counts] : counts_) bytes += counts->received;
    return bytes;
  }

  Control control_;
  std::mutex lock_;
  std::condition_variable arrival_;
  std::map<std::uint32_t, std::unique_ptr<StreamCounts>> counts_;  ///< guarded by lock_
  std::size_t arrived_ = 0;
  std::uint64_t message_bytes_ = 0;  ///< guarded by lock_; of all echoes
  // Last, because their threads use what is above.
  Attendants attendants_{control_};
  std::vector<std::unique_ptr<Loop>> loops_;
};

class Server::State {
 public:
  explicit State(std::vector<OwnedFd> listeners);
  ~State();

  /// Takes over a connection that has sent its Hello and is not served by the front loop. Runs on
  /// the front loop's thread.
  void take(OwnedFd fd, const Hello& hello);
  [[nodiscard]] std::shared_ptr<ServedRun> find(std::uint64_t run) {
    const std::lock_guard guard(lock_);
    const auto at = runs_.find(run);
    return at == runs_.end() ? nullptr : at->second;
  }
  [[nodiscard]] std::string failure() const { return control_.reason(); }
  [[nodiscard]] std::vector<std::uint64_t> connections() const {
    return {greeted_.begin(), greeted_.end()};
  }

 private:
  struct Session {
    OwnedFd fd;
    std::thread thread;
    std::atomic<bool> over{false};
  };

  void serve(Session& session, std::uint64_t id);
  [[nodiscard]] json::object answer(std::string_view line, std::uint64_t id);
  [[nodiscard]] json::object begin(std::string_view options, std::uint64_t id);
  void forget(std::uint64_t id);
  void join_sessions(bool all);

  Control control_;
  std::mutex lock_;
  std::map<std::uint64_t, std::shared_ptr<ServedRun>> runs_;  ///< guarded by lock_
  std::vector<std::unique_ptr<Session>> sessions_;            ///< guarded by lock_
  std::vector<std::atomic<std::uint64_t>> greeted_;           ///< by listener
  std::unique_ptr<Loop> front_;
};

namespace {

// One of the servers at this end.
struct Door {
  std::size_t index = 0;
  std::size_t servers = 1;
  std::atomic<std::uint64_t>& greeted;  ///< connections that have sent a Hello
};

// Reads a connection's Hello and what is before it, answers calls itself unless they are to have a
// thread each, and hands other connections over.
class Greeter final : public Connection {
 public:
  using Take = std::function<void(OwnedFd, const Hello&)>;
  using Find = std::function<std::shared_ptr<ServedRun>(std::uint64_t)>;
  Greeter(OwnedFd fd, const Take& take, const Find& find, const Door& door)
      : Connection(std::move(fd)), take_(take), find_(find), door_(door) {}

 private:
  bool start() override {
    loop().set_alarm(*this, now_ns() + kHelloTimeoutNs);
    return true;
  }
  bool on_alarm(std::uint64_t /*now*/) override { return false; }
  bool on_stop() override { return false; }

  // A failed connection can fail its run, but never the server.
  bool on_ready(std::uint32_t /*events*/) override {
    try {
      return call_of_ ? finish_call() : greet();
    } catch (const std::exception& error) {
      const std::shared_ptr<ServedRun> run = call_of_ ? find_(*call_of_) : nullptr;
      if (run) run->control().fail(error.what());
      return false;
    }
  }

  bool greet() {
    Preface preface;
    // What follows a Hello is not for this object, so it never reads more than may be needed.
    for (std::size_t whole = seen_.size(); done_ < whole;) {
      const Received got = receive_some(fd(), std::span(seen_).subspan(done_), kWho);
      done_ += got.bytes;
      if (got.ended) return false;
      if (done_ < whole) return true;
      preface = read_preface(seen_);
      whole = preface.size_bytes() + Hello::kBytes;
      seen_.resize(whole);
    }
    Hello::Bytes bytes{};
    std::ranges::copy(std::span(seen_).last(bytes.size()), bytes.begin());
    const std::optional<Hello> hello = decode(bytes);
    if (!hello) return false;
    const std::string fault = fault_of(preface, seen_, *hello, door_.index, door_.servers);
    if (!fault.empty()) return refuse(*hello, fault);
    ++door_.greeted;
    loop().set_alarm(*this, 0);
    if (hello->role != Role::call || hello->threaded) {
      take_(loop().release_fd(*this), *hello);
      return false;
    }
    if (!find_(hello->run)) return false;
    call_of_ = hello->run;
    if (send_some(fd(), {bytes.data() + kAnswerAt, 1}, kWho) != 1) return false;
    if (hello->closes) ::shutdown(fd(), SHUT_WR);
    loop().set_alarm(*this, now_ns() + kHelloTimeoutNs);
    return true;
  }

  // Fails the run. If it has not begun, only the connection that would begin it learns why.
  bool refuse(const Hello& hello, const std::string& fault) {
    if (const std::shared_ptr<ServedRun> run = find_(hello.run)) run->control().fail(fault);
    if (hello.role != Role::control) return false;
    const json::object said{{"error", fault}};
    static_cast<void>(send_some(fd(), json::serialize(said) + '\n', kWho));
    return false;
  }

  // Waits until the client has closed.
  bool finish_call() {
    char byte = 0;
    const Received got = receive_some(fd(), {&byte, 1}, kWho);
    if (got.bytes > 0) throw Failure("upstream: bytes arrived that were never sent");
    return !got.ended;
  }

  // The answer is the low byte of the connection's number.
  static constexpr std::size_t kAnswerAt = 12;

  const Take& take_;
  const Find& find_;
  const Door& door_;
  std::string seen_ = std::string(Hello::kBytes, '\0');
  std::size_t done_ = 0;
  std::optional<std::uint64_t> call_of_;  ///< the call's run, which may end before the call
};

class Listener final : public Connection {
 public:
  Listener(OwnedFd fd, Greeter::Take take, Greeter::Find find, const Door& door)
      : Connection(std::move(fd)), take_(std::move(take)), find_(std::move(find)), door_(door) {}

 private:
  bool on_ready(std::uint32_t /*events*/) override {
    for (;;) {
      OwnedFd accepted(::accept4(fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (accepted) {
        set_no_delay(accepted.get());
        loop().add(std::make_unique<Greeter>(std::move(accepted), take_, find_, door_));
        continue;
      }
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EAGAIN) return true;
      if (errno == EBADF || errno == EINVAL || errno == ENOTSOCK) fail_errno("accept");
      // There are no descriptors or memory left, or the network had an error (accept(2)).
      loop().set_interest(*this, 0);
      loop().set_alarm(*this, now_ns() + kAcceptPauseNs);
      return true;
    }
  }
  bool on_alarm(std::uint64_t /*now*/) override {
    loop().set_interest(*this, EPOLLIN);
    return true;
  }
  bool on_stop() override { return false; }

  Greeter::Take take_;
  Greeter::Find find_;
  Door door_;
};

}  // namespace

Server::State::State(std::vector<OwnedFd> listeners)
    : greeted_(listeners.size()), front_(std::make_unique<Loop>(control_)) {
  for (std::size_t i = 0; i < listeners.size(); ++i) {
    front_->add(std::make_unique<Listener>(
        std::move(listeners[i]),
        [this](OwnedFd fd, const Hello& hello) { take(std::move(fd), hello); },
        [this](std::uint64_t run) { return find(run); }, Door{i, listeners.size(), greeted_[i]}));
  }
}

Server::State::~State() {
  {
    // Ends the sessions' waits for connections of a run.
    const std::lock_guard guard(lock_);
    for (const auto& [id, run] : runs_)
      run->control().fail("upstream: the serving end was stopped");
  }
  front_->stop();
  front_->join();
  join_sessions(true);
}

void Server::State::take(OwnedFd fd, const Hello& hello) {
  if (hello.role != Role::control) {
    if (const auto run = find(hello.run)) run->take(std::move(fd), hello);
    return;
  }
  join_sessions(false);
  const std::lock_guard guard(lock_);
  if (sessions_.size() >= kMaxRuns) {
    static_cast<void>(send_some(fd.get(), kTooManyRuns, kWho));
    return;
  }
  sessions_.push_back(std::make_unique<Session>());
  Session& session = *sessions_.back();
  session.fd = std::move(fd);
  try {
    session.thread = start_thread([this, &session, id = hello.run] { serve(session, id); });
  } catch (const std::system_error& error) {
    const json::object said{{"error", error.what()}};
    static_cast<void>(send_some(session.fd.get(), json::serialize(said) + '\n', kWho));
    sessions_.pop_back();
  }
}

// Joins the sessions that are over; or all, after ending them.
void Server::State::join_sessions(bool all) {
  std::vector<std::unique_ptr<Session>> ended;
  {
    const std::lock_guard guard(lock_);
    const auto first = std::partition(sessions_.begin(), sessions_.end(), [&](const auto& each) {
      if (all) ::shutdown(each->fd.get(), SHUT_RDWR);
      return !all && !each->over;
    });
    std::move(first, sessions_.end(), std::back_inserter(ended));
    sessions_.erase(first, sessions_.end());
  }
  for (const auto& session : ended) session->thread.join();
}

void Server::State::serve(Session& session, std::uint64_t id) {
  try {
    LineReader lines;
    for (int timeout_ms = kBeginTimeoutMs;; timeout_ms = kControlTimeoutMs) {
      const std::string line = lines.read(session.fd.get(), timeout_ms, kWho);
      json::object said;
      try {
        said = answer(line, id);
      } catch (const std::exception& error) {
        said = {{"error", error.what()}};
      }
      send_all(session.fd.get(), json::serialize(said) + '\n', kWho);
    }
  } catch (const std::exception&) {
    // The load has closed its control connection, or failed.
  }
  ::shutdown(session.fd.get(), SHUT_RDWR);
  forget(id);
  session.over = true;
}

void Server::State::forget(std::uint64_t id) {
  std::shared_ptr<ServedRun> run;
  const std::lock_guard guard(lock_);
  if (const auto at = runs_.find(id); at != runs_.end()) {
    run = std::move(at->second);
    runs_.erase(at);
  }
}

json::object Server::State::begin(std::string_view options, std::uint64_t id) {
  const std::uint64_t threads =
      json::parse(options).as_object().at("threads").to_number<std::uint64_t>();
  if (threads == 0 || threads > kMostThreads) throw Failure("upstream: too many threads");
  const std::lock_guard guard(lock_);
  if (!runs_.emplace(id, std::make_shared<ServedRun>(threads)).second) {
    throw Failure("upstream: a run with this id exists already");
  }
  return {};
}

namespace {

json::object answer_await(ServedRun& run, std::string_view rest) {
  std::size_t count = 0;
  std::from_chars(rest.data(), rest.data() + rest.size(), count);
  if (!run.wait_for_arrivals(count)) throw Failure("upstream: a connection never arrived");
  return {};
}

json::object answer_alive(ServedRun& /*run*/, std::string_view /*rest*/) { return {}; }

json::object answer_mark(ServedRun& run, std::string_view /*rest*/) { return run.mark(); }

json::object answer_threads(ServedRun& /*run*/, std::string_view /*rest*/) {
  const ThreadSample sample = sample_threads();
  json::object used;
  for (const auto& [thread, nanoseconds] : sample.used) used[thread] = nanoseconds;
  return {{"time_ns", sample.time}, {"used", std::move(used)}};
}

json::object answer_stop(ServedRun& run, std::string_view /*rest*/) {
  run.stop();
  return run.mark();
}

// The requests of protocol.h that need a run.
struct Request {
  std::string_view verb;
  json::object (*answer)(ServedRun& run, std::string_view rest);
};
constexpr Request kRequests[] = {{"await", answer_await},
                                 {"alive", answer_alive},
                                 {"mark", answer_mark},
                                 {"threads", answer_threads},
                                 {"stop", answer_stop}};

}  // namespace

// A run that has failed answers every request with its failure.
json::object Server::State::answer(std::string_view line, std::uint64_t id) {
  const std::string_view verb = line.substr(0, line.find(' '));
  const std::string_view rest = line.substr(std::min(line.size(), verb.size() + 1));
  if (verb == "begin") return begin(rest, id);
  const std::shared_ptr<ServedRun> run = find(id);
  if (!run) throw Failure("upstream: no run has begun");
  const auto* const request = std::ranges::find(kRequests, verb, &Request::verb);
  if (request == std::end(kRequests)) throw Failure("upstream: unknown request");
  json::object said = request->answer(*run, rest);
  run->control().check();
  return said;
}

Server::Server(std::vector<OwnedFd> listeners)
    : state_(std::make_unique<State>(std::move(listeners))) {}
Server::~Server() = default;
std::string Server::failure() const { return state_->failure(); }
std::vector<std::uint64_t> Server::connections() const { return state_->connections(); }

}  // namespace sluice::bench
