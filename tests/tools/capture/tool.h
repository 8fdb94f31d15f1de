#pragma once

#include <cstddef>
#include <cstdlib>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/process.h"

namespace sluice::test {

/// The path of sluice-capture, from $SLUICE_CAPTURE.
[[nodiscard]] inline std::string program() {
  const char* value = std::getenv("SLUICE_CAPTURE");
  if (value == nullptr) throw std::runtime_error("SLUICE_CAPTURE must be set");
  return value;
}

struct Outcome {
  std::optional<int> status;
  std::string output;
  std::string error;
};

/// Runs sluice-capture, or another named program, with these arguments.
[[nodiscard]] inline Outcome run(std::vector<std::string> arguments,
                                 const std::string& of = program()) {
  arguments.insert(arguments.begin(), of);
  Process process(arguments);
  Outcome outcome;
  outcome.status = process.wait();
  outcome.output = process.standard_output();
  outcome.error = process.standard_error();
  return outcome;
}

[[nodiscard]] inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

[[nodiscard]] inline std::string string_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace sluice::test
