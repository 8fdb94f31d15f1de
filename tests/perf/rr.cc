// rr: messages ping-pong on standing connections, a closed loop.

#include <cstring>
#include <memory>

#include "tests/perf/histogram.h"
#include "tests/perf/net.h"
#include "tests/perf/workloads.h"

namespace sluice::perf {
namespace {

/// Answers every message, once it is complete, with itself, until all its peers have closed.
class Echo {
 public:
  Echo(Control& control, std::size_t size) : control_(control), size_(size) {}

  void add(OwnedFd fd) { peers_.push_back({std::move(fd), std::vector<char>(size_), 0, false}); }

  void run() {
    for (std::size_t i = 0; i < peers_.size(); ++i) epoll_.add(peers_[i].fd.get(), EPOLLIN, i);
    std::size_t open = peers_.size();
    while (open > 0 && !control_.failed()) {
      for (const auto& event : epoll_.wait(kTickMs)) {
        if (!turn(peers_[event.data.u64], event.data.u64)) --open;
      }
    }
  }

 private:
  struct Peer {
    OwnedFd fd;
    std::vector<char> message;
    std::size_t done;
    bool sending;
  };

  // False when the peer has closed.
  bool turn(Peer& peer, std::uint64_t index) {
    const bool was_sending = peer.sending;
    if (!peer.sending) {
      const Received got = receive_some(peer.fd.get(), peer.message.data() + peer.done,
                                        size_ - peer.done, "backend");
      if (got.ended) {
        if (peer.done != 0) throw Failure("backend: the stream ended inside a message");
        peer.fd.reset();
        return false;
      }
      peer.done += got.bytes;
      if (peer.done < size_) return true;
      peer.done = 0;
      peer.sending = true;
    }
    peer.done +=
        send_some(peer.fd.get(), peer.message.data() + peer.done, size_ - peer.done, "backend");
    if (peer.done == size_) {
      peer.done = 0;
      peer.sending = false;
    }
    if (peer.sending != was_sending) {
      epoll_.modify(peer.fd.get(), peer.sending ? EPOLLOUT : EPOLLIN, index);
    }
    return true;
  }

  Control& control_;
  std::size_t size_;
  Epoll epoll_;
  std::vector<Peer> peers_;
};

/// Sends a message on each connection, compares the answer, sends the next: a closed loop.
class Pinger {
 public:
  Pinger(Control& control, std::size_t size)
      : control_(control), size_(size), content_(random_bytes(size + kOffsets)), buffer_(size) {}

  void add(OwnedFd fd) { peers_.push_back({std::move(fd), 0, 0, 0, nullptr, false}); }

  void run() {
    for (std::size_t i = 0; i < peers_.size(); ++i) {
      epoll_.add(peers_[i].fd.get(), EPOLLIN, i);
      start(peers_[i], i, now_ns());
    }
    std::size_t open = peers_.size();
    while (open > 0 && !control_.failed()) {
      for (const auto& event : epoll_.wait(kTickMs)) {
        if (!turn(peers_[event.data.u64], event.data.u64)) --open;
      }
    }
  }

  [[nodiscard]] const Histogram& latency() const { return latency_; }

 private:
  // Each message starts elsewhere in the content, so that a repeated one is seen as wrong. A prime.
  static constexpr std::size_t kOffsets = 4093;

  struct Peer {
    OwnedFd fd;
    std::uint64_t trips;
    std::uint64_t sent_at;
    std::size_t done;
    const char* message;
    bool sending;
  };

  void start(Peer& peer, std::uint64_t index, std::uint64_t now) {
    peer.message = content_.data() + (index * 131 + peer.trips * 17) % kOffsets;
    peer.sent_at = now;
    peer.done = 0;
    peer.sending = true;
    send_turn(peer, index, false);
  }

  void send_turn(Peer& peer, std::uint64_t index, bool waited) {
    peer.done += send_some(peer.fd.get(), peer.message + peer.done, size_ - peer.done, "client");
    const bool complete = peer.done == size_;
    if (complete) {
      peer.sending = false;
      peer.done = 0;
    }
    if (complete == waited) {
      epoll_.modify(peer.fd.get(), complete ? EPOLLIN : EPOLLOUT, index);
    }
  }

  // False when the connection was closed after its last answer.
  bool turn(Peer& peer, std::uint64_t index) {
    if (peer.sending) {
      send_turn(peer, index, true);
      return true;
    }
    const Received got = receive_some(peer.fd.get(), buffer_.data(), size_ - peer.done, "client");
    if (got.ended) throw Failure("client: the stream ended before the answer");
    if (std::memcmp(buffer_.data(), peer.message + peer.done, got.bytes) != 0) {
      throw Failure("client: a wrong byte in the answer");
    }
    peer.done += got.bytes;
    if (peer.done < size_) return true;
    const std::uint64_t now = now_ns();
    const Phase phase = control_.phase();
    if (phase == Phase::measure) latency_.add(now - peer.sent_at);
    ++peer.trips;
    if (phase == Phase::stop) {
      peer.fd.reset();
      return false;
    }
    start(peer, index, now);
    return true;
  }

  Control& control_;
  std::size_t size_;
  std::vector<char> content_;
  std::vector<char> buffer_;
  Epoll epoll_;
  std::vector<Peer> peers_;
  Histogram latency_;
};

}  // namespace

void run_rr(const Options& options, Json& json) {
  const OwnedFd listener = listen_on(options.serve);
  const std::uint16_t port = options.to != 0 ? options.to : local_port(listener.get());
  Pairs pairs = connect_pairs(listener.get(), port, options.connections);
  Control control;
  std::vector<std::unique_ptr<Pinger>> pingers;
  std::vector<std::unique_ptr<Echo>> echoes;
  for (std::size_t i = 0; i < thread_count(options, options.threads, 1); ++i) {
    pingers.push_back(std::make_unique<Pinger>(control, options.size_bytes));
  }
  for (std::size_t i = 0; i < thread_count(options, options.backend_threads, 1); ++i) {
    echoes.push_back(std::make_unique<Echo>(control, options.size_bytes));
  }
  for (std::size_t i = 0; i < options.connections; ++i) {
    pingers[i % pingers.size()]->add(std::move(pairs.clients[i]));
    echoes[i % echoes.size()]->add(std::move(pairs.backends[i]));
  }
  Crew crew(control);
  for (auto& echo : echoes) crew.start([&echo] { echo->run(); });
  for (auto& pinger : pingers) crew.start([&pinger] { pinger->run(); });
  const auto [before, after] = measure(control, options);
  crew.join();
  control.check();
  Histogram latency;
  for (const auto& pinger : pingers) latency.merge(pinger->latency());
  json.add("size_bytes", std::uint64_t{options.size_bytes});
  add_rate(json, "trips_per_s", "proxy_cpu_us_per_trip", latency.total(), before, after);
  add_latency(json, latency);
}

}  // namespace sluice::perf
