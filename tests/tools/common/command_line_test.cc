#include "tools/common/command_line.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace sluice {
namespace {

/// A program with two options, one of them common, a topic and a subcommand.
class HelpTest : public testing::Test {
 protected:
  HelpTest() {
    program_.set_version("prog 1");
    program_.set_examples("  prog --often x\n");
    program_.set_footer("\nThe footer.\n");
    program_.add_topic("stars", "Names of stars.", "Stars: sun.\n");
    program_.add_text("--often", "X", often_, "Used often. With details.").common();
    program_.add_text("--seldom", "Y", seldom_, "Used seldom. With details.");
    Command& sub = program_.add_command("sub", "Does less.");
    sub.add_text("--deep", "Z", seldom_, "Deep inside. With details.").common();
  }

  EarlyExit run(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "prog");
    return program_.parse(static_cast<int>(arguments.size()), arguments.data(), [] {})
        .value_or(EarlyExit{-1, ""});
  }
  static bool has(const EarlyExit& exit, const std::string& text) {
    return exit.message.find(text) != std::string::npos;
  }

 private:
  Command program_{"prog", "Does it."};
  std::string often_, seldom_;
};

TEST_F(HelpTest, IsShortWithoutATopic) {
  const EarlyExit exit = run({"--help"});
  EXPECT_EQ(exit.status, 0);
  for (const char* text :
       {"Does it.\nUsage: prog [COMMAND] [OPTIONS]\n", "\n  sub ", "--often X", "Used often.\n",
        "\nExamples:\n  prog --often x\n", "\n  all ", "\n  stars ", "prog(1)"}) {
    EXPECT_TRUE(has(exit, text)) << text << "\n" << exit.message;
  }
  for (const char* text : {"--seldom", "details", "Stars:", "footer", "--deep"}) {
    EXPECT_FALSE(has(exit, text)) << text << "\n" << exit.message;
  }
  EXPECT_EQ(run({"-h"}).message, exit.message);
}

TEST_F(HelpTest, OfAllIsEverything) {
  const EarlyExit exit = run({"--help", "all"});
  EXPECT_EQ(exit.status, 0);
  for (const char* text : {"Used often. With details.", "Used seldom. With details.",
                           "Deep inside. With details.", "Stars: sun.", "The footer."}) {
    EXPECT_TRUE(has(exit, text)) << text << "\n" << exit.message;
  }
  EXPECT_EQ(run({"--help=all"}).message, exit.message);
}

TEST_F(HelpTest, OfATopicIsThatAlone) {
  EXPECT_EQ(run({"--help", "stars"}).message, "Stars: sun.\n");
  const EarlyExit sub = run({"--help", "sub"});
  EXPECT_EQ(sub.status, 0);
  EXPECT_EQ(sub.message, run({"sub", "--help", "all"}).message);
  EXPECT_TRUE(has(sub, "Deep inside. With details.")) << sub.message;
  EXPECT_FALSE(has(sub, "--often")) << sub.message;
}

TEST_F(HelpTest, OfAnUnknownTopicNamesThemAll) {
  const EarlyExit exit = run({"--help", "moon"});
  EXPECT_EQ(exit.status, 2);
  EXPECT_EQ(exit.message, "prog: --help: unknown topic \"moon\": expected all, stars, sub\n");
  EXPECT_EQ(run({"--help="}).message, "prog: --help: missing value, expected TOPIC\n");
}

/// A program with an option for every command, and commands with words.
class WordsTest : public testing::Test {
 protected:
  WordsTest() {
    program_.set_footer("\nThe footer.\n");
    program_.add_flag("--fast", fast, "Hurry.").everywhere();
    Command& set = program_.add_command("set", "Sets it.");
    set.add_word({"on", "off"}, order, "Which.");
    set.add_word("NAME", "", name, "Whose.");
    Command& get = program_.add_command("get", "Gets it.");
    get.add_word("NAME", "", name, "Whose.").optional();
    get.add_text("--wait", "TIME", wait, "How long.").optional();
  }

  /// Empty if the command line is good.
  std::string run(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "prog");
    const auto exit = program_.parse(static_cast<int>(arguments.size()), arguments.data(), [] {});
    return exit ? exit->message : "";
  }

  bool fast = false;
  std::string order, name;
  std::optional<std::string> wait;

 private:
  Command program_{"prog", "Does it."};
};

TEST_F(WordsTest, AreTakenInTheirOrder) {
  EXPECT_EQ(run({"set", "off", "sun"}), "");
  EXPECT_EQ(order, "off");
  EXPECT_EQ(name, "sun");
}

TEST_F(WordsTest, ThatAreMissingWrongOrTooManyAreReported) {
  EXPECT_EQ(run({"set"}), "prog: set: missing, expected on|off\n");
  EXPECT_EQ(run({"set", "up", "sun"}), "prog: on|off: \"up\": expected on or off\n");
}

TEST_F(WordsTest, ThatAreMissingBehindAnotherAreReported) {
  EXPECT_EQ(run({"set", "on"}), "prog: set: missing, expected NAME\n");
}

TEST_F(WordsTest, ThatAreEmptyOrBehindTheLastAreReported) {
  EXPECT_EQ(run({"get", ""}), "prog: NAME: empty, expected NAME\n");
  EXPECT_EQ(run({"get", "sun", "moon"}),
            "prog: unexpected argument \"moon\", expected nothing after NAME\n");
}

TEST_F(WordsTest, ThatAreOptionalCanBeMissing) {
  EXPECT_EQ(run({"get"}), "");
  EXPECT_EQ(name, "");
}

TEST_F(WordsTest, AnOptionOfEveryCommandStandsOnEitherSideOfIt) {
  EXPECT_EQ(run({"get", "--fast"}), "");
  EXPECT_TRUE(fast);
  fast = false;
  EXPECT_EQ(run({"--fast", "get"}), "");
  EXPECT_TRUE(fast);
}

TEST_F(WordsTest, AValueThatIsOptionalIsTheNextWordOrEmpty) {
  EXPECT_EQ(run({"get", "--wait", "--fast"}), "");
  EXPECT_EQ(wait, "");
}

TEST_F(WordsTest, AValueThatIsOptionalCanBeGivenEitherWay) {
  EXPECT_EQ(run({"get", "--wait=1s"}), "");
  EXPECT_EQ(wait, "1s");
}

TEST_F(WordsTest, TheHelpShowsWordsAndTheOptionsOfEveryCommand) {
  const std::string help = run({"get", "--help"});
  for (const char* text : {"Usage: prog get [OPTIONS] [NAME]\n", "\n  NAME ", "--wait [TIME]",
                           "\nOptions of every command:\n  --fast "}) {
    EXPECT_NE(help.find(text), std::string::npos) << text << "\n" << help;
  }
  EXPECT_NE(run({"set", "--help"}).find("\n  on|off "), std::string::npos);
  EXPECT_NE(run({"--help"}).find("Usage: prog COMMAND [OPTIONS]\n"), std::string::npos);
}

}  // namespace
}  // namespace sluice
