#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proxy/system/notify.h"

namespace sluice {

/// Resets systemd's watchdog while all parts of the daemon answer. Belongs to the control thread,
/// which itself is one of the parts, since it must call look().
class Watchdog {
 public:
  struct Part {
    std::string name;
    /// Lets the part call this once, on any thread, as soon as it is its turn.
    std::function<void(std::function<void()>)> ask;
  };
  /// How often look() is to be called within the time of the watchdog. Every other time asks.
  static constexpr int kLooks = 4;

  /// `notify` is borrowed. `post` runs a task on the control thread, and none once this is gone.
  Watchdog(Notify& notify, std::vector<Part> parts,
           std::function<void(std::function<void()>)> post);
  ~Watchdog() = default;
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// Asks all parts, unless one still owes an answer; that is logged. The last answer resets the
  /// watchdog.
  void look();

 private:
  struct Round;
  void answered();

  Notify& notify_;
  const std::vector<Part> parts_;
  const std::function<void(std::function<void()>)> post_;
  std::shared_ptr<Round> round_;  ///< null while no answer is owed
  bool rests_ = false;            ///< the next look asks nothing
};

}  // namespace sluice
