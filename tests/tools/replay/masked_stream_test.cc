#include "tools/replay/masked_stream.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "tests/support/settings.h"

namespace sluice::replay {
namespace {

Patterns patterns_of(const std::vector<std::string>& expressions) {
  const Result<Patterns> compiled = Patterns::compile(expressions);
  EXPECT_TRUE(compiled) << compiled.error().to_string();
  return compiled ? *compiled : Patterns();
}

/// The masked text, fed in pieces.
std::string masked(const std::string& text, const std::vector<std::string>& expressions,
                   std::size_t piece = 7) {
  const Patterns patterns = patterns_of(expressions);
  MaskedStream stream(patterns);
  for (std::size_t at = 0; at < text.size(); at += piece) stream.take(text.substr(at, piece));
  stream.finish();
  return std::string(stream.ready());
}

TEST(Patterns, ThatAreWrongSayWhy) {
  EXPECT_EQ(Patterns::compile({"a("}).error().to_string(), "\"a(\": missing )");
  EXPECT_EQ(Patterns::compile({"a\\2"}).error().to_string(),
            "\"a\\\\2\": invalid escape sequence: \"\\\\2\"");
  const std::string hostile = Patterns::compile({std::string(5000, '(')}).error().to_string();
  EXPECT_LT(hostile.size(), 300U) << hostile;
  EXPECT_EQ(Patterns::compile({"ok", "a*"}).error().to_string(),
            "\"a*\" also matches an empty text, expected at least one byte");
  EXPECT_TRUE(Patterns::compile({"(a)(?P<name>b)"}));
  EXPECT_TRUE(Patterns::compile({})->empty());
}

TEST(MaskedStream, HasAMaskForEachMatch) {
  EXPECT_EQ(masked("a: 1\r\nDate: now\r\nb: 2\r\n", {"Date: .*"}), "a: 1\r\n*\nb: 2\r\n");
  EXPECT_EQ(masked("id=17 id=4 ix=5", {"id=[0-9]+", "x"}), "* * i*=5");
  EXPECT_EQ(masked("nothing", {"[0-9]"}), "nothing");
  EXPECT_EQ(masked("", {"x"}), "");
  EXPECT_EQ(masked("xxxx", {"x"}), "****");
}

// In whatever order the expressions are listed.
TEST(MaskedStream, HasOneMaskForMatchesThatOverlap) {
  EXPECT_EQ(masked("Date: 17\nx", {"Date: ", "Date: .*"}), "*\nx");
  EXPECT_EQ(masked("Date: 17\nx", {"Date: .*", "Date: "}), "*\nx");
  EXPECT_EQ(masked("-abcde-", {"abc", "cd", "de"}), "-*-") << "a chain";
  EXPECT_EQ(masked("-abcde-", {"de", "cd", "abc"}), "-*-");
  EXPECT_EQ(masked("-abcde-", {"abc", "de"}), "-**-") << "next to each other";
  EXPECT_EQ(masked("ab", {"\\b", "ab"}), "*") << "a match of no bytes hides no other";
  const std::string filler(MaskedStream::kWindowBytes - 2, '.');
  EXPECT_EQ(masked(filler + "abcd" + filler, {"ab", "bc", "cd"}), filler + '*' + filler);
}

// Each expression searches the text once, however many matches another one has.
TEST(MaskedStream, TakesManyMatchesBesideRareOnesInLinearTime) {
  const std::string text(16 * MaskedStream::kWindowBytes, 'a');
  EXPECT_EQ(masked(text, {"a", "b", "c", "d"}, text.size()), std::string(text.size(), '*'));
}

// An expression sees bytes, whatever they are.
TEST(MaskedStream, TakesBytesOfAnyValue) {
  EXPECT_EQ(masked(std::string("a\0\xff\x80z", 5), {"\\x00\\xff"}), "a*\x80z");
  EXPECT_EQ(masked("\xc3\xa4", {"."}), "**") << "bytes, not characters";
}

TEST(MaskedStream, KnowsWhatIsBeforeTheNextMatch) {
  const std::string filler(3 * MaskedStream::kWindowBytes, '.');
  EXPECT_EQ(masked("ab" + filler + "ab", {"^ab"}), "*" + filler + "ab");
  EXPECT_EQ(masked("ab\nab" + filler + "\nab", {"(?m)^ab"}), "*\n*" + filler + "\n*");
  EXPECT_EQ(masked("xab ab", {"\\bab"}), "xab *");
  EXPECT_EQ(masked("aab", {"^a"}), "*ab") << "behind a match is not the beginning";
}

TEST(MaskedStream, KnowsWhereItsBytesWere) {
  const Patterns patterns = patterns_of({"[0-9]+"});
  MaskedStream stream(patterns);
  stream.take("ab123cd4567ef");
  stream.finish();
  ASSERT_EQ(stream.ready(), "ab*cd*ef");
  stream.consume(4);
  EXPECT_EQ(stream.ready(), "d*ef");
  EXPECT_EQ(stream.offset(), 4U);
  EXPECT_EQ(stream.original_offset(), 6U);
  stream.consume(2);
  EXPECT_EQ(stream.original_offset(), 11U);
  EXPECT_EQ(stream.produced(), 8U);
}

// Wherever it is, and however the stream comes.
TEST(MaskedStream, FindsAMatchOfAWindowWhole) {
  std::mt19937_64 random(test::seed());
  const std::string match = '<' + std::string(MaskedStream::kWindowBytes - 2, 'm') + '>';
  for (int round = 0; round < test::by_scale(3, 20, 200); ++round) {
    const std::string before(random() % (3 * MaskedStream::kWindowBytes), '.');
    const std::string behind(random() % (3 * MaskedStream::kWindowBytes), '.');
    ASSERT_EQ(masked(before + match + behind, {"<m*>"}, 1 + random() % 100'000),
              before + '*' + behind);
  }
}

// Linear: a backtracking engine would not end.
TEST(MaskedStream, TakesHostileTextInLinearTime) {
  const std::string text(2 * MaskedStream::kWindowBytes, 'a');
  EXPECT_EQ(masked(text, {"(a*)*(a*)*(a|aa)+b"}, text.size()), text);
}

}  // namespace
}  // namespace sluice::replay
