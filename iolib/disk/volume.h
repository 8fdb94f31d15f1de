#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"

namespace sluice {

/// A directory of files that are written once. The calls may block, so a helper thread makes them.
/// Several threads may call at the same time.
///
/// A file is an `int` that create() or open_existing() returned; it is valid until close().
class Volume {
 public:
  struct Entry {
    std::string name;
    std::uint64_t size_bytes = 0;
    std::int64_t changed_ns = 0;  ///< time of the last change, wall clock
  };

  virtual ~Volume() = default;
  Volume(const Volume&) = delete;
  Volume& operator=(const Volume&) = delete;

  /// The alignment of all writes: offsets, lengths and addresses are multiples of it.
  [[nodiscard]] virtual std::size_t grid_bytes() const = 0;

  /// Creates a file, for Disk::write(). EEXIST if the name exists.
  [[nodiscard]] virtual Result<int> create(const std::string& name) = 0;
  /// Whether `name`, looked up by path, still leads to `file` of create(). True if that cannot be
  /// determined.
  [[nodiscard]] virtual bool holds(int file, const std::string& name) = 0;
  /// Opens an existing file.
  [[nodiscard]] virtual Result<int> open_existing(const std::string& name) = 0;
  /// Reads `bytes.size()` bytes from a file of open_existing(); fewer only at its end. Returns how
  /// many.
  [[nodiscard]] virtual Result<std::size_t> read(int file, std::span<std::byte> bytes,
                                                 std::uint64_t offset) = 0;
  /// The offset of the next data at or after `offset` in a file of open_existing(), as far as the
  /// filesystem knows. Space that is allocated but never written is not data. Returns the file's
  /// size if there is none.
  [[nodiscard]] virtual Result<std::uint64_t> next_data(int file, std::uint64_t offset) = 0;
  /// The free bytes of the filesystem. ENODATA if it has no limit or does not report one.
  [[nodiscard]] virtual Result<std::uint64_t> free_bytes() = 0;
  /// Sets the size of `file` and allocates its space, so that ENOSPC occurs here and not in the
  /// middle of a record. On failure the file has no space.
  [[nodiscard]] virtual Result<> preallocate(int file, std::uint64_t size_bytes) = 0;
  /// Writes all of `bytes`. Offset, length and address are on the grid.
  [[nodiscard]] virtual Result<> write(int file, std::span<const std::byte> bytes,
                                       std::uint64_t offset) = 0;
  /// fsync(2): makes the data and metadata of `file` durable.
  [[nodiscard]] virtual Result<> sync(int file) = 0;
  /// Sets the size of `file`.
  [[nodiscard]] virtual Result<> truncate(int file, std::uint64_t size_bytes) = 0;
  virtual void close(int file) = 0;

  /// Renames a file; EEXIST if `to` exists, where the filesystem can check that.
  [[nodiscard]] virtual Result<> rename(const std::string& from, const std::string& to) = 0;
  /// Removes a file.
  [[nodiscard]] virtual Result<> remove(const std::string& name) = 0;
  /// Makes all creations, renames and removals of names durable.
  [[nodiscard]] virtual Result<> sync_names() = 0;
  /// All regular files, sorted by name.
  [[nodiscard]] virtual Result<std::vector<Entry>> list() = 0;

 protected:
  Volume() = default;
};

/// fsync(2) of a directory: makes its names durable. True also if the filesystem does not support
/// the call (some FUSE and network filesystems): a program has no alternative there. False with
/// errno otherwise.
[[nodiscard]] bool sync_directory(int directory);

/// A directory of a real filesystem, locked against other writers.
class Directory final : public Volume {
 public:
  /// `direct_if_possible` uses O_DIRECT; where that does not work, writes go through the page
  /// cache.
  enum class Mode : std::uint8_t { direct_if_possible, buffered };
  /// Opens `path`, which must not be a symbolic link, creates it (mode 0700) if it is missing, and
  /// locks it. EBUSY if another process holds the lock. The destructor removes a directory that
  /// this call created, if it is empty and keep() was not called.
  [[nodiscard]] static Result<std::unique_ptr<Directory>> open(
      const std::string& path, Mode mode = Mode::direct_if_possible);
  /// Opens the existing directory at `path`, which another process has locked: `lock` is a copy of
  /// its descriptor, from share_lock(). Both processes then have the lock, until the last of them
  /// has closed it. ESTALE if `lock` is not the lock of the directory that is at the path now.
  [[nodiscard]] static Result<std::unique_ptr<Directory>> inherit(
      const std::string& path, OwnedFd lock, Mode mode = Mode::direct_if_possible);
  /// A copy of the lock's descriptor, for a process that is to share the directory.
  [[nodiscard]] Result<OwnedFd> share_lock();
  /// Whether `lock` is the lock of the directory that is at `path` now.
  [[nodiscard]] static bool is_lock_of(int lock, const std::string& path);
  /// Whether any process has a Directory open at `path`. Takes no lock, so it blocks no writer.
  [[nodiscard]] static bool is_locked(const std::string& path);
  ~Directory() override;
  /// The destructor removes nothing from now on.
  void keep() { made_ = false; }

  /// Whether writes bypass the page cache.
  [[nodiscard]] bool direct() const { return direct_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  /// The descriptor of the directory, borrowed.
  [[nodiscard]] int fd() const { return directory_.get(); }

  [[nodiscard]] std::size_t grid_bytes() const override { return grid_bytes_; }
  /// Creates the file in the directory that is at the path now. If the directory was removed or
  /// replaced, this call first creates or opens and locks the new one. If the lock was shared, the
  /// other process may have locked that one before; then this one takes the lock over from it.
  [[nodiscard]] Result<int> create(const std::string& name) override;
  [[nodiscard]] bool holds(int file, const std::string& name) override;
  [[nodiscard]] Result<int> open_existing(const std::string& name) override;
  [[nodiscard]] Result<std::size_t> read(int file, std::span<std::byte> bytes,
                                         std::uint64_t offset) override;
  [[nodiscard]] Result<std::uint64_t> next_data(int file, std::uint64_t offset) override;
  [[nodiscard]] Result<std::uint64_t> free_bytes() override;
  [[nodiscard]] Result<> preallocate(int file, std::uint64_t size_bytes) override;
  [[nodiscard]] Result<> write(int file, std::span<const std::byte> bytes,
                               std::uint64_t offset) override;
  [[nodiscard]] Result<> sync(int file) override;
  [[nodiscard]] Result<> truncate(int file, std::uint64_t size_bytes) override;
  void close(int file) override;
  [[nodiscard]] Result<> rename(const std::string& from, const std::string& to) override;
  [[nodiscard]] Result<> remove(const std::string& name) override;
  [[nodiscard]] Result<> sync_names() override;
  [[nodiscard]] Result<std::vector<Entry>> list() override;

 private:
  /// How a Directory comes to its lock.
  enum class Locking : std::uint8_t {
    lock,     ///< EBUSY if another process has it
    inherit,  ///< it has it already
    follow,   ///< if another process has it, later: see try_to_lock()
  };
  Directory() = default;
  [[nodiscard]] static Result<std::unique_ptr<Directory>> open_as(const std::string& path,
                                                                  OwnedFd lock, Mode mode,
                                                                  Locking locking);
  [[nodiscard]] Result<> take_lock(OwnedFd lock, Locking locking);
  [[nodiscard]] bool in_place() const;
  void try_to_lock();
  [[nodiscard]] Result<> open_again();
  [[nodiscard]] Result<int> create_here(const std::string& name);
  [[nodiscard]] Result<> find_alignment();
  [[nodiscard]] Error failed(std::string call, const std::string& name) const;

  std::string path_;
  Mode mode_ = Mode::direct_if_possible;
  std::mutex opening_;
  OwnedFd directory_;  ///< open_again() keeps the numbers of this and of lock_
  OwnedFd lock_;
  bool made_ = false;                  ///< created here, and not yet kept
  std::atomic<bool> shared_ = false;   ///< another process may have the lock, too
  std::atomic<bool> follows_ = false;  ///< only the other process has the lock so far
  std::atomic<bool> direct_ = false;
  std::size_t grid_bytes_ = 4096;
};

}  // namespace sluice
