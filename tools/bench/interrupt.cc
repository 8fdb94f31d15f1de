#include "tools/bench/interrupt.h"

#include <csignal>

#include "tools/bench/load.h"

namespace sluice::bench {
namespace {

volatile std::sig_atomic_t caught = 0;

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int /*signal*/) { caught = 1; };
  // The second one ends the program at once.
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction inherited {};
    ::sigaction(signal, nullptr, &inherited);
    // Who was started by nohup(1) goes on.
    if (inherited.sa_handler != SIG_IGN) ::sigaction(signal, &action, nullptr);
  }
}

bool interrupted() { return caught != 0; }

void check_interrupted() {
  if (interrupted()) throw Interrupted();
}

}  // namespace sluice::bench
