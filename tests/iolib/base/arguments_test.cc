#include "iolib/base/arguments.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

namespace sluice {
namespace {

using Kind = Argument::Kind;

std::optional<ValueUse> takes_value(std::string_view name) {
  if (name == "--to") return ValueUse::required;
  if (name == "--help") return ValueUse::optional;
  if (name == "--check" || name == "-h") return ValueUse::none;
  return {};
}

/// All parts, as "kind name value".
std::vector<std::string> parts(std::initializer_list<const char*> words) {
  std::vector<const char*> argv{"program"};
  argv.insert(argv.end(), words);
  Arguments arguments(static_cast<int>(argv.size()), argv.data());
  constexpr const char* kKinds[] = {"word", "flag", "option", "unknown", "missing", "unwanted"};
  std::vector<std::string> found;
  while (const auto part = arguments.next(takes_value)) {
    found.push_back(std::string(kKinds[static_cast<int>(part->kind)]) + ' ' +
                    std::string(part->name) + ' ' + std::string(part->value));
  }
  return found;
}

using Parts = std::vector<std::string>;

TEST(Arguments, AreOptionsFlagsAndWordsInTheirOrder) {
  EXPECT_EQ(parts({"one", "--to", "a", "--check", "--to=b=c", "-h", "two"}),
            (Parts{"word  one", "option --to a", "flag --check ", "option --to b=c", "flag -h ",
                   "word  two"}));
  EXPECT_EQ(parts({}), Parts{});
}

TEST(Arguments, AreNeverAbbreviated) {
  EXPECT_EQ(parts({"--t", "--che", "-x", "--juggle=1"}),
            (Parts{"unknown --t ", "unknown --che ", "unknown -x ", "unknown --juggle "}));
}

TEST(Arguments, AValueMayBeMissingOrUnwanted) {
  EXPECT_EQ(parts({"--to"}), Parts{"missing --to "});
  EXPECT_EQ(parts({"--to="}), Parts{"missing --to "});
  EXPECT_EQ(parts({"--to", ""}), Parts{"missing --to "});
  EXPECT_EQ(parts({"--to", "--check"}), (Parts{"missing --to ", "flag --check "}));
  EXPECT_EQ(parts({"--check=yes"}), Parts{"unwanted --check yes"});
}

TEST(Arguments, AValueMayLookLikeAnOption) {
  EXPECT_EQ(parts({"--to=--check", "--to", "-h", "--to", "-"}),
            (Parts{"option --to --check", "option --to -h", "option --to -"}));
}

TEST(Arguments, AnOptionalValueIsTheNextWordIfThatIsNoOption) {
  EXPECT_EQ(parts({"--help", "a", "b", "--help=c", "--help=-d"}),
            (Parts{"option --help a", "word  b", "option --help c", "option --help -d"}));
  EXPECT_EQ(parts({"--help", "--check", "--help", "-", "--help", "", "--help"}),
            (Parts{"flag --help ", "flag --check ", "flag --help ", "word  -", "flag --help ",
                   "word  ", "flag --help "}));
  EXPECT_EQ(parts({"--help=", "--help", "--", "a"}),
            (Parts{"missing --help ", "flag --help ", "word  a"}));
}

TEST(Arguments, BehindTwoDashesThereAreOnlyWords) {
  EXPECT_EQ(parts({"-", "--", "--to", "--", "-h"}),
            (Parts{"word  -", "word  --to", "word  --", "word  -h"}));
}

}  // namespace
}  // namespace sluice
