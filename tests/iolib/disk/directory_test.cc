#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "iolib/base/aligned_buffer.h"
#include "iolib/base/owned_fd.h"
#include "iolib/disk/volume.h"
#include "tests/support/temp_dir.h"

namespace {
int directory_sync_error = 0;  ///< what every fsync(2) of a directory in this program returns
std::function<void()> before_directory_sync;  ///< called once
std::vector<std::string> calls;  ///< the sizes that files were cut to, and syncs of directories
}  // namespace

/// Replaces the C library's.
extern "C" int fsync(int fd) {
  struct stat about {};
  const bool is_directory = ::fstat(fd, &about) == 0 && S_ISDIR(about.st_mode);
  if (is_directory) calls.emplace_back("sync");
  if (is_directory && before_directory_sync) std::exchange(before_directory_sync, nullptr)();
  const bool fails = directory_sync_error != 0 && is_directory;
  if (!fails) return static_cast<int>(::syscall(SYS_fsync, fd));
  errno = directory_sync_error;
  return -1;
}

/// Replaces the C library's.
extern "C" int ftruncate(int fd, off_t size) {
  calls.push_back(std::to_string(size >> 20));
  return static_cast<int>(::syscall(SYS_ftruncate, fd, size));
}

namespace sluice {
namespace {

using test::TempDir;

mode_t mode_of(const std::string& path) {
  struct stat about {};
  return ::stat(path.c_str(), &about) == 0 ? about.st_mode & 07777 : 0;
}

TEST(Directory, IsItsOwnersAloneAndSoAreItsFiles) {
  const TempDir temp;
  const std::string path = temp.file("capture");
  const auto directory = Directory::open(path);
  ASSERT_TRUE(directory.has_value());
  const Result<int> file = (*directory)->create("a");
  ASSERT_TRUE(file.has_value());
  (*directory)->close(*file);
  EXPECT_EQ(mode_of(path), 0700U);
  EXPECT_EQ(mode_of(path + "/a"), 0600U);
  EXPECT_EQ((*directory)->create("a").error().code, EEXIST);
}

TEST(Directory, IsRefusedToASecondOneUntilTheFirstIsGone) {
  const TempDir temp;
  EXPECT_FALSE(Directory::is_locked(temp.path()));
  auto first = Directory::open(temp.path());
  ASSERT_TRUE(first.has_value());
  EXPECT_TRUE(Directory::is_locked(temp.path()));
  EXPECT_EQ(Directory::open(temp.path()).error().code, EBUSY);
  first->reset();
  EXPECT_FALSE(Directory::is_locked(temp.path()));
  EXPECT_TRUE(Directory::open(temp.path()).has_value());
}

TEST(Directory, IsNotASymbolicLinkNorAreItsFiles) {
  const TempDir temp;
  ASSERT_EQ(::mkdir(temp.file("real").c_str(), 0700), 0);
  ASSERT_EQ(::symlink("real", temp.file("link").c_str()), 0);
  EXPECT_TRUE(Directory::open(temp.file("link")).has_error());
  const auto directory = Directory::open(temp.file("real"));
  ASSERT_TRUE(directory.has_value());
  ASSERT_EQ(::symlink("/etc/passwd", temp.file("real/a").c_str()), 0);
  EXPECT_TRUE((*directory)->create("a").has_error());
  EXPECT_TRUE((*directory)->open_existing("a").has_error());
}

TEST(Directory, WritesCutsAndFindsWhereDataBegins) {
  for (const auto mode : {Directory::Mode::direct_if_possible, Directory::Mode::buffered}) {
    const TempDir temp;
    const auto opened = Directory::open(temp.path(), mode);
    ASSERT_TRUE(opened.has_value());
    Directory& directory = **opened;
    const std::size_t grid = directory.grid_bytes();
    const Result<int> file = directory.create("a");
    ASSERT_TRUE(file.has_value());
    constexpr std::uint64_t kSize = 5 << 20;
    ASSERT_TRUE(directory.preallocate(*file, kSize).has_value());
    EXPECT_EQ(*directory.next_data(*file, 0), kSize);
    const auto buffer = AlignedBuffer::allocate(2 * grid);
    ASSERT_TRUE(buffer.has_value());
    std::memset(buffer->bytes().data(), 'x', grid + 7);
    ASSERT_TRUE(directory.write(*file, buffer->bytes(), 3 * grid).has_value());
    ASSERT_TRUE(directory.sync(*file).has_value());
    EXPECT_LE(*directory.next_data(*file, 0), 3 * grid);
    EXPECT_EQ(*directory.next_data(*file, 4 * grid), 4 * grid);
    EXPECT_EQ(*directory.next_data(*file, kSize / 2), kSize);
    EXPECT_EQ(mode == Directory::Mode::buffered && directory.direct(), false);
    ASSERT_TRUE(directory.truncate(*file, 5 * grid).has_value());
    directory.close(*file);
    ASSERT_TRUE(directory.rename("a", "b").has_value());
    ASSERT_TRUE(directory.sync_names().has_value());
    const Result<int> again = directory.open_existing("b");
    ASSERT_TRUE(again.has_value());
    std::vector<std::byte> read(10);
    EXPECT_EQ(*directory.read(*again, read, 4 * grid + 4), 10U);
    EXPECT_EQ(std::ranges::count(read, std::byte{'x'}), 3);
    EXPECT_EQ(*directory.read(*again, read, 5 * grid - 4), 4U);
    directory.close(*again);
    const auto entries = directory.list();
    ASSERT_TRUE(entries.has_value());
    ASSERT_EQ(entries->size(), 2U);
    EXPECT_EQ((*entries)[0].name, "b");
    EXPECT_EQ((*entries)[0].size_bytes, 5 * grid);
    EXPECT_EQ((*entries)[1].name, "lock");
  }
}

TEST(Directory, NeverRenamesOverAFile) {
  const TempDir temp;
  const auto directory = Directory::open(temp.path());
  ASSERT_TRUE(directory.has_value());
  for (const char* name : {"a", "b"}) (*directory)->close(*(*directory)->create(name));
  EXPECT_EQ((*directory)->rename("a", "b").error().code, EEXIST);
}

constexpr std::uint64_t kLargeBytes = 40 << 20;

void make_large(Directory& directory, const std::string& name) {
  const Result<int> file = directory.create(name);
  ASSERT_TRUE(file.has_value());
  EXPECT_TRUE(directory.preallocate(*file, kLargeBytes).has_value());
  directory.close(*file);
}

TEST(Directory, FreesARemovedFileInParts) {
  const TempDir temp;
  const auto directory = Directory::open(temp.path());
  make_large(**directory, "a");
  {
    const OwnedFd alone(::open(temp.file("a").c_str(), O_WRONLY | O_CLOEXEC));
    if (::fcntl(alone.get(), F_SETLEASE, F_WRLCK) != 0) GTEST_SKIP() << "no leases here";
  }
  calls.clear();
  ASSERT_TRUE((*directory)->remove("a").has_value());
  // After a power cut, its name must not be back with a part of the file.
  EXPECT_EQ(calls, (std::vector<std::string>{"sync", "24", "8"}));
}

TEST(Directory, LeavesAllOfARemovedFileToThoseThatHaveIt) {
  const TempDir temp;
  const auto directory = Directory::open(temp.path());
  make_large(**directory, "read");
  make_large(**directory, "linked");
  const OwnedFd reader(::open(temp.file("read").c_str(), O_RDONLY | O_CLOEXEC));
  std::filesystem::create_hard_link(temp.file("linked"), temp.file("link"));
  ASSERT_TRUE((*directory)->remove("read").has_value());
  ASSERT_TRUE((*directory)->remove("linked").has_value());
  struct stat about {};
  ASSERT_EQ(::fstat(reader.get(), &about), 0);
  EXPECT_EQ(about.st_size, static_cast<off_t>(kLargeBytes));
  EXPECT_EQ(std::filesystem::file_size(temp.file("link")), kLargeBytes);
}

TEST(Directory, WritesBufferedWhereTheFilesystemHasNoDirectIo) {
  const std::string path = "/dev/shm/sluice-directory-test-" + std::to_string(::getpid());
  if (::mkdir(path.c_str(), 0700) != 0) GTEST_SKIP() << "no /dev/shm to try it on";
  const std::string file = path + "/direct";
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
  const bool refuses = fd < 0;
  if (fd >= 0) ::close(fd);
  {
    const auto directory = Directory::open(path);
    EXPECT_TRUE(directory.has_value());
    EXPECT_TRUE(!refuses || !(*directory)->direct());
    EXPECT_EQ((*directory)->grid_bytes() % 4096, 0U);
    const Result<int> written = (*directory)->create("a");
    const auto buffer = AlignedBuffer::allocate((*directory)->grid_bytes());
    EXPECT_TRUE((*directory)->write(*written, buffer->bytes(), 0).has_value());
    (*directory)->close(*written);
    for (const char* name : {"a", "direct", "lock"}) static_cast<void>((*directory)->remove(name));
  }
  ::rmdir(path.c_str());
  if (!refuses) GTEST_SKIP() << "this /dev/shm has O_DIRECT";
}

TEST(Directory, IsMadeAndWrittenWhereTheFilesystemSyncsNoDirectories) {
  const TempDir temp;
  for (const int error : {EINVAL, EOPNOTSUPP, ENOSYS}) {
    directory_sync_error = error;
    const auto directory = Directory::open(temp.file(std::to_string(error)));
    EXPECT_TRUE(directory.has_value());
    EXPECT_TRUE(directory.has_value() && (*directory)->sync_names().has_value());
    directory_sync_error = 0;
  }
}

TEST(Directory, IsNotLeftBehindByAStartThatFailed) {
  const TempDir temp;
  const std::string path = temp.file("capture");
  directory_sync_error = EIO;
  EXPECT_EQ(Directory::open(path).error().code, EIO);
  directory_sync_error = 0;
  EXPECT_EQ(mode_of(path), 0U) << "its name could not be made durable";
  EXPECT_TRUE(Directory::open(path).has_value());
  EXPECT_EQ(mode_of(path), 0U) << "nobody wanted to keep it";
  {
    const auto kept = Directory::open(path);
    ASSERT_TRUE(kept.has_value());
    (*kept)->keep();
  }
  EXPECT_EQ(mode_of(path), 0700U);
}

TEST(Directory, StaysWhereAnotherProcessWasFasterToLockIt) {
  const TempDir temp;
  const std::string path = temp.file("capture");
  std::unique_ptr<Directory> other;
  before_directory_sync = [&] { other = *Directory::open(path); };
  EXPECT_EQ(Directory::open(path).error().code, EBUSY);
  ASSERT_NE(other, nullptr);
  EXPECT_TRUE(Directory::is_locked(path));
}

// Whether a file can be created there and found by its path.
bool takes_files(Directory& directory) {
  const Result<int> file = directory.create("new");
  if (file.has_error()) return false;
  const bool held = directory.holds(*file, "new");
  directory.close(*file);
  return held && std::filesystem::exists(directory.path() + "/new");
}

TEST(Directory, IsMadeAndLockedAgainWhereItWasRemovedOrReplaced) {
  const TempDir temp;
  const std::string path = temp.file("capture");
  for (const bool replaced : {false, true}) {
    auto directory = Directory::open(path);
    ASSERT_TRUE(directory.has_value());
    const Result<int> file = (*directory)->create("old");
    ASSERT_TRUE(file.has_value());
    EXPECT_TRUE((*directory)->holds(*file, "old"));
    if (replaced) {
      std::filesystem::rename(path, temp.file("moved"));
      std::filesystem::create_directory(path);
    } else {
      std::filesystem::remove_all(path);
    }
    EXPECT_FALSE((*directory)->holds(*file, "old"));
    EXPECT_TRUE(takes_files(**directory));
    EXPECT_TRUE(Directory::is_locked(path));
    EXPECT_FALSE(Directory::is_locked(temp.file("moved")));
    EXPECT_EQ(mode_of(path), replaced ? mode_of(path) : 0700U);
    (*directory)->close(*file);
    std::filesystem::remove_all(path);
  }
}

TEST(Directory, IsLockedUntilTheLastOfThoseThatShareTheLockIsGone) {
  const TempDir temp;
  const std::string path = temp.file("capture");
  auto first = Directory::open(path);
  ASSERT_TRUE(first.has_value());
  (*first)->keep();
  Result<OwnedFd> lock = (*first)->share_lock();
  ASSERT_TRUE(lock.has_value());
  EXPECT_TRUE(Directory::is_lock_of(lock->get(), path + "/."));
  EXPECT_FALSE(Directory::is_lock_of(lock->get(), temp.path()));
  auto second = Directory::inherit(path, std::move(*lock));
  ASSERT_TRUE(second.has_value());
  EXPECT_TRUE(takes_files(**first));
  std::filesystem::remove(path + "/new");
  EXPECT_TRUE(takes_files(**second));
  first->reset();
  EXPECT_TRUE(Directory::is_locked(path));
  EXPECT_EQ(Directory::open(path).error().code, EBUSY);
  second->reset();
  EXPECT_FALSE(Directory::is_locked(path));
}

TEST(Directory, IsNotInheritedByTheLockOfAnother) {
  const TempDir temp;
  const std::string path = temp.file("capture");
  auto first = Directory::open(path);
  ASSERT_TRUE(first.has_value());
  Result<OwnedFd> lock = (*first)->share_lock();
  ASSERT_TRUE(lock.has_value());
  std::filesystem::rename(path, temp.file("moved"));
  EXPECT_EQ(Directory::inherit(path, OwnedFd(::dup(lock->get()))).error().code, ENOENT);
  std::filesystem::create_directory(path);
  EXPECT_EQ(Directory::inherit(path, std::move(*lock)).error().code, ESTALE);
}

TEST(Directory, IsReplacedForAllThatShareIt) {
  const TempDir temp;
  const std::string path = temp.file("capture");
  auto first = Directory::open(path);
  ASSERT_TRUE(first.has_value());
  (*first)->keep();
  Result<OwnedFd> lock = (*first)->share_lock();
  ASSERT_TRUE(lock.has_value());
  auto second = Directory::inherit(path, std::move(*lock));
  ASSERT_TRUE(second.has_value());
  std::filesystem::remove_all(path);
  EXPECT_TRUE(takes_files(**first));
  std::filesystem::remove(path + "/new");
  const Result<int> file = (*second)->create("old");  // which only follows
  ASSERT_TRUE(file.has_value());
  EXPECT_TRUE((*second)->holds(*file, "old"));
  first->reset();
  EXPECT_TRUE((*second)->holds(*file, "old"));  // takes the lock over
  EXPECT_EQ(Directory::open(path).error().code, EBUSY);
  (*second)->close(*file);
  second->reset();
  EXPECT_FALSE(Directory::is_locked(path));
}

// Not being able to look does not mean that the segment is gone.
TEST(Directory, HoldsItsFilesWhereNobodyCanTellWhatIsAtItsPath) {
  constexpr uid_t kNobody = 65'534;
  const TempDir temp;
  const std::string parent = temp.file("parent");
  std::filesystem::create_directory(parent);
  auto directory = Directory::open(parent + "/capture");
  ASSERT_TRUE(directory.has_value());
  const Result<int> file = (*directory)->create("old");
  ASSERT_TRUE(file.has_value());
  const uid_t user = ::geteuid();
  ASSERT_TRUE(user != 0 || ::chown((parent + "/capture").c_str(), kNobody, kNobody) == 0);
  ASSERT_EQ(::chmod(parent.c_str(), 0), 0);
  // Root may search every directory.
  if (user == 0) ::setfsuid(kNobody);
  EXPECT_TRUE((*directory)->holds(*file, "old"));
  const Result<int> another = (*directory)->create("another");
  EXPECT_TRUE(another.has_value());
  if (another.has_value()) (*directory)->close(*another);
  ::setfsuid(user);
  EXPECT_EQ(::chmod(parent.c_str(), 0700), 0);
  (*directory)->close(*file);
}

// Otherwise two recorders would use the directory, each believing that it is alone.
TEST(Directory, TakesALockThatWasRemovedAgainUnlessAnotherHasIt) {
  const TempDir temp;
  auto directory = Directory::open(temp.path());
  ASSERT_TRUE(directory.has_value());
  std::filesystem::remove(temp.file("lock"));
  EXPECT_TRUE(takes_files(**directory));
  EXPECT_TRUE(Directory::is_locked(temp.path()));
  std::filesystem::remove(temp.file("lock"));
  auto other = Directory::open(temp.path());
  ASSERT_TRUE(other.has_value());
  EXPECT_EQ((*directory)->create("another").error().code, EBUSY);
}

}  // namespace
}  // namespace sluice
