#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "iolib/base/owned_fd.h"
#include "tools/bench/net.h"
#include "tools/bench/sample.h"
#include "tools/common/json.h"

namespace sluice::bench {

/// What has passed on each connection, as one end sees it, at CLOCK_MONOTONIC of that end.
struct Mark {
  std::uint64_t time_ns = 0;
  std::vector<std::uint64_t> sent;
  std::vector<std::uint64_t> received;
};

/// The load's end of the control connection of one run (protocol.h). What it asks throws a Failure
/// where the serving end says that something is wrong, or does not answer.
class Remote {
 public:
  Remote(const Endpoint& to, std::uint64_t run);

  /// What it is connected to, the path or the serving end, has an address of this machine.
  [[nodiscard]] bool on_this_machine() const { return leads_to_this_machine(fd_.get()); }
  /// Its loops will be so many.
  void begin(std::size_t threads);
  /// Returns when so many data connections have arrived.
  void await(std::size_t connections);
  /// Fails if something has gone wrong there.
  void alive();
  [[nodiscard]] Mark mark();
  /// Of the serving end's program.
  [[nodiscard]] ThreadSample threads();
  /// Ends the run. Takes as long as bytes are on their way.
  [[nodiscard]] Mark stop();

 private:
  json::object ask(const std::string& request, int timeout_ms);
  [[noreturn]] void fail_to_understand() const;

  OwnedFd fd_;
  std::string to_;
  LineReader lines_;
};

}  // namespace sluice::bench
