#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "iolib/base/owned_fd.h"
#include "tests/support/daemon.h"
#include "tests/support/pattern.h"
#include "tests/support/sockets.h"

namespace sluice::test {

/// The behaviour of one end of a connection.
struct EndPlan {
  std::uint64_t send_bytes = 0;
  std::size_t most_written_bytes = 1;          ///< by one send
  std::size_t most_read_bytes = 1;             ///< by one receive
  std::uint64_t pause_every = 0;               ///< one in this many sends and receives; 0: none
  std::chrono::microseconds longest_pause{0};  ///< after such a call
  std::uint64_t urgent_every = 0;  ///< one in this many sends ends in an urgent byte; 0: none
  std::chrono::milliseconds reads_after{0};   ///< reads nothing before
  bool sends_after_eof = false;               ///< answers after the other side's end
  bool closes_after_sending = false;          ///< closes the whole connection, not only its half
  std::optional<std::uint64_t> resets_after;  ///< after this many bytes, sent and received together
};
void PrintTo(const EndPlan& plan, std::ostream* out);

/// One connection: what both ends do, and the seeds of their bytes.
struct ConnectionPlan {
  std::uint64_t seed = 0;
  EndPlan client;
  EndPlan upstream;
  SocketOptions client_socket;
  SocketOptions upstream_socket;
};
/// Draws a plan of any kind: lopsided and even exchanges, question and answer, slow readers,
/// half-closes and closes, urgent bytes. One in five has a reset at a random moment by either end.
[[nodiscard]] ConnectionPlan draw_plan(std::mt19937_64& random);

/// One end at work. Never blocks; the poller calls step().
class StreamEnd {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  StreamEnd(OwnedFd fd, const EndPlan& plan, Pattern sends, Pattern expects, std::uint64_t seed);

  /// Does what is possible now: at most one receive and one send.
  void step(TimePoint now);
  [[nodiscard]] bool done() const { return !fd_; }
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// The poll events that it waits for now; 0 during a pause.
  [[nodiscard]] short wanted_events(TimePoint now) const;
  /// When the current pause ends.
  [[nodiscard]] TimePoint wakes_at(TimePoint now) const;

  [[nodiscard]] const EndPlan& plan() const { return plan_; }
  [[nodiscard]] std::uint64_t sent_bytes() const { return sent_bytes_; }
  [[nodiscard]] const PatternChecker& received() const { return received_; }
  [[nodiscard]] Ending ending() const { return ending_; }
  [[nodiscard]] bool finished_sending() const { return finished_sending_; }
  [[nodiscard]] bool has_reset() const { return has_reset_; }

 private:
  void receive(TimePoint now);
  void send(TimePoint now);
  void end_if_due();
  [[nodiscard]] bool may_send() const;
  [[nodiscard]] TimePoint pause_from(TimePoint now);
  [[nodiscard]] std::size_t up_to(std::size_t most) { return 1 + random_() % most; }

  OwnedFd fd_;
  EndPlan plan_;
  Pattern sends_;
  PatternChecker received_;
  std::mt19937_64 random_;
  std::uint64_t sent_bytes_ = 0;
  TimePoint may_read_at_;
  TimePoint may_send_at_;
  Ending ending_ = Ending::open;
  bool finished_sending_ = false;
  bool send_failed_ = false;
  bool reset_seen_ = false;  ///< by a send, which then took the error away from recv
  bool has_reset_ = false;
};

/// Both ends of a connection and the plan that they follow.
struct Exchange {
  Exchange(ConnectionPlan plan, Forwarded pair);

  /// Empty, or the problem with the outcome.
  [[nodiscard]] std::string verdict() const;

  ConnectionPlan plan;
  StreamEnd client;
  StreamEnd upstream;
};

/// Runs all of them at once until each is done; false if nothing moved for `patience`.
[[nodiscard]] bool run(std::vector<std::unique_ptr<Exchange>>& exchanges,
                       std::chrono::seconds patience = kPatience);

}  // namespace sluice::test
