#pragma once

namespace sluice {

/// Which of the poll(2) `events`, and of POLLERR and POLLHUP, are true for `fd` now; 0 if none.
/// Never waits.
[[nodiscard]] short ready_events(int fd, short events);

}  // namespace sluice
