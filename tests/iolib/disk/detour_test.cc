// Requests that io_uring refuses for lack of a thread or of memory: see RealDisk.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "iolib/base/owned_fd.h"
#include "iolib/disk/disk.h"
#include "iolib/reactor/file_ring.h"
#include "tests/iolib/reactor/reactor_fixture.h"
#include "tests/support/temp_dir.h"

namespace sluice {
namespace {

/// A ring that carries nothing out: a test says how each request ends.
class RefusingRing final : public FileRing {
 public:
  void write_file(int /*file*/, std::span<const std::byte> /*bytes*/, std::uint64_t /*offset*/,
                  bool /*durable*/, Operation& operation) override {
    begin(operation);
  }
  void sync_file(int /*file*/, Operation& operation) override { begin(operation); }
  void register_buffer(std::span<std::byte> /*buffer*/) override {}
  void unregister_buffer(std::span<std::byte> /*buffer*/) override {}

  /// Ends the request that waits longest.
  void complete(int result) {
    Operation& first = *requests_.front();
    requests_.erase(requests_.begin());
    Access::finish(first, result);
  }
  [[nodiscard]] std::size_t requests() const { return requests_.size(); }

 private:
  struct Access : Disk {
    using Disk::begin;
    using Disk::finish;
  };
  void begin(Operation& operation) {
    Access::begin(operation);
    requests_.push_back(&operation);
  }
  std::vector<Operation*> requests_;
};

class DetourTest : public ReactorTest<AsioReactor> {
 protected:
  void SetUp() override {
    ReactorTest<AsioReactor>::SetUp();
    disk_ = RealDisk::create(reactor(), &ring_, background_);
    disk_->set_on_detour([this](const Error& error) { reported_.push_back(error.code); });
    std::memset(bytes_.data(), 'x', bytes_.size());
  }
  [[nodiscard]] std::string content() const { return test::read_text(path_); }
  void write(Probe& probe, Disk::Durable durable = Disk::Durable::no) {
    disk_->write(file_.get(), bytes_, 0, durable, probe);
  }

  test::TempDir folder_;
  std::string path_ = folder_.file("file");
  OwnedFd file_{::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  std::array<std::byte, 512> bytes_{};
  RefusingRing ring_;
  BackgroundThreads background_{1};
  std::unique_ptr<RealDisk> disk_;
  std::vector<int> reported_;
};

TEST_F(DetourTest, AWriteThatTheRingRefusesIsCarriedOutAllTheSame) {
  std::uint64_t detours = 0;
  for (const auto durable : {Disk::Durable::no, Disk::Durable::yes}) {
    for (const int refusal : {ECANCELED, EAGAIN, ENOMEM}) {
      ASSERT_EQ(::ftruncate(file_.get(), 0), 0);
      const auto written = probe();
      write(*written, durable);
      ring_.complete(-refusal);
      EXPECT_EQ(written->completions(), 0U) << "the owner hears of what the detour did";
      EXPECT_TRUE(written->in_flight());
      ASSERT_TRUE(run_until_complete(*written));
      EXPECT_EQ(written->last().result, static_cast<int>(bytes_.size()));
      EXPECT_EQ(content(), std::string(bytes_.size(), 'x'));
      EXPECT_EQ(disk_->detours(), ++detours);
    }
  }
  EXPECT_EQ(reported_, std::vector{ECANCELED}) << "the first, once";
}

TEST_F(DetourTest, ASyncThatTheRingRefusesIsCarriedOutAllTheSame) {
  for (const int refusal : {ECANCELED, EAGAIN}) {
    const auto synced = probe();
    disk_->sync(file_.get(), *synced);
    ring_.complete(-refusal);
    ASSERT_TRUE(run_until_complete(*synced));
    EXPECT_EQ(synced->last().result, 0);
  }
  EXPECT_EQ(disk_->detours(), 2U);
}

// The pages that could not be written may be lost, and a second sync would not tell.
TEST_F(DetourTest, ASyncWithoutMemoryHasFailed) {
  const auto synced = probe();
  disk_->sync(file_.get(), *synced);
  ring_.complete(-ENOMEM);
  ASSERT_EQ(synced->completions(), 1U);
  EXPECT_EQ(synced->last().result, -ENOMEM);
  EXPECT_EQ(disk_->detours(), 0U);
}

TEST_F(DetourTest, AnErrorOfTheDiskIsItsOwners) {
  const auto written = probe();
  write(*written);
  ring_.complete(-EIO);
  ASSERT_EQ(written->completions(), 1U);
  EXPECT_EQ(written->last().result, -EIO);
  // Of the detour's own, too.
  disk_->write(-1, bytes_, 0, Disk::Durable::no, *written);
  ring_.complete(-EAGAIN);
  ASSERT_TRUE(run_until_complete(*written));
  EXPECT_EQ(written->last().result, -EBADF);
  EXPECT_EQ(disk_->detours(), 1U);
}

TEST_F(DetourTest, ItIsNotBehindWorkThatTakesLong) {
  std::promise<void> let_go;
  const auto worked = probe();
  disk_->run(
      [waits = let_go.get_future().share()] {
        waits.wait();
        return 0;
      },
      *worked);
  const auto written = probe();
  write(*written);
  ring_.complete(-ECANCELED);
  EXPECT_TRUE(run_until_complete(*written));
  EXPECT_EQ(worked->completions(), 0U);
  let_go.set_value();
  EXPECT_TRUE(run_until_complete(*worked));
}

TEST_F(DetourTest, WhatTheRingTakesAndWhatItRefusesCompleteEachForItself) {
  const auto first = probe();
  const auto second = probe();
  write(*first);
  write(*second);
  first->then = [&](const Probe::Seen&) {
    first->then = nullptr;
    write(*first);  // from its completion, as the owner may
  };
  ring_.complete(-EAGAIN);
  ring_.complete(7);
  EXPECT_EQ(second->last().result, 7);
  ASSERT_TRUE(run_until_complete(*first));
  ASSERT_EQ(ring_.requests(), 1U);
  ring_.complete(9);
  EXPECT_EQ(first->last().result, 9);
}

}  // namespace
}  // namespace sluice
