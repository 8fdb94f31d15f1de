#include "iolib/base/readiness.h"

#include <poll.h>

namespace sluice {

short ready_events(int fd, short events) {
  pollfd polled{.fd = fd, .events = events, .revents = 0};
  return ::poll(&polled, 1, 0) > 0 ? polled.revents : short{0};
}

}  // namespace sluice
