#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "iolib/base/shortage.h"
#include "iolib/base/standard_streams.h"
#include "iolib/base/text.h"
#include "tools/common/command_line.h"
#include "tools/ctl/client.h"
#include "tools/ctl/failure.h"
#include "tools/ctl/options.h"

namespace sluice::ctl {
namespace {

int fail(int status, const std::string& reason) {
  std::fprintf(stderr, "sluice-ctl: %s\n", one_line(reason).c_str());
  return status;
}

int run(const Invocation& invocation) {
  if (invocation.run == nullptr) {
    std::fputs(invocation.message.c_str(), invocation.exit_status == 0 ? stdout : stderr);
    return invocation.exit_status;
  }
  try {
    const std::string token = invocation.token_file.empty() ? "" : token_in(invocation.token_file);
    Client client(invocation.address, token);
    return invocation.run(invocation, client);
  } catch (const Failure& failure) {
    std::fflush(stdout);
    return fail(failure.status, failure.message);
  } catch (const Wrong& wrong) {
    return fail(kUsageStatus, wrong.message);
  }
}

int finish(int status) {
  const bool written = std::ferror(stdout) == 0 && std::fflush(stdout) == 0;
  if (written) return status;
  // exit(3) would write to stdout again, and block if the reader has stopped.
  std::_Exit(fail(kRefused, "stdout cannot be written"));
}

}  // namespace
}  // namespace sluice::ctl

int main(int argc, char** argv) {
  sluice::occupy_closed_streams();
  sluice::end_without_memory("sluice-ctl");
  try {
    return sluice::ctl::finish(sluice::ctl::run(sluice::ctl::parse_command_line(argc, argv)));
  } catch (const std::exception& error) {
    return sluice::ctl::fail(sluice::ctl::kRefused, error.what());
  }
}
