#include "tests/system/replayed.h"

#include <cstdlib>
#include <stdexcept>

namespace sluice::test {

std::string replay_tool() {
  const char* value = std::getenv("SLUICE_REPLAY");
  if (value == nullptr) throw std::runtime_error("SLUICE_REPLAY must be set");
  return value;
}

Replayed replay(std::vector<std::string> arguments, const ProcessOptions& options,
                std::chrono::seconds patience) {
  const TempDir folder;
  const std::string report = folder.file("report.json");
  arguments.insert(arguments.begin(), replay_tool());
  arguments.insert(arguments.end(), {"--json", report});
  Process process(arguments, options);
  Replayed replayed;
  replayed.status = process.wait(patience);
  replayed.output = process.standard_output();
  replayed.error = process.standard_error();
  const std::string text = read_text(report);
  if (!text.empty()) replayed.report = json::parse(text).as_object();
  return replayed;
}

}  // namespace sluice::test
