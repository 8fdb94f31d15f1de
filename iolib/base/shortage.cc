#include "iolib/base/shortage.h"

#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

namespace sluice {
namespace {

const char* program_name = "";
std::atomic<bool> said = false;

// Allocates nothing. Several threads can call it at once.
[[noreturn]] void end() {
  char text[] = ": not enough memory\n";
  const iovec parts[] = {{const_cast<char*>(program_name), std::strlen(program_name)},
                         {text, sizeof text - 1}};
  if (!said.exchange(true)) static_cast<void>(::writev(STDERR_FILENO, parts, 2));
  std::_Exit(1);
}

}  // namespace

void end_without_memory(const char* program) {
  program_name = program;
  std::set_new_handler(end);
}

}  // namespace sluice
