#include "proxy/run/service.h"

#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

namespace sluice {

void Service::begin(std::string_view status) {
  notify_ = Notify();
  notify_.ready(status);
  if (notify_.asked() && watchdog_time_ > Duration::zero()) watch();
}

// Lets systemd restart the daemon if a thread that serves hangs.
void Service::watch() {
  std::vector<Watchdog::Part> parts;
  for (std::size_t index = 0; index < workers_.size(); ++index) {
    parts.push_back({"worker-" + std::to_string(index), [this, index](std::function<void()> done) {
                       workers_[index]->after_turn(std::move(done));
                     }});
  }
  parts.push_back({"admin", [this](std::function<void()> done) { admin_.post(std::move(done)); }});
  watchdog_ = std::make_unique<Watchdog>(
      notify_, std::move(parts),
      [this](std::function<void()> task) { control_.post(std::move(task)); });
  control_.repeat(watchdog_time_ / Watchdog::kLooks, [this] { watchdog_->look(); });
}

// After a takeover the drain may last for long, but systemd ends what stops in bounded time.
void Service::stopping(std::string_view status) {
  if (!handed_over_) notify_.stopping(status);
}

void Service::hand_over(pid_t successor) {
  handed_over_ = true;
  if (is_in_own_unit(successor)) return notify_.hand_over(successor);
  notify_.status("Process " + std::to_string(successor) +
                 ", outside this service, has taken over; waits for connections to end");
}

}  // namespace sluice
