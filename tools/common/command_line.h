#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>

#include "iolib/base/error.h"

namespace sluice {

/// The exit status of wrong usage, of all tools.
inline constexpr int kUsageStatus = 2;

/// A wrong value on a command line, as one line. Thrown while it is being understood.
struct Wrong {
  std::string message;
};

template <class T>
T value_of(const char* option, const Result<T>& parsed) {
  if (parsed.has_error()) throw Wrong{std::string(option) + ": " + parsed.error().to_string()};
  return *parsed;
}

/// How a program ends at its command line: with this status, and this text on stdout if that is 0,
/// else on stderr.
struct EarlyExit {
  int status = 0;
  std::string message;
};

/// Parses, then calls `understand`. What is wrong, and what --help and --version ask for, ends the
/// program.
[[nodiscard]] std::optional<EarlyExit> parse_with(CLI::App& app, int argc, char** argv,
                                                  const std::function<void()>& understand);

/// A word as a shell takes it: in quotes where it has to be.
[[nodiscard]] std::string shell_word(const std::string& word);

/// The command line as it can be typed again.
[[nodiscard]] std::string typed(const std::string& program, int argc, char** argv);

}  // namespace sluice
