#include "tools/common/interrupt.h"

#include <unistd.h>

#include <atomic>
#include <csignal>

namespace sluice {
namespace {

// Set by the signal handler, on any thread; read by all threads.
std::atomic<bool> caught{false};
static_assert(std::atomic<bool>::is_always_lock_free, "or a handler must not touch it");
// The process that called catch_interrupts(). Its forked children have work to end in order, so a
// second signal does not end them.
std::atomic<pid_t> catcher{0};

void remember(int signal) {
  if (!caught.exchange(true) || ::getpid() != catcher) return;
  // The kernel delivers it when the handler returns.
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
    // A program that nohup(1) started keeps ignoring SIGHUP.
    if (inherited.sa_handler != SIG_IGN) ::sigaction(signal, &action, nullptr);
  }
}

bool interrupted() { return caught; }

}  // namespace sluice
