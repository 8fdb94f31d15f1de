// Command lines, one word a line. Each gives a configuration, or one message and its exit status.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/config/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using sluice::Invocation;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  // It would read files that are not part of the input.
  if (text.find("--config") != text.npos) return 0;
  std::vector<std::string> words{"sluice"};
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    words.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());
  const Invocation asked = sluice::parse_command_line(static_cast<int>(argv.size()), argv.data());
  if (asked.action == Invocation::Action::exit) {
    if (asked.message.empty() || asked.message.back() != '\n') std::abort();
    if (asked.exit_status < 0 || asked.exit_status > 2) std::abort();
  } else if (asked.config.routes.empty()) {
    std::abort();
  }
  return 0;
}
