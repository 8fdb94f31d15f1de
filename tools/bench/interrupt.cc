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
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(signal, &action, nullptr);
}

bool interrupted() { return caught != 0; }

void check_interrupted() {
  if (interrupted()) throw Interrupted();
}

}  // namespace sluice::bench
