#include "tools/bench/call.h"

namespace sluice::bench {
namespace {

// A source address in 127.0.0.0/8. Calls use many of them: each has its own range of ports, so
// connections in TIME_WAIT do not use up the ports.
std::uint32_t source_address(std::uint32_t number, std::uint64_t call) {
  constexpr std::uint64_t kAddresses = 32;
  return (127U << 24U) | ((number % 250 + 1) << 8U) |
         static_cast<std::uint32_t>(1 + call % kAddresses);
}

}  // namespace

Caller::Caller(Control& control, const Pace& pace, const Endpoint& to, const Opening& opening,
               std::uint64_t run, std::uint32_t number, bool threaded)
    : Exchanger(control, pace), to_(to), opening_(opening) {
  hello_.role = Role::call;
  hello_.run = run;
  hello_.number = number;
  hello_.threaded = threaded;
  // The end that closes first keeps the connection in TIME_WAIT for a minute; on a client, this
  // also occupies one of its 28,000 ports. A client in 127.0.0.0/8 has many source addresses, so it
  // may close first. Other clients have one, so there the serving end closes first.
  hello_.closes = !is_loopback(to);
}

void Caller::exchange() {
  const std::uint32_t source = source_address(hello_.number, calls_);
  const OwnedFd fd = connect_from(to_, source);
  send_all(fd.get(), first_bytes(opening_, hello_, hello_.number + calls_++, source), "client");
  const char answer = receive_byte(fd.get(), "client");
  if (answer != static_cast<char>(hello_.number)) throw Failure("client: a wrong byte came back");
  if (hello_.closes) receive_end(fd.get(), "client");
}

}  // namespace sluice::bench
