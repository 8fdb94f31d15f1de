#pragma once

#include <exception>
#include <system_error>
#include <thread>
#include <utility>

#include "iolib/base/error.h"

namespace sluice {

/// Starts a thread. Throws std::system_error with the text "start a thread" if the system has no
/// room for one.
template <class Work>
[[nodiscard]] std::thread start_thread(Work work) {
  try {
    return std::thread(std::move(work));
  } catch (const std::system_error& error) {
    throw std::system_error(error.code(), "start a thread");
  }
}

/// Sets what a failed allocation does, on any thread: it writes one line to stderr and exits with
/// status 1. main() calls this first. `program` is borrowed for ever.
void end_without_memory(const char* program);

/// Runs `work` and returns its result. An exception of the standard library or Boost (no
/// descriptors, no threads) becomes an Error. For threads that no exception may leave.
template <class Work>
[[nodiscard]] Result<> or_shortage(Work work) {
  try {
    return work();
  } catch (const std::exception& error) {
    return Error{0, error.what()};
  }
}

}  // namespace sluice
