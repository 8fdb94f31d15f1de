#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/base/help_row.h"
#include "proxy/config/help.h"
#include "proxy/config/options.h"
#include "tests/support/temp_dir.h"

namespace sluice {
namespace {

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != text.npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::string contents(const std::string& name) {
  std::string text = test::read_text(std::string(SLUICE_PROXY_DIR) + "/" + name);
  EXPECT_NE(text, "") << name;
  return text;
}

/// The man page without roff's ways to write a dash and a space that does not break.
std::string man_page() { return replaced(replaced(contents("sluice.1"), "\\-", "-"), "\\~", " "); }

/// What stands between a paragraph's tag and the next one, as one line.
std::string man_entry(const std::string& page, std::string_view name) {
  for (std::size_t at = page.find(".TP\n"); at != page.npos; at = page.find(".TP\n", at + 1)) {
    const std::size_t tag = at + 4;
    const std::string first = page.substr(tag, page.find('\n', tag) - tag) + " ";
    if (first.find("--" + std::string(name) + " ") == first.npos) continue;
    const std::size_t end = std::min(page.find("\n.TP\n", tag), page.find("\n.S", tag));
    return replaced(page.substr(tag, end - tag), "\n", " ");
  }
  return "";
}

std::vector<Option> command_line_options() {
  std::vector<Option> result;
  for (const Option& option : options()) {
    if ((option.places & kOnCommandLine) != 0) result.push_back(option);
  }
  return result;
}

/// Every "--word" of a text.
std::set<std::string> long_options(const std::string& text) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz-";
  std::set<std::string> result;
  for (std::size_t at = text.find("--"); at != text.npos;) {
    const std::size_t end = std::min(text.find_first_not_of(kLetters, at), text.size());
    if (end > at + 2) result.insert(text.substr(at + 2, end - at - 2));
    at = text.find("--", end);
  }
  return result;
}

std::string choices_of(const Option& option) {
  std::string result;
  for (const std::string_view choice : option.choices) {
    result += (result.empty() ? "" : " ") + std::string(choice);
  }
  return result;
}

TEST(ManPage, HasEveryOptionWithItsDefaultAndBounds) {
  const std::string page = man_page();
  for (const Option& option : command_line_options()) {
    const std::string entry = man_entry(page, option.name);
    ASSERT_NE(entry, "") << option.name;
    if (option.default_text.empty()) continue;
    EXPECT_NE(entry.find(" Default: " + std::string(option.default_text)), entry.npos) << entry;
    const std::string allowed = allowed_values(option);
    if (allowed.empty()) continue;
    EXPECT_NE(entry.find(" Allowed: " + allowed + "."), entry.npos) << entry << "\n" << allowed;
  }
}

TEST(ManPage, HasEveryKeyOfTheFileAndEveryExitStatusAndSignal) {
  const std::string page = man_page();
  for (const std::string_view key : option_names(kInDefaults | kInRoute)) {
    EXPECT_NE(page.find(key), page.npos) << key;
  }
  for (const char* text : {"\n.B name\n", "\n.B listen\n", "\n.B to\n", "\n.B 0\n", "\n.B 1\n",
                           "\n.B 2\n", "SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"}) {
    EXPECT_NE(page.find(text), page.npos) << text;
  }
}

TEST(ManPage, HasNoOptionThatIsNotThere) {
  for (const std::string& name : long_options(man_page())) {
    EXPECT_NE(find_option(name), nullptr) << name;
  }
}

/// What a completion says of an option: the help's first sentence, without its full stop.
std::string summary_of(const Option& option) {
  std::string summary(first_sentence(option.help));
  summary.pop_back();
  return summary;
}

TEST(Completions, OfBashAndZshHaveEveryOptionAndNoOther) {
  for (const char* file : {"completions/sluice.bash", "completions/_sluice"}) {
    const std::string text = contents(file);
    const std::set<std::string> found = long_options(text);
    for (const Option& option : command_line_options()) {
      EXPECT_TRUE(found.contains(std::string(option.name))) << file << " " << option.name;
      EXPECT_NE(text.find(choices_of(option)), text.npos) << file << " " << option.name;
    }
    for (const std::string& name : found) EXPECT_NE(find_option(name), nullptr) << name;
  }
  const std::string zsh = contents("completions/_sluice");
  for (const Option& option : command_line_options()) {
    std::string summary = summary_of(option);
    summary.front() = static_cast<char>(std::tolower(summary.front()));
    EXPECT_NE(zsh.find("[" + summary + "]"), zsh.npos) << summary;
  }
}

TEST(Completions, OfFishHaveEveryOptionAndNoOther) {
  const std::string text = replaced(contents("completions/sluice.fish"), " -l ", " --");
  const std::set<std::string> found = long_options(text);
  for (const Option& option : command_line_options()) {
    EXPECT_TRUE(found.contains(std::string(option.name))) << option.name;
    EXPECT_NE(text.find(choices_of(option)), text.npos) << option.name;
    EXPECT_NE(text.find("-d '" + summary_of(option) + "'"), text.npos) << summary_of(option);
  }
  for (const std::string& name : found) EXPECT_NE(find_option(name), nullptr) << name;
}

std::vector<Topic> topics() {
  std::vector<Topic> result;
  for (std::size_t i = 0; i < find_option("help")->choices.size(); ++i) {
    result.push_back(static_cast<Topic>(i));
  }
  return result;
}

/// Whether a line of the help begins with this option.
bool has_line_of(const std::string& help, const Option& option) {
  const std::string name = (option.name == "help" ? "  -h, --" : "  --") + std::string(option.name);
  const std::string lines = "\n" + help;
  return lines.find("\n" + name + " ") != lines.npos ||
         lines.find("\n" + name + "\n") != lines.npos;
}

TEST(Help, OfAllTopicsHasEveryOptionWithItsTextDefaultAndBounds) {
  // Without its line breaks, which are anywhere.
  std::string words;
  std::istringstream text(topic_help(Topic::all));
  for (std::string word; text >> word;) words += word + " ";
  for (const Option& option : command_line_options()) {
    EXPECT_TRUE(has_line_of(topic_help(Topic::all), option)) << option.name;
    std::string expected(option.help);
    if (!option.default_text.empty()) {
      expected += " Default: " + std::string(option.default_text) + ".";
    }
    const std::string allowed = allowed_values(option);
    if (!allowed.empty()) expected += " Allowed: " + allowed + ".";
    EXPECT_NE(words.find(expected), words.npos) << expected;
  }
}

TEST(Help, OfATopicHasItsOptionsAndNoOther) {
  for (const Topic topic : topics()) {
    if (topic == Topic::all) continue;
    for (const Option& option : command_line_options()) {
      EXPECT_EQ(has_line_of(topic_help(topic), option), option.topic == topic) << option.name;
    }
  }
}

TEST(Help, WithoutATopicHasALineForEachCommonOptionAndNamesTheTopics) {
  const std::string help = short_help();
  std::size_t common = 0;
  for (const Option& option : command_line_options()) {
    EXPECT_EQ(has_line_of(help, option), option.common) << option.name;
    if (!option.common) continue;
    ++common;
    EXPECT_NE(help.find(" " + std::string(first_sentence(option.help)) + "\n"), help.npos)
        << option.help;
  }
  EXPECT_LE(common, 15U);
  for (const std::string_view topic : find_option("help")->choices) {
    EXPECT_NE(help.find("\n  " + std::string(topic) + " "), help.npos) << topic;
  }
}

TEST(Help, FitsATerminal) {
  std::string help = short_help();
  for (const Topic topic : topics()) help += topic_help(topic);
  std::size_t begin = 0;
  while (begin < help.size()) {
    const std::size_t end = help.find('\n', begin);
    EXPECT_LE(end - begin, 80u) << help.substr(begin, end - begin);
    begin = end + 1;
  }
}

TEST(Changelog, BeginsWithThisVersion) {
  const std::string changelog = contents("../CHANGELOG.md");
  const std::string_view heading =
      std::string_view(changelog).substr(changelog.find("\n## ") + 1, std::string::npos);
  EXPECT_TRUE(heading.starts_with("## " SLUICE_VERSION " ") ||
              heading.starts_with("## " SLUICE_VERSION "\n"))
      << heading.substr(0, heading.find('\n'));
}

TEST(ServiceUnit, StartsTheInstalledProgramWithItsFile) {
  const std::string unit = contents("sluice.service");
  EXPECT_NE(unit.find("ExecStart=@bindir@/sluice --config /etc/sluice/sluice.toml\n"), unit.npos);
  EXPECT_NE(unit.find("ExecReload=@bindir@/sluice-ctl reload\n"), unit.npos);
}

}  // namespace
}  // namespace sluice
