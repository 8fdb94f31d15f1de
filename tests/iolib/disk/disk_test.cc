#include "iolib/disk/disk.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "iolib/base/aligned_buffer.h"
#include "iolib/disk/background.h"
#include "iolib/disk/volume.h"
#include "tests/iolib/reactor/reactor_fixture.h"
#include "tests/support/temp_dir.h"

namespace sluice {
namespace {

constexpr std::size_t kBlocks = 8;
constexpr std::size_t kBlockBytes = 64 << 10;

template <class Engine>
class DiskTest : public ReactorTest<Engine> {
 protected:
  void SetUp() override {
    ReactorTest<Engine>::SetUp();
    if (this->IsSkipped()) return;
    UringReactor* uring = nullptr;
    if constexpr (std::is_same_v<Engine, UringReactor>) {
      uring = static_cast<UringReactor*>(this->reactor_.get());
    }
    disk_ = RealDisk::create(this->reactor(), uring, background_);
    auto directory = Directory::open(temp_.path());
    ASSERT_TRUE(directory.has_value());
    directory_ = std::move(*directory);
    Result<int> file = directory_->create("a");
    ASSERT_TRUE(file.has_value());
    file_ = *file;
    ASSERT_TRUE(directory_->preallocate(file_, kBlocks * kBlockBytes).has_value());
    auto buffer = AlignedBuffer::allocate(kBlocks * kBlockBytes);
    ASSERT_TRUE(buffer.has_value());
    buffer_ = std::move(*buffer);
  }
  void TearDown() override {
    if (directory_) directory_->close(file_);
  }
  [[nodiscard]] std::span<std::byte> block(std::size_t index) {
    return buffer_.bytes().subspan(index * kBlockBytes, kBlockBytes);
  }

  test::TempDir temp_;
  BackgroundThreads background_{1};
  std::unique_ptr<Disk> disk_;
  std::unique_ptr<Directory> directory_;
  AlignedBuffer buffer_;
  int file_ = -1;
};

TYPED_TEST_SUITE(DiskTest, Reactors, ReactorNames);

TYPED_TEST(DiskTest, WritesManyBlocksAtOnceFromABufferItKnowsOrNot) {
  for (const bool prepared : {false, true}) {
    if (prepared) this->disk_->prepare_buffer(this->buffer_.bytes());
    std::vector<std::unique_ptr<Probe>> probes;
    for (std::size_t i = 0; i < kBlocks; ++i) {
      std::memset(this->block(i).data(), static_cast<int>(i + 1 + (prepared ? 100 : 0)),
                  kBlockBytes);
      probes.push_back(this->probe());
      this->disk_->write(this->file_, this->block(i), i * kBlockBytes,
                         i % 2 == 0 ? Disk::Durable::yes : Disk::Durable::no, *probes.back());
    }
    for (const auto& probe : probes) {
      ASSERT_TRUE(this->run_until([&] { return probe->completions() == 1; }));
      EXPECT_EQ(probe->last().result, static_cast<int>(kBlockBytes));
    }
    const auto synced = this->probe();
    this->disk_->sync(this->file_, *synced);
    ASSERT_TRUE(this->run_until_complete(*synced));
    EXPECT_EQ(synced->last().result, 0);
    const Result<int> reader = this->directory_->open_existing("a");
    ASSERT_TRUE(reader.has_value());
    std::vector<std::byte> read(kBlocks * kBlockBytes);
    ASSERT_EQ(*this->directory_->read(*reader, read, 0), read.size());
    EXPECT_EQ(std::memcmp(read.data(), this->buffer_.bytes().data(), read.size()), 0);
    this->directory_->close(*reader);
  }
}

TYPED_TEST(DiskTest, NewMemoryAtTheAddressOfAReleasedBufferIsWrittenAsItIs) {
  this->disk_->prepare_buffer(this->buffer_.bytes());
  std::memset(this->block(0).data(), 'a', kBlockBytes);
  this->disk_->release_buffer(this->buffer_.bytes());
  const std::span<std::byte> memory = this->buffer_.bytes();
  ASSERT_EQ(::mmap(memory.data(), memory.size(), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
            memory.data());
  this->disk_->prepare_buffer(memory);
  std::memset(this->block(0).data(), 'b', kBlockBytes);
  const auto probe = this->probe();
  this->disk_->write(this->file_, this->block(0), 0, Disk::Durable::no, *probe);
  ASSERT_TRUE(this->run_until_complete(*probe));
  ASSERT_EQ(probe->last().result, static_cast<int>(kBlockBytes));
  std::vector<std::byte> read(kBlockBytes);
  const Result<int> reader = this->directory_->open_existing("a");
  ASSERT_TRUE(reader.has_value());
  ASSERT_EQ(*this->directory_->read(*reader, read, 0), read.size());
  EXPECT_EQ(std::memcmp(read.data(), this->block(0).data(), read.size()), 0);
  this->directory_->close(*reader);
}

TYPED_TEST(DiskTest, TellsOfErrors) {
  const auto probe = this->probe();
  this->disk_->write(-1, this->block(0), 0, Disk::Durable::no, *probe);
  ASSERT_TRUE(this->run_until([&] { return probe->completions() == 1; }));
  EXPECT_EQ(probe->last().result, -EBADF);
  this->disk_->sync(-1, *probe);
  ASSERT_TRUE(this->run_until([&] { return probe->completions() == 2; }));
  EXPECT_EQ(probe->last().result, -EBADF);
}

TYPED_TEST(DiskTest, RunsWorkInOrderOnAnotherThread) {
  const auto here = std::this_thread::get_id();
  std::vector<int> order;
  bool elsewhere = true;
  std::vector<std::unique_ptr<Probe>> probes;
  for (int i = 0; i < 5; ++i) {
    probes.push_back(this->probe());
    this->disk_->run(
        [&, i] {
          elsewhere = elsewhere && std::this_thread::get_id() != here;
          order.push_back(i);
          return i * 10;
        },
        *probes.back());
  }
  ASSERT_TRUE(this->run_until([&] { return probes.back()->completions() == 1; }));
  EXPECT_TRUE(elsewhere);
  EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4}));
  EXPECT_EQ(probes[3]->last().result, 30);
}

}  // namespace
}  // namespace sluice
