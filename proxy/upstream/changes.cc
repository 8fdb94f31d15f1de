#include "proxy/upstream/changes.h"

#include <mutex>
#include <utility>

namespace sluice {

void ServerChanges::log(TimePoint now, LogLevel level, std::string_view event,
                        std::initializer_list<log::Field> fields) {
  if (!log::enabled(level)) return;
  {
    const std::lock_guard guard(lock_);
    if (!lines_.take(now, 1)) {
      ++unlogged_;
      return;
    }
  }
  log::write(level, event, {fields.begin(), fields.size()});
}

void ServerChanges::summarize() {
  std::uint64_t times = 0;
  {
    const std::lock_guard guard(lock_);
    times = std::exchange(unlogged_, 0);
  }
  if (times > 0) log::warn("server_changes_unlogged", {{"times", times}});
}

}  // namespace sluice
