// The man page and the completions of sluice-ctl have every command and option, and no other.

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/regex.h"
#include "tests/support/temp_dir.h"
#include "tests/system/ctl_program.h"

namespace sluice::test {
namespace {

std::set<std::string> options_in(const std::string& text) {
  std::set<std::string> found;
  for (const std::string& each : Regex("--[a-z][a-z-]+").all_in(text)) found.insert(each);
  return found;
}

/// The commands of the short help.
std::vector<std::string> commands() {
  const std::string help = run_ctl({"--help"}).output;
  const std::size_t begin = help.find("\nCommands:\n");
  const std::string part = help.substr(begin, help.find("\nOptions:\n") - begin);
  std::vector<std::string> names;
  for (const std::string& each : Regex("\n  [a-z][a-z-]*").all_in(part)) {
    names.push_back(each.substr(3));
  }
  return names;
}

std::string contents(const std::string& name) {
  const std::string text = read_text(std::string(SLUICE_CTL_DIR) + "/" + name);
  EXPECT_NE(text, "") << name;
  return text;
}

TEST(CtlDocumentation, TheManPageHasEveryCommandOptionAndExitStatus) {
  const std::string page = Regex("\\\\-").replaced(contents("sluice-ctl.1"), "-");
  ASSERT_EQ(commands().size(), 16U);
  for (const std::string& command : commands()) {
    EXPECT_TRUE(Regex("\n\\.(B|BR|BI) \"?" + command + "(\n| |\\\\~)").is_in(page)) << command;
  }
  for (const std::string& option : options_in(run_ctl({"--help", "all"}).output)) {
    EXPECT_TRUE(contains(page, option)) << option;
  }
  for (const char* status : {"0", "1", "2", "3", "4"}) {
    EXPECT_TRUE(contains(page, std::string("\n.B ") + status + "\n")) << status;
  }
}

TEST(CtlDocumentation, CompletionsHaveEveryCommandAndOptionAndNoOther) {
  std::set<std::string> options = options_in(run_ctl({"--help", "all"}).output);
  // The help names the daemon's options too.
  options.erase("--admin");
  options.erase("--admin-token-file");
  const std::string fish = Regex(" -l ").replaced(contents("completions/sluice-ctl.fish"), " --");
  for (const std::string& text :
       {contents("completions/_sluice-ctl"), contents("completions/sluice-ctl.bash"), fish}) {
    EXPECT_EQ(options_in(text), options) << text;
    for (const std::string& command : commands()) {
      EXPECT_TRUE(Regex("[ '\"(]" + command + "[ :'\"\n)|]").is_in(text)) << command << text;
    }
  }
}

}  // namespace
}  // namespace sluice::test
