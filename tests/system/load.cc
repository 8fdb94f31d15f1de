#include "tests/system/load.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <span>
#include <system_error>
#include <utility>

#include "tests/support/daemon.h"
#include "tests/support/settings.h"

namespace sluice::test {
namespace {

using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kEchoBytes = 64 << 10;
constexpr std::uint64_t kStreamInFlightBytes = 256 << 10;
constexpr milliseconds kTick{10};
constexpr std::size_t kExchangesPerTick = 20;
constexpr std::size_t kMostExchangeBytes = 300;
constexpr int kEvents = 256;

void watch(int epoll, int fd, std::uint32_t events, std::uint64_t data) {
  epoll_event event{.events = events, .data = {.u64 = data}};
  if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
    throw std::system_error(errno, std::generic_category(), "epoll_ctl");
  }
}

/// The errno of a connect to loopback; `fd` is the connection.
int connect_to(std::uint16_t port, OwnedFd& fd) {
  fd.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) throw std::system_error(errno, std::generic_category(), "socket");
  const sockaddr_in address{.sin_family = AF_INET,
                            .sin_port = htons(port),
                            .sin_addr = {htonl(INADDR_LOOPBACK)},
                            .sin_zero = {}};
  const auto* const any = reinterpret_cast<const sockaddr*>(&address);
  return ::connect(fd.get(), any, sizeof address) == 0 ? 0 : errno;
}

Attempt::Fate fate_of(Ending ending) {
  return ending == Ending::timed_out ? Attempt::Fate::timed_out : Attempt::Fate::reset;
}

/// Exchanges bytes with the echo behind `fd`. `served` if all came back.
Attempt::Fate exchange(int fd, std::mt19937_64& random) {
  const Pattern pattern(random());
  const std::uint64_t size = 1 + random() % 2'000;
  if (!send_pattern(fd, pattern, 0, size)) return Attempt::Fate::reset;
  PatternChecker answer(pattern);
  const Ending ending = read_pattern(fd, answer, {.stop_after_bytes = size});
  if (answer.mismatch()) return Attempt::Fate::wrong;
  return ending == Ending::open ? Attempt::Fate::served : fate_of(ending);
}

}  // namespace

std::size_t allow_descriptors(std::size_t wanted) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < wanted) {
    const rlimit higher{wanted, std::max<rlim_t>(wanted, limit.rlim_max)};
    if (::setrlimit(RLIMIT_NOFILE, &higher) != 0) {
      const rlimit highest{limit.rlim_max, limit.rlim_max};
      ::setrlimit(RLIMIT_NOFILE, &highest);
    }
    ::getrlimit(RLIMIT_NOFILE, &limit);
  }
  return std::min<std::size_t>(wanted, limit.rlim_cur);
}

// --- EchoServers ---

struct EchoServers::Connection {
  OwnedFd fd;
  std::vector<std::byte> unsent;  ///< the socket took no more
  bool ended = false;             ///< nothing more comes
};

EchoServers::EchoServers(std::size_t count)
    : epoll_(::epoll_create1(EPOLL_CLOEXEC)), stop_(::eventfd(0, EFD_CLOEXEC)) {
  watch(epoll_.get(), stop_.get(), EPOLLIN, static_cast<std::uint64_t>(stop_.get()));
  for (std::size_t i = 0; i < count; ++i) {
    listeners_.push_back(listen_tcp());
    const int fd = listeners_.back().fd.get();
    set_nonblocking(fd, true);
    watch(epoll_.get(), fd, EPOLLIN, static_cast<std::uint64_t>(fd));
  }
  thread_ = std::thread([this] { serve(); });
}

EchoServers::~EchoServers() {
  ::eventfd_write(stop_.get(), 1);
  thread_.join();
}

std::string EchoServers::address(std::size_t number) const {
  return loopback_address(port(number));
}

void EchoServers::serve() {
  std::array<epoll_event, kEvents> events{};
  for (;;) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), kEvents, -1);
    for (int i = 0; i < count; ++i) {
      const int fd = static_cast<int>(events.at(static_cast<std::size_t>(i)).data.u64);
      if (fd == stop_.get()) return;
      const auto listener = std::ranges::find_if(
          listeners_, [fd](const Listener& each) { return each.fd.get() == fd; });
      if (listener != listeners_.end()) {
        accept_at(static_cast<std::size_t>(listener - listeners_.begin()));
      } else if (connections_[static_cast<std::size_t>(fd)]) {
        step(*connections_[static_cast<std::size_t>(fd)]);
      }
    }
  }
}

void EchoServers::accept_at(std::size_t number) {
  for (;;) {
    OwnedFd fd(
        ::accept4(listeners_[number].fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) return;
    const auto index = static_cast<std::size_t>(fd.get());
    if (connections_.size() <= index) connections_.resize(index + 1);
    const auto greeting = static_cast<std::byte>(number);
    static_cast<void>(::send(fd.get(), &greeting, 1, MSG_NOSIGNAL));
    watch(epoll_.get(), fd.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, index);
    connections_[index] = std::make_unique<Connection>();
    connections_[index]->fd = std::move(fd);
    step(*connections_[index]);
  }
}

// Echoes until the socket has nothing, or takes nothing.
void EchoServers::step(Connection& connection) {
  static thread_local std::array<std::byte, kEchoBytes> buffer;
  const int fd = connection.fd.get();
  for (;;) {
    while (!connection.unsent.empty()) {
      const ssize_t sent =
          ::send(fd, connection.unsent.data(), connection.unsent.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno == EAGAIN) return;
      if (sent < 0) return connections_[static_cast<std::size_t>(fd)].reset();
      connection.unsent.erase(connection.unsent.begin(), connection.unsent.begin() + sent);
    }
    if (connection.ended) return connections_[static_cast<std::size_t>(fd)].reset();
    const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got < 0) return connections_[static_cast<std::size_t>(fd)].reset();
    if (got == 0) connection.ended = true;
    connection.unsent.assign(buffer.begin(), buffer.begin() + got);
  }
}

// --- Attempts ---

const char* name_of(Attempt::Fate fate) {
  constexpr std::array kNames{"served", "refused", "reset", "wrong", "timed out"};
  return kNames.at(static_cast<std::size_t>(fate));
}

Attempt attempt(std::uint16_t port, std::mt19937_64& random, bool keeps) {
  using Fate = Attempt::Fate;
  Attempt result;
  OwnedFd fd;
  if (const int error = connect_to(port, fd); error != 0) {
    result.fate = error == ECONNREFUSED ? Fate::refused
                  : error == ETIMEDOUT  ? Fate::timed_out
                                        : Fate::reset;
    return result;
  }
  std::byte greeting{};
  const Received got = receive_some(fd.get(), std::span(&greeting, 1));
  result.fate = got.ending == Ending::open ? exchange(fd.get(), random) : fate_of(got.ending);
  result.server = std::to_integer<std::size_t>(greeting);
  if (result.fate != Fate::served) return result;
  if (keeps) {
    result.fd = std::move(fd);
    return result;
  }
  finish_sending(fd.get());
  const Ending end = receive_some(fd.get(), std::span(&greeting, 1)).ending;
  if (end == Ending::open) result.fate = Fate::wrong;
  if (end == Ending::reset || end == Ending::timed_out) result.fate = fate_of(end);
  return result;
}

// --- HeldConnections ---

struct HeldConnections::Connection {
  Connection(OwnedFd connected, Pattern bytes, bool streams)
      : fd(std::move(connected)), pattern(bytes), received(bytes), is_stream(streams) {}
  [[nodiscard]] std::uint64_t in_flight() const { return sent_bytes - received.received_bytes(); }

  OwnedFd fd;  ///< none: it has ended
  Pattern pattern;
  PatternChecker received;
  std::uint64_t sent_bytes = 0;
  bool is_stream;
};

HeldConnections::HeldConnections(double bytes_per_second)
    : bytes_per_second_(bytes_per_second),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      random_(seed()),
      thread_([this] { run(); }) {}

HeldConnections::~HeldConnections() { end(); }

void HeldConnections::hold(OwnedFd fd) {
  const std::lock_guard lock(mutex_);
  new_.push_back(
      std::make_unique<Connection>(std::move(fd), Pattern(seed() + ++connections_), false));
}

void HeldConnections::stream(OwnedFd fd) {
  const std::lock_guard lock(mutex_);
  new_.push_back(
      std::make_unique<Connection>(std::move(fd), Pattern(seed() + ++connections_), true));
}

HeldConnections::Counts HeldConnections::counts() const {
  return {connections_, exchanges_, streamed_bytes_, broken_, wrong_, stuck_};
}

std::string HeldConnections::trouble() const {
  const Counts now = counts();
  if (now.broken + now.wrong + now.stuck == 0) return {};
  return std::to_string(now.broken) + " broken, " + std::to_string(now.wrong) + " wrong, " +
         std::to_string(now.stuck) + " stuck of " + std::to_string(now.connections);
}

HeldConnections::Counts HeldConnections::end() {
  ending_ = true;
  if (thread_.joinable()) thread_.join();
  return counts();
}

void HeldConnections::run() {
  auto last = SteadyClock::now();
  auto moved = last;
  std::array<epoll_event, kEvents> events{};
  bool finishing = false;
  for (;;) {
    take_new();
    const auto now = SteadyClock::now();
    if (ending_ && !finishing) {
      finishing = true;
      moved = now;
      finish();
    }
    if (finishing) {
      const bool all_ended =
          std::ranges::none_of(all_, [](const auto& each) { return bool(each->fd); });
      if (all_ended) return;
      if (now - moved > kPatience) break;
    } else if (now - last >= kTick) {
      exchange_some();
      stream_some(std::chrono::duration<double>(now - last).count());
      last = now;
    }
    const int count =
        ::epoll_wait(epoll_.get(), events.data(), kEvents, static_cast<int>(kTick.count()));
    if (count > 0) moved = SteadyClock::now();
    for (int i = 0; i < count; ++i) receive(events.at(static_cast<std::size_t>(i)).data.u64);
  }
  for (const auto& each : all_) stuck_ += each->fd ? 1U : 0U;
}

void HeldConnections::take_new() {
  const std::lock_guard lock(mutex_);
  for (auto& each : new_) {
    set_nonblocking(each->fd.get(), true);
    watch(epoll_.get(), each->fd.get(), EPOLLIN | EPOLLRDHUP, all_.size());
    if (each->is_stream) streams_.push_back(all_.size());
    all_.push_back(std::move(each));
  }
  new_.clear();
}

// The next few that are held, in turn.
void HeldConnections::exchange_some() {
  const std::size_t most = std::min(kExchangesPerTick, all_.size());
  for (std::size_t i = 0; i < most; ++i) {
    Connection& next = *all_[next_held_++ % all_.size()];
    if (next.is_stream || !next.fd || next.in_flight() > 0) continue;
    send(next, 1 + random_() % kMostExchangeBytes);
    ++exchanges_;
  }
}

void HeldConnections::stream_some(double seconds) {
  // What a standstill has missed is not made up for.
  allowance_bytes_ =
      std::min(allowance_bytes_ + seconds * bytes_per_second_, bytes_per_second_ / 4);
  bool any = true;
  while (any && allowance_bytes_ > 0) {
    any = false;
    for (const std::size_t index : streams_) {
      Connection& stream = *all_[index];
      if (!stream.fd || stream.in_flight() >= kStreamInFlightBytes || allowance_bytes_ <= 0)
        continue;
      const std::uint64_t before = stream.sent_bytes;
      send(stream, kEchoBytes);
      allowance_bytes_ -= static_cast<double>(stream.sent_bytes - before);
      any = any || stream.sent_bytes > before;
    }
  }
}

void HeldConnections::send(Connection& connection, std::size_t bytes) {
  static thread_local std::array<std::byte, kEchoBytes> buffer;
  const std::span part = std::span(buffer).first(bytes);
  connection.pattern.fill(connection.sent_bytes, part);
  const ssize_t sent = ::send(connection.fd.get(), part.data(), part.size(), MSG_NOSIGNAL);
  if (sent > 0) {
    connection.sent_bytes += static_cast<std::uint64_t>(sent);
  } else if (errno != EAGAIN) {
    fail(connection, broken_);
  }
}

void HeldConnections::receive(std::size_t index) {
  static thread_local std::array<std::byte, kEchoBytes> buffer;
  Connection& connection = *all_[index];
  if (!connection.fd) return;
  const ssize_t got = ::recv(connection.fd.get(), buffer.data(), buffer.size(), 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) {
    const bool orderly = got == 0 && ending_ && connection.in_flight() == 0;
    if (!orderly) return fail(connection, broken_);
    return connection.fd.reset();
  }
  connection.received.take(std::span(buffer).first(static_cast<std::size_t>(got)));
  if (connection.is_stream) streamed_bytes_ += static_cast<std::uint64_t>(got);
  const bool more = connection.received.received_bytes() > connection.sent_bytes;
  if (connection.received.mismatch() || more) fail(connection, wrong_);
}

// The last bytes of each, and its end behind them.
void HeldConnections::finish() {
  for (const auto& each : all_) {
    if (!each->fd) continue;
    send(*each, kMostExchangeBytes);
    if (each->fd) ::shutdown(each->fd.get(), SHUT_WR);
  }
}

void HeldConnections::fail(Connection& connection, std::atomic<std::uint64_t>& count) {
  ++count;
  connection.fd.reset();
}

// --- Repeated ---

Repeated::Repeated(std::size_t threads, double per_second, Task task) {
  for (std::size_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this, per_second, task, i] {
      std::mt19937_64 random(seed() + i);
      const auto pause = std::chrono::duration_cast<SteadyClock::duration>(
          std::chrono::duration<double>(1 / per_second));
      while (!ending_) {
        const auto next = SteadyClock::now() + pause;
        task(random);
        std::this_thread::sleep_until(next);
      }
    });
  }
}

void Repeated::end() {
  ending_ = true;
  for (std::thread& thread : std::exchange(threads_, {})) thread.join();
}

std::string ConnectCounts::trouble() const {
  std::string text;
  for (const auto fate : {Attempt::Fate::refused, Attempt::Fate::reset, Attempt::Fate::wrong,
                          Attempt::Fate::timed_out}) {
    if (of(fate) == 0) continue;
    text += (text.empty() ? "" : ", ") + std::to_string(of(fate)) + ' ' + name_of(fate);
  }
  if (of(Attempt::Fate::served) == 0)
    text += (text.empty() ? "" : ", ") + std::string("none served");
  return text;
}

}  // namespace sluice::test
