#include "proxy/system/watchdog.h"

#include <atomic>
#include <utility>

#include "proxy/log/log.h"

namespace sluice {

struct Watchdog::Round {
  explicit Round(std::size_t parts) : answered(parts), missing(parts) {}
  std::vector<std::atomic<bool>> answered;
  std::atomic<std::size_t> missing;
};

Watchdog::Watchdog(Notify& notify, std::vector<Part> parts,
                   std::function<void(std::function<void()>)> post)
    : notify_(notify), parts_(std::move(parts)), post_(std::move(post)) {}

void Watchdog::look() {
  if (round_) {
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      if (!round_->answered[i]) log::warn("watchdog_unanswered", {{"part", parts_[i].name}});
    }
    return;
  }
  if (std::exchange(rests_, !rests_)) return;
  if (parts_.empty()) return notify_.alive();
  round_ = std::make_shared<Round>(parts_.size());
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    parts_[i].ask([this, i, round = round_] {
      round->answered[i] = true;
      if (round->missing.fetch_sub(1) == 1) post_([this] { answered(); });
    });
  }
}

void Watchdog::answered() {
  round_.reset();
  notify_.alive();
}

}  // namespace sluice
