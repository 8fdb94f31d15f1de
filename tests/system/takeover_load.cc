#include "tests/system/takeover_load.h"

#include <array>
#include <chrono>
#include <span>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "iolib/base/owned_fd.h"
#include "tests/support/pattern.h"
#include "tests/support/settings.h"
#include "tests/support/sockets.h"
#include "tests/support/wait.h"

namespace sluice::test {
namespace {

constexpr std::size_t kChunkBytes = 16 << 10;
constexpr std::size_t kMessageBytes = 100;

// How long a client rests before it goes on. One that never rests uses all that a CPU has, for as
// long as takeovers take; tests that run beside this one would wait for it.
std::chrono::milliseconds rest() { return std::chrono::milliseconds(by_scale(10, 2, 0)); }

// Sends a part of the pattern and compares its echo. Empty if it is the same.
std::string echo(int fd, Pattern pattern, std::uint64_t offset, std::size_t size_bytes) {
  if (!send_pattern(fd, pattern, offset, size_bytes)) return "the send failed";
  std::array<std::byte, kChunkBytes> buffer{};
  std::size_t got = 0;
  while (got < size_bytes) {
    const Received received = receive_some(fd, std::span(buffer).first(size_bytes - got));
    if (received.ending == Ending::reset) return "reset after " + std::to_string(offset + got);
    if (received.ending == Ending::eof) return "ended after " + std::to_string(offset + got);
    if (received.ending == Ending::timed_out) return "no answer";
    const auto bytes = std::span(buffer).first(received.bytes);
    if (pattern.first_mismatch(offset + got, bytes)) return "a wrong byte";
    got += received.bytes;
  }
  return "";
}

}  // namespace

EchoLoad::EchoLoad(std::uint16_t port, std::size_t connectors, std::size_t streams)
    : port_(port), connectors_(connectors), streams_(streams) {
  for (std::size_t i = 0; i < connectors; ++i) {
    threads_.emplace_back([this, i] { connect_again_and_again(i); });
  }
  for (std::size_t i = 0; i < streams; ++i) {
    threads_.emplace_back([this, i] { stream(1'000 + i); });
  }
  if (!goes_on()) throw std::runtime_error("the load does not begin");
}

bool EchoLoad::goes_on() {
  const std::uint64_t connections = connections_;
  const std::uint64_t bytes = bytes_;
  return wait_until([&] {
    return (connectors_ == 0 || connections_ > connections + 2) &&
           (streams_ == 0 || bytes_ > bytes + streams_ * kChunkBytes);
  });
}

void EchoLoad::connect_again_and_again(std::uint64_t seed) {
  while (!stopping_) {
    std::string wrong;
    try {
      const OwnedFd fd = connect_tcp(port_);
      wrong = echo(fd.get(), Pattern(seed), connections_, kMessageBytes);
    } catch (const std::system_error& error) {
      wrong = error.what();
    }
    if (!wrong.empty()) return fault("a new connection: " + wrong);
    ++connections_;
    std::this_thread::sleep_for(rest());
  }
}

void EchoLoad::stream(std::uint64_t seed) {
  const OwnedFd fd = connect_tcp(port_);
  std::uint64_t offset = 0;
  while (!stopping_) {
    const std::string wrong = echo(fd.get(), Pattern(seed), offset, kChunkBytes);
    if (!wrong.empty()) return fault("a stream: " + wrong);
    offset += kChunkBytes;
    bytes_ += kChunkBytes;
    std::this_thread::sleep_for(rest());
  }
  finish_sending(fd.get());
  std::byte more{};
  if (receive_some(fd.get(), {&more, 1}).ending != Ending::eof) fault("a stream: no end in order");
}

void EchoLoad::fault(const std::string& text) {
  const std::lock_guard lock(mutex_);
  faults_ += text + "\n";
}

std::string EchoLoad::stop() {
  stopping_ = true;
  for (std::thread& each : threads_) each.join();
  threads_.clear();
  const std::lock_guard lock(mutex_);
  return faults_;
}

}  // namespace sluice::test
