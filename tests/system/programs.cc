#include "tests/system/programs.h"

#include <fstream>
#include <memory>
#include <optional>
#include <stdexcept>

#include "tests/support/wait.h"

namespace sluice::test {
namespace {

/// True if an IPv4 socket listens on `port`, as /proc/net/tcp tells it.
bool listens(std::uint16_t port) {
  constexpr int kHexadecimal = 16;
  const std::string kListenState = "0A";
  std::ifstream table("/proc/net/tcp");
  std::string line;
  std::getline(table, line);  // the headings
  std::string number;
  std::string local;
  std::string remote;
  std::string state;
  while (table >> number >> local >> remote >> state && std::getline(table, line)) {
    const std::size_t colon = local.find(':');
    if (state == kListenState && colon != std::string::npos &&
        std::stoul(local.substr(colon + 1), nullptr, kHexadecimal) == port) {
      return true;
    }
  }
  return false;
}

}  // namespace

void ProgramTest::start_before(std::uint16_t port, const std::vector<std::string>& more) {
  daemon_ = std::make_unique<Daemon>(route_arguments(GetParam(), loopback_address(port), more));
  descriptors_before_ = descriptors();
}

void wait_for_listener(Process& program, std::uint16_t port) {
  const bool ready =
      wait_until([&] { return listens(port) || !program.running(); }, kProgramPatience);
  if (!ready || !program.running()) {
    throw std::runtime_error("nothing listens on port " + std::to_string(port) + ":\n" +
                             program.standard_output() + program.standard_error());
  }
}

ProcessOptions with_streams(int input, int output) {
  ProcessOptions options;
  options.standard_input = input;
  options.standard_output = output;
  return options;
}

std::string run_program(const std::vector<std::string>& argv, const ProcessOptions& options) {
  Process program(argv, options);
  const std::optional<int> status = program.wait(kProgramPatience);
  EXPECT_EQ(status, 0) << argv.at(0) << " printed:\n"
                       << program.standard_output() << program.standard_error();
  return program.standard_output();
}

Moved moved_bytes(const Daemon& daemon, std::size_t connections) {
  const std::vector<ConnectionEnd> ends = daemon.wait_for_ends(connections, kProgramPatience);
  EXPECT_GE(ends.size(), connections) << "connections logged";
  Moved sum;
  for (const ConnectionEnd& end : ends) {
    sum.to_upstream += end.to_upstream;
    sum.to_client += end.to_client;
    sum.spliced_to_upstream += end.spliced_to_upstream;
    sum.spliced_to_client += end.spliced_to_client;
  }
  return sum;
}

std::vector<Mode> both_engines() { return {{"uring", "auto"}, {"epoll", "auto"}}; }

}  // namespace sluice::test
