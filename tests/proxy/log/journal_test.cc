#include "proxy/log/journal.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "proxy/log/lines.h"
#include "tests/support/temp_dir.h"

namespace sluice::log {
namespace {

/// A journal that a test makes.
class JournalTest : public testing::Test {
 protected:
  void listen() {
    const Endpoint endpoint = make_endpoint(UnixEndpoint{path_});
    ASSERT_EQ(::bind(socket_.get(), endpoint.data(), endpoint.size_bytes), 0);
  }
  /// The next datagram, or what the memory that comes with it has; empty if there is none.
  std::string next() {
    std::string text(std::size_t{1} << 20, '\0');
    iovec bytes{text.data(), text.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t size = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size < 0) return {};
    const cmsghdr* const rights = CMSG_FIRSTHDR(&message);
    if (rights == nullptr) return text.substr(0, static_cast<std::size_t>(size));
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(rights), sizeof fd);
    const OwnedFd memory(fd);
    EXPECT_EQ(::write(fd, "x", 1), -1) << "it is sealed";
    const ssize_t read = ::pread(fd, text.data(), text.size(), 0);
    return text.substr(0, static_cast<std::size_t>(read));
  }

  test::TempDir folder_;
  const std::string path_ = folder_.file("socket");
  OwnedFd socket_{::socket(AF_UNIX, SOCK_DGRAM, 0)};
};

TEST_F(JournalTest, AnEntryArrivesWhole) {
  listen();
  Journal journal(path_);
  EXPECT_TRUE(journal.send("MESSAGE=one\n"));
  EXPECT_TRUE(journal.send("MESSAGE=two\n"));
  EXPECT_EQ(next(), "MESSAGE=one\n");
  EXPECT_EQ(next(), "MESSAGE=two\n");
}

TEST_F(JournalTest, AnEntryTooLargeForADatagramArrivesInMemory) {
  listen();
  Journal journal(path_);
  const std::string entry = "MESSAGE=" + std::string(std::size_t{600} << 10, 'a') + "\n";
  EXPECT_TRUE(journal.send(entry));
  EXPECT_EQ(next(), entry);
}

TEST_F(JournalTest, WithoutAJournalNothingIsSentAndOneThatComesBackIsFound) {
  Journal journal(path_);
  EXPECT_FALSE(journal.send("MESSAGE=one\n"));
  listen();
  EXPECT_TRUE(journal.send("MESSAGE=two\n"));
  EXPECT_EQ(next(), "MESSAGE=two\n");
}

TEST_F(JournalTest, AJournalThatStandsStillIsNotWaitedForAgain) {
  listen();
  Journal journal(path_);
  int taken = 0;
  while (journal.send("MESSAGE=one\n")) ++taken;
  EXPECT_GT(taken, 0);
  EXPECT_FALSE(journal.send("MESSAGE=two\n"));
  EXPECT_EQ(next(), "MESSAGE=one\n");
  EXPECT_TRUE(journal.send("MESSAGE=three\n"));
}

TEST(JournalStreamTest, StderrIsTheJournalIfTheVariableNamesItsFile) {
  struct stat about {};
  ASSERT_EQ(::fstat(STDERR_FILENO, &about), 0);
  const std::string device = std::to_string(about.st_dev);
  ::unsetenv("JOURNAL_STREAM");
  EXPECT_FALSE(stderr_is_journal());
  ::setenv("JOURNAL_STREAM", (device + ":" + std::to_string(about.st_ino + 1)).c_str(), 1);
  EXPECT_FALSE(stderr_is_journal());
  ::setenv("JOURNAL_STREAM", (device + ":" + std::to_string(about.st_ino)).c_str(), 1);
  EXPECT_TRUE(stderr_is_journal());
  ::unsetenv("JOURNAL_STREAM");
}

TEST(JournalEntryTest, EachFieldIsAVariable) {
  const std::vector<Field> fields{{"max_connections", std::uint64_t{7}},
                                  {"seconds", 0.5},
                                  {"odd-name", std::string_view("a b=c")}};
  const std::string entry = format_journal(LogLevel::warn, "event x=1", "event", fields);
  EXPECT_EQ(entry,
            "PRIORITY=4\nMESSAGE=event x=1\nSYSLOG_IDENTIFIER=sluice\nSLUICE_EVENT=event\n"
            "SLUICE_MAX_CONNECTIONS=7\nSLUICE_SECONDS=0.500000\nSLUICE_ODD_NAME=a b=c\n");
  EXPECT_EQ(line_of_entry(entry), "<4>event x=1");
}

TEST(JournalEntryTest, AValueWithLinesHasItsLength) {
  const std::vector<Field> fields{{"path", std::string_view("a\nPRIORITY=0")}};
  const std::string entry = format_journal(LogLevel::error, "e", "e", fields);
  const std::string length("\x0c\0\0\0\0\0\0\0", 8);
  EXPECT_EQ(entry,
            "PRIORITY=3\nMESSAGE=e\nSYSLOG_IDENTIFIER=sluice\nSLUICE_EVENT=e\nSLUICE_PATH\n" +
                length + "a\nPRIORITY=0\n");
}

}  // namespace
}  // namespace sluice::log
