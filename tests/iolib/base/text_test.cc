#include "iolib/base/text.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice {
namespace {

TEST(InQuotes, StaysOnOneLineWhateverItHolds) {
  EXPECT_EQ(in_quotes("plain"), "\"plain\"");
  EXPECT_EQ(in_quotes("a\"b\\c"), "\"a\\\"b\\\\c\"");
  EXPECT_EQ(in_quotes("a\nb\x1b\x7f"), "\"a\\x0ab\\x1b\\x7f\"");
  EXPECT_EQ(in_quotes("Grüße"), "\"Grüße\"");
}

TEST(InQuotes, CutsWhatIsTooLong) {
  EXPECT_EQ(in_quotes(std::string(kQuotedBytes, 'x')),
            "\"" + std::string(kQuotedBytes, 'x') + "\"");
  EXPECT_EQ(in_quotes(std::string(kQuotedBytes + 1, 'x')),
            "\"" + std::string(kQuotedBytes, 'x') + "\"...");
}

TEST(OneLine, EscapesControlCharactersOnly) {
  EXPECT_EQ(one_line("a \"b\" c:\\d"), "a \"b\" c:\\d");
  EXPECT_EQ(one_line("a\nb\tc"), "a\\x0ab\\x09c");
  EXPECT_EQ(one_line(std::string(1'000, 'x')), std::string(1'000, 'x'));
}

TEST(ValidUtf8, ReplacesWhatIsNoCharacter) {
  const std::string replaced = "\xef\xbf\xbd";
  EXPECT_EQ(valid_utf8("a\n\x7f \u00e9 \u20ac \U0001f600"), "a\n\x7f \u00e9 \u20ac \U0001f600");
  EXPECT_EQ(valid_utf8("\xff("), replaced + "(");
  EXPECT_EQ(valid_utf8("\xc0\xaf"), replaced + replaced);                 // overlong
  EXPECT_EQ(valid_utf8("\xed\xa0\x80"), replaced + replaced + replaced);  // a surrogate
  EXPECT_EQ(valid_utf8("\xe2\x82"), replaced + replaced);                 // cut short
  EXPECT_EQ(valid_utf8("\xc2\x9b"), replaced + replaced);                 // a control character
}

}  // namespace
}  // namespace sluice
