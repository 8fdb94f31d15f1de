#include "tools/common/command_line.h"

#include <sstream>

#include "iolib/base/text.h"

namespace sluice {
namespace {

std::string line_of(const CLI::App& app, const std::string& text) {
  return app.get_name() + ": " + one_line(text.substr(0, text.find('\n'))) + "\n";
}

}  // namespace

std::optional<EarlyExit> parse_with(CLI::App& app, int argc, char** argv,
                                    const std::function<void()>& understand) {
  try {
    app.parse(argc, argv);
    understand();
    return {};
  } catch (const CLI::Success& asked) {
    std::ostringstream text;
    std::ostringstream ignored;
    app.exit(asked, text, ignored);
    return EarlyExit{0, text.str()};
  } catch (const CLI::ParseError& error) {
    return EarlyExit{kUsageStatus, line_of(app, error.what())};
  } catch (const Wrong& wrong) {
    return EarlyExit{kUsageStatus, line_of(app, wrong.message)};
  }
}

std::string shell_word(const std::string& word) {
  const bool plain = word.find_first_of(" \t\n'\"`\\$*?;&|<>(){}[]~#!") == std::string::npos;
  if (plain && !word.empty()) return word;
  std::string quoted;
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return "'" + quoted + "'";
}

std::string typed(const std::string& program, int argc, char** argv) {
  std::string command = program;
  for (int i = 1; i < argc; ++i) command += ' ' + shell_word(argv[i]);
  return command;
}

}  // namespace sluice
