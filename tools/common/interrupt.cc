#include "tools/common/interrupt.h"

#include <unistd.h>

#include <atomic>
#include <csignal>

namespace sluice {
namespace {

// Set on whichever thread the signal finds, read by all.
std::atomic<bool> caught{false};
static_assert(std::atomic<bool>::is_always_lock_free, "or a handler must not touch it");
// Who has asked for it. What it forks has something to end in order: no signal is the last one
// there.
std::atomic<pid_t> catcher{0};

void remember(int signal) {
  if (!caught.exchange(true) || ::getpid() != catcher) return;
  // Delivered when the handler returns.
  std::signal(signal, SIG_DFL);
  ::raise(signal);
}

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = remember;
  catcher = ::getpid();
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction inherited {};
    ::sigaction(signal, nullptr, &inherited);
    // Who was started by nohup(1) goes on.
    if (inherited.sa_handler != SIG_IGN) ::sigaction(signal, &action, nullptr);
  }
}

bool interrupted() { return caught; }

}  // namespace sluice
