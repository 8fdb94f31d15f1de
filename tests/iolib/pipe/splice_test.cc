#include "iolib/pipe/splice.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/pattern.h"
#include "tests/support/socket_pair.h"
#include "tests/support/sockets.h"

namespace sluice {
namespace {

using Status = Transfer::Status;
constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();
const test::Pattern kPattern(7);

std::string text_of(std::size_t size) {
  std::string text(size, '\0');
  kPattern.fill(0, std::as_writable_bytes(std::span(text)));
  return text;
}

class SpliceTest : public testing::Test {
 protected:
  void SetUp() override { std::signal(SIGPIPE, SIG_IGN); }

  static Pipe make_pipe(std::size_t bytes) {
    Result<Pipe> pipe = Pipe::create(bytes);
    return std::move(pipe.value());
  }
  // Fills the slots of a pipe one by one.
  static void write_pages(Pipe& pipe, std::size_t pages) {
    const std::string page = text_of(Pipe::kSlotBytes);
    for (std::size_t i = 0; i < pages; ++i) {
      ASSERT_EQ(::write(pipe.write_end(), page.data(), page.size()),
                static_cast<ssize_t>(page.size()));
      pipe.filled(page.size());
    }
  }
  // Fills the slots of a pipe with less than a page each, by reference to `pages`.
  static void give_fragments(Pipe& pipe, std::span<std::byte> pages, std::size_t size) {
    std::vector<iovec> fragments;
    for (std::size_t at = 0; at < pages.size(); at += Pipe::kSlotBytes) {
      fragments.push_back({&pages[at], size});
    }
    const auto given = static_cast<ssize_t>(fragments.size() * size);
    ASSERT_EQ(::vmsplice(pipe.write_end(), fragments.data(), fragments.size(), 0), given);
    pipe.filled(fragments.size() * size);
  }
  static std::string drain(Pipe& pipe) {
    std::string text(pipe.held_bytes(), '\0');
    std::size_t size = 0;
    while (size < text.size()) {
      const Transfer out = read_out(pipe, text.data() + size, text.size() - size);
      if (out.status != Status::moved) break;
      size += out.bytes;
    }
    text.resize(size);
    return text;
  }
};

TEST_F(SpliceTest, BytesComeInAndGoOutUnaltered) {
  const test::SocketPair source = test::tcp_pair();
  const test::SocketPair target = test::tcp_pair();
  Pipe pipe = make_pipe(64 << 10);
  const std::string text = text_of(30'000);
  ASSERT_TRUE(test::send_all(source.far.get(), text));
  ASSERT_TRUE(test::readable_within(source.near.get(), test::kPatience));
  std::size_t moved = 0;
  while (moved < text.size()) {
    const Transfer in = splice_in(source.near.get(), pipe, kAll);
    if (in.status == Status::would_block) continue;
    ASSERT_EQ(in.status, Status::moved);
    EXPECT_EQ(pipe.held_bytes(), in.bytes);
    const Transfer out = splice_out(pipe, target.near.get(), kAll);
    ASSERT_EQ(out.status, Status::moved);
    ASSERT_EQ(out.bytes, in.bytes);
    EXPECT_TRUE(pipe.empty());
    moved += out.bytes;
  }
  EXPECT_EQ(test::receive_text(target.far.get(), text.size()), text);
}

// A slot holds a fragment of up to 32 KiB. In one call, the kernel alone would therefore take
// several times the pipe's size.
TEST_F(SpliceTest, NeverTakesInMoreThanThePipesSizeLeaves) {
  const test::SocketPair source = test::tcp_pair({.near_receive_bytes = 4 << 20});
  Pipe pipe = make_pipe(64 << 10);
  const std::string text = text_of(300'000);
  test::send_until_full(source.far.get(), kPattern, text.size(), std::chrono::milliseconds(20));
  ASSERT_GT(test::unread_bytes(source.near.get()), 2 * pipe.capacity_bytes());

  while (pipe.room_bytes() > 0) {
    ASSERT_EQ(splice_in(source.near.get(), pipe, kAll).status, Status::moved);
    ASSERT_LE(pipe.held_bytes(), pipe.capacity_bytes());
  }
  const std::size_t unread = test::unread_bytes(source.near.get());
  EXPECT_EQ(splice_in(source.near.get(), pipe, kAll).status, Status::would_block);
  EXPECT_EQ(test::unread_bytes(source.near.get()), unread);
  EXPECT_EQ(drain(pipe), text.substr(0, pipe.capacity_bytes()));
}

TEST_F(SpliceTest, TakesInNoMoreThanIsAskedFor) {
  const test::SocketPair source = test::tcp_pair();
  Pipe pipe = make_pipe(64 << 10);
  ASSERT_TRUE(test::send_all(source.far.get(), "0123456789"));
  ASSERT_TRUE(test::readable_within(source.near.get(), test::kPatience));
  const Transfer in = splice_in(source.near.get(), pipe, 4);
  EXPECT_EQ(in.status, Status::moved);
  EXPECT_EQ(in.bytes, 4U);
  EXPECT_EQ(drain(pipe), "0123");
  EXPECT_EQ(splice_in(source.near.get(), pipe, 0).status, Status::would_block);
}

TEST_F(SpliceTest, AnEmptySocketWouldBlock) {
  const test::SocketPair source = test::tcp_pair();
  Pipe pipe = make_pipe(4096);
  const Transfer in = splice_in(source.near.get(), pipe, kAll);
  EXPECT_EQ(in.status, Status::would_block);
  EXPECT_EQ(in.bytes, 0U);
  EXPECT_TRUE(pipe.empty());
}

TEST_F(SpliceTest, TheEndOfTheStreamIsAValue) {
  test::SocketPair source = test::tcp_pair();
  Pipe pipe = make_pipe(4096);
  ASSERT_TRUE(test::send_all(source.far.get(), "last"));
  source.far.reset();
  ASSERT_TRUE(test::readable_within(source.near.get(), test::kPatience));
  EXPECT_EQ(splice_in(source.near.get(), pipe, kAll).status, Status::moved);
  EXPECT_EQ(drain(pipe), "last");
  EXPECT_EQ(splice_in(source.near.get(), pipe, kAll).status, Status::end);
}

// Four bytes fill the only slot. By the number of bytes there is room, but the call would block.
TEST_F(SpliceTest, APipeOutOfSlotsWouldBlockThoughBytesAreLeft) {
  const test::SocketPair source = test::tcp_pair();
  Pipe pipe = make_pipe(4096);
  ASSERT_TRUE(test::send_all(source.far.get(), "0123456789"));
  ASSERT_TRUE(test::readable_within(source.near.get(), test::kPatience));
  ASSERT_EQ(splice_in(source.near.get(), pipe, 4).bytes, 4U);
  ASSERT_GT(pipe.room_bytes(), 0U);
  EXPECT_EQ(splice_in(source.near.get(), pipe, kAll).status, Status::would_block);
  EXPECT_EQ(drain(pipe), "0123");
  EXPECT_EQ(splice_in(source.near.get(), pipe, kAll).bytes, 6U);
}

TEST_F(SpliceTest, AResetIsAFailureWithItsErrno) {
  test::SocketPair source = test::tcp_pair();
  Pipe pipe = make_pipe(4096);
  test::reset(std::move(source.far));
  ASSERT_TRUE(test::readable_within(source.near.get(), test::kPatience));
  const Transfer in = splice_in(source.near.get(), pipe, kAll);
  EXPECT_EQ(in.status, Status::failed);
  EXPECT_EQ(in.error, ECONNRESET);
  EXPECT_EQ(in.bytes, 0U);
}

TEST_F(SpliceTest, SplicingOutToABrokenSocketKeepsTheBytesAccounted) {
  test::SocketPair target = test::tcp_pair();
  Pipe pipe = make_pipe(4096);
  write_pages(pipe, 1);
  ASSERT_EQ(::shutdown(target.near.get(), SHUT_WR), 0);
  const Transfer out = splice_out(pipe, target.near.get(), kAll);
  EXPECT_EQ(out.status, Status::failed);
  EXPECT_EQ(out.error, EPIPE);
  EXPECT_EQ(pipe.held_bytes(), Pipe::kSlotBytes);
}

TEST_F(SpliceTest, AFullTargetWouldBlockAndThePipeKeepsTheRest) {
  const test::SocketPair target = test::tcp_pair(test::kSmallBuffers);
  Pipe pipe = make_pipe(256 << 10);
  write_pages(pipe, 64);
  std::size_t moved = 0;
  Transfer out;
  while ((out = splice_out(pipe, target.near.get(), kAll)).status == Status::moved) {
    moved += out.bytes;
  }
  EXPECT_EQ(out.status, Status::would_block);
  EXPECT_GT(moved, 0U);
  EXPECT_EQ(pipe.held_bytes(), 64 * Pipe::kSlotBytes - moved);
}

TEST_F(SpliceTest, SplicesOutNoMoreThanIsAskedForAndNothingFromAnEmptyPipe) {
  const test::SocketPair target = test::tcp_pair();
  Pipe pipe = make_pipe(4096);
  EXPECT_EQ(splice_out(pipe, target.near.get(), kAll).status, Status::would_block);
  write_pages(pipe, 1);
  EXPECT_EQ(splice_out(pipe, target.near.get(), 10).bytes, 10U);
  EXPECT_EQ(pipe.held_bytes(), Pipe::kSlotBytes - 10);
  EXPECT_EQ(test::receive_text(target.far.get(), 10), text_of(10));
}

// If asked for more than the pipe holds, the kernel delays a last batch of exactly 16 slots by some
// 200 ms while it is less than a segment. The fastest of several tries counts, since a busy machine
// causes delays, too.
TEST_F(SpliceTest, ExactlySixteenSlotsGoOutAtOnce) {
  constexpr std::size_t kFragment = 1000;
  std::vector<std::byte> pages(16U * Pipe::kSlotBytes);
  std::vector<std::byte> got(16U * kFragment);
  auto fastest = std::chrono::nanoseconds::max();
  for (int i = 0; i < 5; ++i) {
    const test::SocketPair target = test::tcp_pair();
    Pipe pipe = make_pipe(1 << 20);
    give_fragments(pipe, pages, kFragment);
    const auto before = std::chrono::steady_clock::now();
    ASSERT_EQ(splice_out(pipe, target.near.get(), kAll).bytes, got.size());
    for (std::size_t size = 0; size < got.size();) {
      const test::Received part =
          test::receive_some(target.far.get(), std::span(got).subspan(size));
      ASSERT_EQ(part.ending, test::Ending::open);
      size += part.bytes;
    }
    const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - before;
    fastest = std::min(fastest, took);
  }
  EXPECT_LT(fastest, std::chrono::milliseconds(100));
}

// Behind one urgent byte splice would block for ever, although the socket is readable. This value
// tells a pump to receive instead.
TEST_F(SpliceTest, UrgentDataAtTheHeadWouldBlockThoughTheSocketIsReadable) {
  const test::SocketPair source = test::tcp_pair();
  const int on = 1;
  ASSERT_EQ(::setsockopt(source.near.get(), SOL_SOCKET, SO_OOBINLINE, &on, sizeof on), 0);
  Pipe pipe = make_pipe(4096);
  test::send_urgent(source.far.get(), std::byte{'!'});
  ASSERT_TRUE(test::readable_within(source.near.get(), test::kPatience));
  EXPECT_EQ(splice_in(source.near.get(), pipe, kAll).status, Status::would_block);
  EXPECT_EQ(test::receive_text(source.near.get(), 1), "!");
}

TEST_F(SpliceTest, TeeConsumesNothingAndRepeatsItself) {
  Pipe from = make_pipe(64 << 10);
  Pipe to = make_pipe(64 << 10);
  write_pages(from, 1);
  const std::string page = text_of(Pipe::kSlotBytes);
  for (int i = 0; i < 2; ++i) {
    const Transfer teed = tee_into(from, to, kAll);
    EXPECT_EQ(teed.status, Status::moved);
    EXPECT_EQ(teed.bytes, page.size());
    EXPECT_EQ(from.held_bytes(), page.size());
    EXPECT_EQ(drain(to), page);
  }
}

TEST_F(SpliceTest, TeeGoesOnWhereExactlyWhatItDuplicatedWasConsumed) {
  Pipe from = make_pipe(64 << 10);
  Pipe to = make_pipe(64 << 10);
  write_pages(from, 1);
  EXPECT_EQ(tee_into(from, to, 100).bytes, 100U);
  std::string consumed(100, '\0');
  EXPECT_EQ(read_out(from, consumed.data(), consumed.size()).bytes, 100U);
  EXPECT_EQ(tee_into(from, to, 100).bytes, 100U);
  EXPECT_EQ(drain(to), text_of(200));
}

// The limit of a pipe is its slots, not its bytes.
TEST_F(SpliceTest, TeeIntoAPipeWithFewerSlotsDuplicatesLess) {
  Pipe from = make_pipe(std::size_t{16} * 4096);
  Pipe to = make_pipe(4096);
  write_pages(from, 3);
  EXPECT_EQ(tee_into(from, to, kAll).bytes, Pipe::kSlotBytes);
  EXPECT_EQ(tee_into(from, to, kAll).status, Status::would_block);
  EXPECT_EQ(from.held_bytes(), 3 * Pipe::kSlotBytes);
}

TEST_F(SpliceTest, TeeFromAnEmptyPipeWouldBlock) {
  const Pipe from = make_pipe(4096);
  Pipe to = make_pipe(4096);
  EXPECT_EQ(tee_into(from, to, kAll).status, Status::would_block);
}

TEST_F(SpliceTest, ReadingOutStopsAtWhatThePipeHolds) {
  Pipe pipe = make_pipe(4096);
  std::string text(2 * Pipe::kSlotBytes, '\0');
  EXPECT_EQ(read_out(pipe, text.data(), text.size()).status, Status::would_block);
  write_pages(pipe, 1);
  const Transfer out = read_out(pipe, text.data(), text.size());
  EXPECT_EQ(out.bytes, Pipe::kSlotBytes);
  EXPECT_TRUE(pipe.empty());
  EXPECT_EQ(text.substr(0, out.bytes), text_of(out.bytes));
}

class SendFileTest : public SpliceTest {
 protected:
  static OwnedFd memory_file(const std::string& text) {
    OwnedFd file(::memfd_create("sendfile", MFD_CLOEXEC));
    EXPECT_EQ(::write(file.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    return file;
  }
};

TEST_F(SendFileTest, OneCallIsBoundedHoweverMuchIsAskedFor) {
  const std::string text = text_of(kMaxSendfileBytes + 5000);
  const OwnedFd file = memory_file(text);
  const OwnedFd target = memory_file("");
  const Transfer first = send_file(target.get(), file.get(), 0, kAll);
  EXPECT_EQ(first.status, Status::moved);
  EXPECT_EQ(first.bytes, kMaxSendfileBytes);
  EXPECT_EQ(send_file(target.get(), file.get(), first.bytes, kAll).bytes, 5000U);
  EXPECT_EQ(send_file(target.get(), file.get(), text.size(), kAll).status, Status::end);
  std::string copy(text.size(), '\0');
  ASSERT_EQ(::pread(target.get(), copy.data(), copy.size(), 0), static_cast<ssize_t>(copy.size()));
  EXPECT_TRUE(copy == text);
}

TEST_F(SendFileTest, TheFilesOwnPositionStaysWhereItWas) {
  const OwnedFd file = memory_file("0123456789");
  const test::SocketPair target = test::tcp_pair();
  ASSERT_EQ(::lseek(file.get(), 3, SEEK_SET), 3);
  EXPECT_EQ(send_file(target.near.get(), file.get(), 5, 2).bytes, 2U);
  EXPECT_EQ(::lseek(file.get(), 0, SEEK_CUR), 3);
  EXPECT_EQ(test::receive_text(target.far.get(), 2), "56");
}

TEST_F(SendFileTest, AFullTargetWouldBlock) {
  const OwnedFd file = memory_file(text_of(kMaxSendfileBytes));
  const test::SocketPair target = test::tcp_pair(test::kSmallBuffers);
  std::size_t sent = 0;
  Transfer out;
  while ((out = send_file(target.near.get(), file.get(), sent, kAll)).status == Status::moved) {
    sent += out.bytes;
  }
  EXPECT_EQ(out.status, Status::would_block);
  EXPECT_LT(sent, kMaxSendfileBytes);
}

TEST_F(SendFileTest, ABadDescriptorIsAFailure) {
  const Transfer out = send_file(-1, -1, 0, 1);
  EXPECT_EQ(out.status, Status::failed);
  EXPECT_EQ(out.error, EBADF);
}

}  // namespace
}  // namespace sluice
