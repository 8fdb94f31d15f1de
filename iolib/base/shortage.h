#pragma once

#include <exception>
#include <system_error>
#include <thread>
#include <utility>

#include "iolib/base/error.h"

namespace sluice {

/// A new thread; the std::system_error where there are too many says that it is one.
template <class Work>
[[nodiscard]] std::thread start_thread(Work work) {
  try {
    return std::thread(std::move(work));
  } catch (const std::system_error& error) {
    throw std::system_error(error.code(), "start a thread");
  }
}

/// From now on the program ends with status 1 and one line on stderr where the machine lacks
/// memory, on whatever thread: no part of it goes on without. For the start of main().
void end_without_memory(const char* program);

/// What `work` returns, or what an exception says that the standard library or Boost throws where
/// the machine lacks descriptors or threads: on threads that no exception may leave.
template <class Work>
[[nodiscard]] Result<> or_shortage(Work work) {
  try {
    return work();
  } catch (const std::exception& error) {
    return Error{0, error.what()};
  }
}

}  // namespace sluice
