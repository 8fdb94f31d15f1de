#include "tools/bench/call.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace sluice::bench {
namespace {

// The longest wait between two looks at the phase.
constexpr std::uint64_t kNapNs = 50'000'000;

// A source address in 127.0.0.0/8. Calls use many of them: each has its own range of ports, so
// connections in TIME_WAIT do not use up the ports.
std::uint32_t source_address(std::uint32_t number, std::uint64_t call) {
  constexpr std::uint64_t kAddresses = 32;
  return (127U << 24U) | ((number % 250 + 1) << 8U) |
         static_cast<std::uint32_t>(1 + call % kAddresses);
}

}  // namespace

Caller::Caller(Control& control, const Endpoint& to, std::uint64_t run, std::uint32_t number,
               std::uint64_t interval_ns, std::uint64_t offset_ns)
    : control_(control), to_(to), interval_ns_(interval_ns), offset_ns_(offset_ns) {
  hello_.role = Role::call;
  hello_.run = run;
  hello_.number = number;
  // The end that closes first keeps the connection in TIME_WAIT for a minute; on a client, this
  // also occupies one of its 28,000 ports. A client in 127.0.0.0/8 has many source addresses, so it
  // may close first. Other clients have one, so there the serving end closes first.
  hello_.closes = !is_loopback(to);
}

void Caller::run() {
  wake_on_time();
  std::uint64_t due = now_ns() + offset_ns_;
  while (control_.phase() != Phase::stop) {
    if (interval_ns_ > 0 && !wait_until(due)) break;
    const std::uint64_t begin = interval_ns_ > 0 ? due : now_ns();
    call();
    const Phase phase = control_.phase();
    if (phase == Phase::measure) ++completed_;
    if (phase != Phase::warmup) latency_.add(now_ns() - begin);
    due += interval_ns_;
  }
  for (const std::uint64_t stop = control_.stop_time(); interval_ns_ > 0 && due < stop;
       due += interval_ns_) {
    latency_.add(stop - due);
    ++unsent_;
  }
}

// Returns false if the run ends before `time`.
bool Caller::wait_until(std::uint64_t time) const {
  for (std::uint64_t now = now_ns(); now < time; now = now_ns()) {
    if (control_.phase() == Phase::stop) return false;
    std::this_thread::sleep_for(std::chrono::nanoseconds(std::min(time - now, kNapNs)));
  }
  return true;
}

void Caller::call() {
  const OwnedFd fd = connect_from(to_, source_address(hello_.number, calls_++));
  const Hello::Bytes hello = encode(hello_);
  send_all(fd.get(), hello, "client");
  const char answer = receive_byte(fd.get(), "client");
  if (answer != static_cast<char>(hello_.number)) throw Failure("client: a wrong byte came back");
  if (hello_.closes) receive_end(fd.get(), "client");
}

}  // namespace sluice::bench
