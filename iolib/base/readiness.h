#pragma once

namespace sluice {

/// Which of the poll(2) `events`, and of POLLERR and POLLHUP, hold of `fd` at this moment; 0: none.
/// Does not wait.
[[nodiscard]] short ready_events(int fd, short events);

}  // namespace sluice
