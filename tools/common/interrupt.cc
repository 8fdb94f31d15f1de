#include "tools/common/interrupt.h"

#include <atomic>
#include <csignal>

namespace sluice {
namespace {

// Set on whichever thread the signal finds, read by all.
std::atomic<bool> caught{false};
static_assert(std::atomic<bool>::is_always_lock_free, "or a handler must not touch it");

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int /*signal*/) { caught = true; };
  // The second one ends the program at once.
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction inherited {};
    ::sigaction(signal, nullptr, &inherited);
    // Who was started by nohup(1) goes on.
    if (inherited.sa_handler != SIG_IGN) ::sigaction(signal, &action, nullptr);
  }
}

bool interrupted() { return caught; }

}  // namespace sluice
