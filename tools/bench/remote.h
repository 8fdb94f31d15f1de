#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "iolib/base/owned_fd.h"
#include "iolib/json/json.h"
#include "tools/bench/net.h"
#include "tools/bench/opening.h"
#include "tools/bench/sample.h"

namespace sluice::bench {

/// The bytes that one end has sent and received so far, by connection number, at a time of that
/// end's CLOCK_MONOTONIC.
struct Mark {
  std::uint64_t time_ns = 0;
  std::vector<std::uint64_t> sent;
  std::vector<std::uint64_t> received;
};

/// The load's end of one run's control connection (protocol.h). Each request throws Failure if the
/// serving end reports an error or does not answer in time, and Interrupted. One thread.
class Remote {
 public:
  Remote(const Endpoint& to, std::uint64_t run, const Opening& opening);

  /// Whether its peer, which is the path or the serving end, is on this machine.
  [[nodiscard]] bool on_this_machine() const { return leads_to_this_machine(fd_.get()); }
  /// Begins the run, with `threads` loops at the serving end.
  void begin(std::size_t threads);
  /// Waits until `connections` data connections have arrived.
  void await(std::size_t connections);
  /// Checks that nothing has gone wrong at the serving end.
  void alive();
  /// What has gone wrong at the serving end, if it says so soon; empty otherwise.
  [[nodiscard]] std::string complaint();
  [[nodiscard]] Mark mark();
  /// The CPU time of the serving end's threads.
  [[nodiscard]] ThreadSample threads();
  /// Ends the run. Returns when all its connections have ended, which takes as long as bytes are in
  /// flight.
  [[nodiscard]] Mark stop();

 private:
  json::object ask(const std::string& request, int timeout_ms);
  json::object exchange(const std::string& request, int timeout_ms);
  [[noreturn]] void fail_to_understand() const;

  OwnedFd fd_;
  std::string to_;
  LineReader lines_;
};

}  // namespace sluice::bench
