// Loaded before liburing (LD_PRELOAD). Grants a process $SLUICE_RINGS rings and refuses more, as a
// kernel without memory for them does.

#include <dlfcn.h>
#include <liburing.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>

extern "C" int io_uring_queue_init_params(unsigned entries, io_uring* ring,
                                          io_uring_params* params) {
  using Call = int (*)(unsigned, io_uring*, io_uring_params*);
  static std::atomic<int> asked{0};
  const char* granted = std::getenv("SLUICE_RINGS");
  if (granted != nullptr && ++asked > std::atoi(granted)) return -ENOMEM;
  const auto call = reinterpret_cast<Call>(::dlsym(RTLD_NEXT, "io_uring_queue_init_params"));
  return call(entries, ring, params);
}
