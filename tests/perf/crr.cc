// crr: a connection for each byte.

#include <sys/socket.h>

#include <memory>
#include <unordered_map>

#include "tests/perf/histogram.h"
#include "tests/perf/net.h"
#include "tests/perf/workloads.h"

namespace sluice::perf {
namespace {

/// The backend of crr: accepts, answers bytes with themselves, closes when the client has closed
/// (or at once after the answer).
class Acceptor {
 public:
  Acceptor(Control& control, int listener, bool closes_first, const std::atomic<bool>& done)
      : control_(control), listener_(listener), closes_first_(closes_first), done_(done) {}

  void run() {
    // Level-triggered and shared by the backend's threads: one wake-up for a connection.
    epoll_.add(listener_, EPOLLIN | EPOLLEXCLUSIVE, kListener);
    while (!done_ && !control_.failed()) {
      for (const auto& event : epoll_.wait(kTickMs)) {
        if (event.data.u64 == kListener) {
          accept_all();
        } else {
          answer(static_cast<int>(event.data.u64));
        }
      }
    }
  }

 private:
  static constexpr std::uint64_t kListener = UINT64_MAX;

  void accept_all() {
    while (OwnedFd fd = accept_queued(listener_)) {
      const int number = fd.get();
      epoll_.add(number, EPOLLIN, static_cast<std::uint64_t>(number));
      open_.insert_or_assign(number, std::move(fd));
    }
  }

  void answer(int fd) {
    char bytes[16];
    const Received got = receive_some(fd, bytes, sizeof bytes, "backend");
    if (got.bytes > 0 && send_some(fd, bytes, got.bytes, "backend") != got.bytes) {
      throw Failure("backend: a byte was not taken");
    }
    if (got.ended || (got.bytes > 0 && closes_first_)) open_.erase(fd);
  }

  Control& control_;
  int listener_;
  bool closes_first_;
  const std::atomic<bool>& done_;
  Epoll epoll_;
  std::unordered_map<int, OwnedFd> open_;
};

/// One client of crr. Its source addresses are many, or TIME_WAIT would use up the ports: each
/// gives a whole range of them, so that 5 s at 15,000 a second stay far from reuse.
class Caller {
 public:
  Caller(Control& control, std::uint16_t port, std::size_t number, bool closes_first)
      : control_(control), port_(port), network_(number + 1), closes_first_(closes_first) {}

  void run() {
    while (control_.phase() != Phase::stop) {
      const std::uint64_t begin = now_ns();
      call();
      if (control_.phase() == Phase::measure) latency_.add(now_ns() - begin);
    }
  }

  [[nodiscard]] const Histogram& latency() const { return latency_; }

 private:
  static constexpr std::uint64_t kAddresses = 32;

  void call() {
    const std::uint32_t source = (127U << 24U) | static_cast<std::uint32_t>(network_ << 8U) |
                                 static_cast<std::uint32_t>(1 + calls_ % kAddresses);
    const OwnedFd fd = connect_to(port_, source);
    const char byte = static_cast<char>(calls_++ * 37);
    char back = 0;
    if (::send(fd.get(), &byte, 1, MSG_NOSIGNAL) != 1) fail_errno("client: send");
    const ssize_t n = ::recv(fd.get(), &back, 1, 0);
    if (n < 0) fail_errno("client: recv");
    if (n == 0) throw Failure("client: closed before the answer");
    if (back != byte) throw Failure("client: a wrong byte came back");
    if (!closes_first_ && ::recv(fd.get(), &back, 1, 0) != 0) {
      throw Failure("client: the backend's end of stream did not arrive");
    }
  }

  Control& control_;
  std::uint16_t port_;
  std::size_t network_;
  bool closes_first_;
  std::uint64_t calls_ = 0;
  Histogram latency_;
};

}  // namespace

void run_crr(const Options& options, Json& json) {
  const OwnedFd listener = listen_on(options.serve);
  const std::uint16_t port = options.to != 0 ? options.to : local_port(listener.get());
  Control control;
  std::atomic<bool> done{false};
  Crew backend(control);
  std::vector<std::unique_ptr<Acceptor>> acceptors;
  for (std::size_t i = 0; i < std::max<std::size_t>(options.backend_threads, 1); ++i) {
    acceptors.push_back(
        std::make_unique<Acceptor>(control, listener.get(), options.backend_closes, done));
    backend.start([acceptor = acceptors.back().get()] { acceptor->run(); });
  }
  Crew clients(control);
  std::vector<std::unique_ptr<Caller>> callers;
  for (std::size_t i = 0; i < options.connections; ++i) {
    callers.push_back(std::make_unique<Caller>(control, port, i, !options.backend_closes));
    clients.start([caller = callers.back().get()] { caller->run(); });
  }
  const auto [before, after] = measure(control, options);
  clients.join();
  done = true;
  backend.join();
  control.check();
  Histogram latency;
  for (const auto& caller : callers) latency.merge(caller->latency());
  json.add("closer", options.backend_closes ? "backend" : "client");
  add_rate(json, "connections_per_s", "proxy_cpu_us_per_connection", latency.total(), before,
           after);
  add_latency(json, latency);
}

}  // namespace sluice::perf
