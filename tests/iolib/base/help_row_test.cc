#include "iolib/base/help_row.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

TEST(HelpRow, PutsTheTextInItsColumn) {
  EXPECT_EQ(help_row("--to ADDR", "Send it there.", 14), "  --to ADDR   Send it there.\n");
  EXPECT_EQ(help_row("--to ADDR", "", 14), "  --to ADDR\n");
}

TEST(HelpRow, WrapsAtEightyColumns) {
  const std::string word(20, 'x');
  const std::string text = word + " " + word + " " + word + "y " + word;
  EXPECT_EQ(help_row("-h", text, 16), "  -h            " + word + " " + word + " " + word + "y\n" +
                                          std::string(16, ' ') + word + "\n");
}

TEST(HelpRow, BeginsTheTextBelowWhatReachesIntoItsColumn) {
  EXPECT_EQ(help_row("--to=ADDR", "There.", 12), "  --to=ADDR There.\n");
  EXPECT_EQ(help_row("--to=ADDRE", "There.", 12), "  --to=ADDRE\n            There.\n");
}

TEST(FirstSentence, EndsAtItsFullStop) {
  EXPECT_EQ(first_sentence("Send 1.5 GB. At most."), "Send 1.5 GB.");
  EXPECT_EQ(first_sentence("Send it."), "Send it.");
  EXPECT_EQ(first_sentence(""), "");
}

}  // namespace
}  // namespace sluice
