#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <utility>

#include "iolib/base/aligned_buffer.h"
#include "iolib/base/file_identity.h"
#include "iolib/disk/volume.h"

namespace sluice {
namespace {

constexpr const char* kLockName = "lock";
constexpr const char* kProbeName = "probe";
// The largest alignment that is supported; a device that needs more is written to without O_DIRECT.
constexpr std::size_t kLargestGrid = 64 << 10;

// The most that is freed at once.
constexpr off_t kFreedBytes = 16 << 20;

// Makes the name of the new directory `path` durable.
Result<> sync_parent(const std::string& path) {
  const std::size_t last = path.find_last_not_of('/');
  const std::size_t slash = path.rfind('/', last);
  const std::string parent =
      slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
  const OwnedFd fd(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd && sync_directory(fd.get())) return {};
  if (fd || errno != EACCES) return errno_error("fsync " + parent);
  // The parent is not readable for this user, so sync the whole filesystem.
  const OwnedFd own(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!own || ::syncfs(own.get()) != 0) return errno_error("syncfs " + path);
  return {};
}

// A lock of the whole file, held until it is closed. It is an open file description lock: a reader
// can query it without locking.
struct flock whole_file(short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return lock;
}

// Some filesystems open a file with O_DIRECT but refuse writes to it.
bool takes_writes(int file, std::size_t grid_bytes) {
  const Result<AlignedBuffer> buffer = AlignedBuffer::allocate(grid_bytes);
  return buffer.has_value() &&
         ::pwrite(file, buffer->bytes().data(), grid_bytes, 0) == static_cast<ssize_t>(grid_bytes);
}

// Frees the space of `file`, whose last name in `directory` was removed, part by part. A filesystem
// that discards what it frees makes all writes wait meanwhile: 256 MiB at once took 50 ms
// (tests/perf/HISTORY.md).
void free_in_parts(int file, int directory) {
  struct stat about {};
  if (::fstat(file, &about) != 0 || about.st_size <= kFreedBytes || about.st_nlink > 0) return;
  // The kernel grants this lease only if nobody else has the file open: a reader keeps all of it.
  if (::fcntl(file, F_SETLEASE, F_WRLCK) != 0) return;
  static_cast<void>(::fcntl(file, F_SETLEASE, F_UNLCK));
  // After a power cut, the name must not be back with only a part of the file.
  if (!sync_directory(directory)) return;
  for (off_t size = about.st_size; size > kFreedBytes;) {
    if (::ftruncate(file, size -= kFreedBytes) != 0) return;
  }
}

// Whether `path` certainly leads to another file, or to none. On any other error (for example if
// the directory can no longer be searched) the open file counts as still in place.
bool leads_away(int directory, const std::string& path, int file) {
  const std::optional<FileIdentity> found = identity_at(directory, path);
  return found ? found != identity_of(file) : errno == ENOENT || errno == ENOTDIR;
}

}  // namespace

bool sync_directory(int directory) {
  return ::fsync(directory) == 0 || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS;
}

Error Directory::failed(std::string call, const std::string& name) const {
  return errno_error(std::move(call) + ' ' + path_ + '/' + name);
}

Result<std::unique_ptr<Directory>> Directory::open(const std::string& path, Mode mode) {
  return open_as(path, OwnedFd(), mode, Locking::lock);
}

Result<std::unique_ptr<Directory>> Directory::inherit(const std::string& path, OwnedFd lock,
                                                      Mode mode) {
  return open_as(path, std::move(lock), mode, Locking::inherit);
}

Result<std::unique_ptr<Directory>> Directory::open_as(const std::string& path, OwnedFd lock,
                                                      Mode mode, Locking locking) {
  std::unique_ptr<Directory> directory(new Directory);
  directory->path_ = path;
  directory->mode_ = mode;
  directory->made_ = locking != Locking::inherit && ::mkdir(path.c_str(), 0700) == 0;
  if (!directory->made_ && locking != Locking::inherit && errno != EEXIST) {
    return errno_error("mkdir " + path);
  }
  if (directory->made_) {
    if (Result<> synced = sync_parent(path); synced.has_error()) return synced.error();
  }
  directory->directory_ =
      OwnedFd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory->directory_) return errno_error("open " + path);
  if (Result<> locked = directory->take_lock(std::move(lock), locking); locked.has_error()) {
    return locked.error();
  }
  directory->direct_ = mode == Mode::direct_if_possible;
  if (Result<> found = directory->find_alignment(); found.has_error()) return found.error();
  return directory;
}

Result<> Directory::take_lock(OwnedFd lock, Locking locking) {
  const int fd = directory_.get();
  if (locking == Locking::inherit) {
    shared_ = true;
    lock_ = std::move(lock);
    if (leads_away(fd, kLockName, lock_.get())) {
      return Error{ESTALE, path_ + " is not the directory that was handed over"};
    }
  } else {
    lock_ = OwnedFd(::openat(fd, kLockName, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!lock_) return failed("open", kLockName);
  }
  // Has no effect on an inherited lock.
  const struct flock whole = whole_file(F_WRLCK);
  if (::fcntl(lock_.get(), F_OFD_SETLK, &whole) == 0) return {};
  if (errno != EAGAIN && errno != EACCES) return failed("lock", kLockName);
  keep();  // another process has it
  if (locking != Locking::follow) {
    return Error{EBUSY, path_ + " is being recorded to by another process"};
  }
  follows_ = true;
  return {};
}

Result<OwnedFd> Directory::share_lock() {
  const std::lock_guard guard(opening_);
  OwnedFd copy(::fcntl(lock_.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return failed("dup", kLockName);
  shared_ = true;
  return copy;
}

bool Directory::is_lock_of(int lock, const std::string& path) {
  const std::optional<FileIdentity> found = identity_at(AT_FDCWD, path + '/' + kLockName);
  return found && found == identity_of(lock);
}

// Removes a directory that this object created, if it is empty and not kept: a start that fails
// leaves nothing behind.
Directory::~Directory() {
  if (!made_) return;
  if (directory_) {
    const Result<std::vector<Entry>> entries = list();
    const auto is_lock = [](const Entry& entry) { return entry.name == kLockName; };
    if (entries.has_error() || !std::ranges::all_of(*entries, is_lock)) return;
    static_cast<void>(::unlinkat(directory_.get(), kLockName, 0));
  }
  static_cast<void>(::rmdir(path_.c_str()));
}

bool Directory::is_locked(const std::string& path) {
  const OwnedFd file(
      ::open((path + '/' + kLockName).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct flock lock = whole_file(F_RDLCK);
  return file && ::fcntl(file.get(), F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

// The lock file counts as well: a process that creates another one would believe that it is alone.
bool Directory::in_place() const {
  return !leads_away(AT_FDCWD, path_, directory_.get()) &&
         !leads_away(directory_.get(), kLockName, lock_.get());
}

// Where a directory that two processes shared was replaced, only one of them could lock the new
// one.
void Directory::try_to_lock() {
  if (!follows_) return;
  const std::lock_guard guard(opening_);
  const struct flock whole = whole_file(F_WRLCK);
  if (::fcntl(lock_.get(), F_OFD_SETLK, &whole) == 0) follows_ = false;
}

// Keeps the descriptor numbers, because other threads are using them.
Result<> Directory::open_again() {
  const std::lock_guard guard(opening_);
  if (in_place()) return {};
  Result<std::unique_ptr<Directory>> opened =
      open_as(path_, OwnedFd(), mode_, shared_ ? Locking::follow : Locking::lock);
  if (opened.has_error()) return opened.error();
  Directory& other = **opened;
  if (other.grid_bytes_ > grid_bytes_) {
    return Error{0, path_ + " was replaced by one that asks for larger writes"};
  }
  other.keep();
  direct_ = other.direct_.load();
  follows_ = other.follows_.load();
  if (::dup3(other.directory_.get(), directory_.get(), O_CLOEXEC) < 0 ||
      ::dup3(other.lock_.get(), lock_.get(), O_CLOEXEC) < 0) {
    return errno_error("dup3 " + path_);
  }
  return {};
}

bool Directory::holds(int file, const std::string& name) {
  try_to_lock();
  return in_place() && !leads_away(directory_.get(), name, file);
}

// Finds out with a probe file whether O_DIRECT works here and which alignment it needs.
Result<> Directory::find_alignment() {
  static_cast<void>(::unlinkat(directory_.get(), kProbeName, 0));
  const bool wanted = direct_.exchange(true);
  Result<int> file = create_here(kProbeName);
  if (wanted && file.has_value()) {
    struct statx about {};
    if (::statx(*file, "", AT_EMPTY_PATH, STATX_DIOALIGN, &about) == 0 &&
        (about.stx_mask & STATX_DIOALIGN) != 0) {
      direct_ = about.stx_dio_offset_align != 0;
      grid_bytes_ =
          std::max<std::size_t>({grid_bytes_, about.stx_dio_offset_align, about.stx_dio_mem_align});
    }
    if (grid_bytes_ > kLargestGrid || !takes_writes(*file, grid_bytes_)) direct_ = false;
  } else {
    direct_ = false;
  }
  if (!direct_) {
    grid_bytes_ = 4096;
    if (file.has_value()) close(*file);
    static_cast<void>(::unlinkat(directory_.get(), kProbeName, 0));
    file = create_here(kProbeName);
    if (file.has_error()) return file.error();
  }
  close(*file);
  return remove(kProbeName);
}

Result<int> Directory::create(const std::string& name) {
  try_to_lock();
  if (!in_place()) {
    if (Result<> opened = open_again(); opened.has_error()) return opened.error();
  }
  return create_here(name);
}

Result<int> Directory::create_here(const std::string& name) {
  const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | (direct_ ? O_DIRECT : 0);
  const int file = ::openat(directory_.get(), name.c_str(), flags, 0600);
  if (file < 0) return failed("create", name);
  return {boost::system::in_place_value, file};
}

Result<int> Directory::open_existing(const std::string& name) {
  const int flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC;
  const int file = ::openat(directory_.get(), name.c_str(), flags);
  if (file < 0) return failed("open", name);
  return {boost::system::in_place_value, file};
}

Result<std::size_t> Directory::read(int file, std::span<std::byte> bytes, std::uint64_t offset) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got =
        ::pread(file, &bytes[done], bytes.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed("read", "");
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return {boost::system::in_place_value, done};
}

Result<std::uint64_t> Directory::next_data(int file, std::uint64_t offset) {
  const off_t data = ::lseek(file, static_cast<off_t>(offset), SEEK_DATA);
  if (data >= 0) return {boost::system::in_place_value, static_cast<std::uint64_t>(data)};
  // Without SEEK_DATA support, treat everything as data.
  if (errno != ENXIO) return {boost::system::in_place_value, offset};
  struct stat about {};
  if (::fstat(file, &about) != 0) return failed("fstat", "");
  return {boost::system::in_place_value, static_cast<std::uint64_t>(about.st_size)};
}

// Root may also use the blocks that are reserved for root.
Result<std::uint64_t> Directory::free_bytes() {
  struct statvfs about {};
  if (::fstatvfs(directory_.get(), &about) != 0) return failed("statvfs", "");
  if (about.f_blocks == 0) return Error{ENODATA, "statvfs " + path_};
  const std::uint64_t blocks = ::geteuid() == 0 ? about.f_bfree : about.f_bavail;
  return {boost::system::in_place_value, blocks * about.f_frsize};
}

Result<> Directory::preallocate(int file, std::uint64_t size_bytes) {
  const auto size = static_cast<off_t>(size_bytes);
  if (::fallocate(file, 0, 0, size) == 0) return {};
  if (errno != EOPNOTSUPP) {
    const Error error = failed("fallocate", "");
    static_cast<void>(::ftruncate(file, 0));
    return error;
  }
  // This filesystem cannot preallocate. Setting the size at least keeps it constant afterwards.
  if (::ftruncate(file, size) != 0) return failed("ftruncate", "");
  return {};
}

Result<> Directory::write(int file, std::span<const std::byte> bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failed("write", "");
    // Continue on the grid: the part of a block that a short write left is written again.
    const std::size_t whole = static_cast<std::size_t>(written) / grid_bytes_ * grid_bytes_;
    if (whole == 0) return Error{ENOSPC, "write " + path_};
    bytes = bytes.subspan(whole);
    offset += whole;
  }
  return {};
}

Result<> Directory::sync(int file) {
  if (::fsync(file) != 0) return failed("fsync", "");
  return {};
}

Result<> Directory::truncate(int file, std::uint64_t size_bytes) {
  if (::ftruncate(file, static_cast<off_t>(size_bytes)) != 0) return failed("ftruncate", "");
  return {};
}

void Directory::close(int file) { ::close(file); }

Result<> Directory::rename(const std::string& from, const std::string& to) {
  const int fd = directory_.get();
  if (::renameat2(fd, from.c_str(), fd, to.c_str(), RENAME_NOREPLACE) == 0) return {};
  // Some filesystems lack RENAME_NOREPLACE. A plain rename is safe, because names are unique.
  if (errno != EINVAL || ::renameat(fd, from.c_str(), fd, to.c_str()) != 0) {
    return failed("rename", from);
  }
  return {};
}

Result<> Directory::remove(const std::string& name) {
  const int flags = O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  const OwnedFd file(::openat(directory_.get(), name.c_str(), flags));
  if (::unlinkat(directory_.get(), name.c_str(), 0) != 0) return failed("unlink", name);
  if (file) free_in_parts(file.get(), directory_.get());
  return {};
}

Result<> Directory::sync_names() {
  if (!sync_directory(directory_.get())) return errno_error("fsync " + path_);
  return {};
}

Result<std::vector<Volume::Entry>> Directory::list() {
  const int fd = ::openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* stream = fd < 0 ? nullptr : ::fdopendir(fd);
  if (stream == nullptr) {
    const Error error = errno_error("read " + path_);
    if (fd >= 0) ::close(fd);
    return error;
  }
  std::vector<Entry> entries;
  while (const dirent* entry = ::readdir(stream)) {
    struct stat about {};
    if (::fstatat(fd, entry->d_name, &about, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(about.st_mode)) {
      continue;
    }
    entries.push_back({entry->d_name, static_cast<std::uint64_t>(about.st_size),
                       about.st_mtim.tv_sec * std::int64_t{1'000'000'000} + about.st_mtim.tv_nsec});
  }
  ::closedir(stream);
  std::ranges::sort(entries, {}, &Entry::name);
  return entries;
}

}  // namespace sluice
