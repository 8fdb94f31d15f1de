#include "proxy/run/start_watch.h"

#include <pthread.h>
#include <signal.h>

#include <cstdlib>
#include <utility>

#include "iolib/base/shortage.h"

namespace sluice {
namespace {

// Wakes the watching thread for stop(). If another process sends this signal during the start,
// another thread gets it, with its usual effect.
constexpr int kStopSignal = SIGUSR2;

}  // namespace

StartWatch::StartWatch(std::function<void()> before_end) {
  sigset_t watched;
  sigset_t before;
  sigemptyset(&watched);
  for (const int signal : {SIGTERM, SIGINT, kStopSignal}) sigaddset(&watched, signal);
  // The new thread inherits this mask.
  pthread_sigmask(SIG_BLOCK, &watched, &before);
  thread_ = start_thread([watched, before_end = std::move(before_end)] {
    int signal = 0;
    while (sigwait(&watched, &signal) != 0) continue;
    if (signal == kStopSignal) return;
    before_end();
    std::_Exit(0);
  });
  for (const int signal : {SIGTERM, SIGINT}) sigaddset(&before, signal);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void StartWatch::stop() {
  if (!thread_.joinable()) return;
  pthread_kill(thread_.native_handle(), kStopSignal);
  thread_.join();
}

}  // namespace sluice
