#include "tests/system/ctl_program.h"

#include <cstdlib>
#include <stdexcept>

namespace sluice::test {

std::string ctl_program() {
  const char* const value = std::getenv("SLUICE_CTL");
  if (value == nullptr) throw std::runtime_error("SLUICE_CTL must be set");
  return value;
}

Outcome run_ctl(std::vector<std::string> arguments, const ProcessOptions& options) {
  arguments.insert(arguments.begin(), ctl_program());
  Process process(arguments, options);
  const std::optional<int> status = process.wait(kLate);
  if (!status) throw std::runtime_error("sluice-ctl does not end");
  return {*status, process.standard_output(), process.standard_error()};
}

Outcome run_ctl_at(const std::string& socket, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"--socket", socket});
  return run_ctl(std::move(arguments));
}

}  // namespace sluice::test
