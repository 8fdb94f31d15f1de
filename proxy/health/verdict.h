#pragma once

#include <cstdint>
#include <utility>

namespace sluice {

/// What one check says about a server.
enum class CheckResult : std::uint8_t {
  passed,
  failed,      ///< the server refused, or gave a wrong answer
  unanswered,  ///< its time was over
  undecided,   ///< this machine could not check: it says nothing about the server
};

/// Whether a server is up, from its checks. A server that is up goes down after `fall` failed
/// checks in a row, and up again after `rise` that passed. The first check decides at once, unless
/// it is unanswered: a slow server counts as up until it has failed `fall` times.
class Verdict {
 public:
  /// `up`: what is known before the first check.
  Verdict(std::uint64_t rise, std::uint64_t fall, bool up = true)
      : rise_(rise), fall_(fall), up_(up) {}

  [[nodiscard]] bool is_up() const { return up_; }
  /// Takes a result. Returns whether the server's state has changed.
  bool note(CheckResult result) {
    if (result == CheckResult::undecided) return false;
    const bool first = std::exchange(first_, false);
    const bool passed = result == CheckResult::passed;
    if (passed == up_) {
      in_row_ = 0;
      return false;
    }
    const bool at_once = first && result == CheckResult::failed;
    if (++in_row_ < (up_ ? fall_ : rise_) && !at_once) return false;
    in_row_ = 0;
    up_ = passed;
    return true;
  }

 private:
  std::uint64_t rise_;
  std::uint64_t fall_;
  std::uint64_t in_row_ = 0;  ///< checks that contradict the state
  bool up_;
  bool first_ = true;
};

}  // namespace sluice
