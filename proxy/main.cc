#include <cstdio>
#include <cstdlib>
#include <exception>

#include "iolib/base/shortage.h"
#include "iolib/base/standard_streams.h"
#include "proxy/config/config.h"
#include "proxy/log/log.h"
#include "proxy/run/server.h"
#include "proxy/takeover/launcher.h"
#include "proxy/takeover/successor.h"
#include "proxy/upstream/resolve.h"

namespace {

// Flushes stdout. Returns `status`, or a failure if the output could not be written.
int printed(int status) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  std::fputs("sluice: stdout cannot be written\n", stderr);
  return status == 0 ? 1 : status;
}

int run(int argc, char** argv) try {
  const sluice::Invocation invocation = sluice::parse_command_line(argc, argv);
  switch (invocation.action) {
    case sluice::Invocation::Action::run:
      return sluice::run_server(invocation, {argv, argv + argc});
    case sluice::Invocation::Action::check:
      return printed(sluice::check_server(invocation.config));
    case sluice::Invocation::Action::exit:
      break;
  }
  // The process that has started this one waits for the reason.
  const char* const socket = std::getenv(sluice::takeover::kSocketVariable);
  if (socket != nullptr && invocation.exit_status != 0) {
    sluice::takeover::report_failure(socket, invocation.message);
  }
  std::FILE* out = invocation.exit_status == 0 ? stdout : stderr;
  std::fputs(invocation.message.c_str(), out);
  return printed(invocation.exit_status);
} catch (const std::exception& error) {
  // Libraries throw this if the system lacks descriptors or threads.
  std::fprintf(stderr, "sluice: %s\n", error.what());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  sluice::occupy_closed_streams();
  sluice::end_without_memory("sluice");
  const int status = run(argc, argv);
  // exit(3) would wait for the log's thread, and destroy objects that resolving threads still use.
  if (sluice::log::close() && !sluice::resolving_apart()) return status;
  std::fflush(nullptr);
  std::_Exit(status);
}
