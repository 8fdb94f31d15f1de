#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "iolib/base/shortage.h"
#include "iolib/base/standard_streams.h"
#include "iolib/base/text.h"
#include "tools/capture/commands.h"
#include "tools/capture/options.h"

namespace sluice::capture {
namespace {

Result<int> run(const Invocation& invocation) {
  if (invocation.run != nullptr) return invocation.run(invocation);
  std::fputs(invocation.message.c_str(), invocation.exit_status == 0 ? stdout : stderr);
  return {boost::system::in_place_value, invocation.exit_status};
}

int finish(const Result<int>& status) {
  const bool written = std::ferror(stdout) == 0 && std::fflush(stdout) == 0;
  if (!status) {
    std::fprintf(stderr, "sluice-capture: %s\n", one_line(status.error().to_string()).c_str());
  } else if (!written) {
    std::fputs("sluice-capture: stdout cannot be written\n", stderr);
  }
  // exit(3) would write to stdout again, and block if the reader has stopped.
  if (!written) std::_Exit(kFailed);
  return status ? *status : kFailed;
}

}  // namespace
}  // namespace sluice::capture

int main(int argc, char** argv) {
  sluice::occupy_closed_streams();
  sluice::end_without_memory("sluice-capture");
  try {
    const auto invocation = sluice::capture::parse_command_line(argc, argv);
    return sluice::capture::finish(sluice::capture::run(invocation));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sluice-capture: %s\n", error.what());
    return 1;
  }
}
