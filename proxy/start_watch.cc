#include "proxy/start_watch.h"

#include <pthread.h>
#include <signal.h>

#include <cstdlib>

#include "iolib/base/shortage.h"

namespace sluice {

StartWatch::StartWatch() {
  sigset_t ending;
  sigemptyset(&ending);
  for (const int signal : {SIGTERM, SIGINT}) sigaddset(&ending, signal);
  pthread_sigmask(SIG_BLOCK, &ending, nullptr);
  thread_ = start_thread([this, ending] {
    int signal = 0;
    while (sigwait(&ending, &signal) != 0) continue;
    if (!over_) std::_Exit(0);
  });
}

void StartWatch::stop() {
  if (!thread_.joinable()) return;
  over_ = true;
  pthread_kill(thread_.native_handle(), SIGTERM);
  thread_.join();
}

}  // namespace sluice
