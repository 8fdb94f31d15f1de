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

/// A directory of files that are written once, as calls that may block: for a helper thread. Any
/// thread, also several at a time.
///
/// A file is a number that create() or open() gave, until close().
class Volume {
 public:
  struct Entry {
    std::string name;
    std::uint64_t size_bytes = 0;
    std::int64_t changed_ns = 0;  ///< wall clock
  };

  virtual ~Volume() = default;
  Volume(const Volume&) = delete;
  Volume& operator=(const Volume&) = delete;

  /// What offsets, lengths and addresses of writes are multiples of.
  [[nodiscard]] virtual std::size_t grid_bytes() const = 0;

  /// A new file, for Disk::write; EEXIST if the name is taken.
  [[nodiscard]] virtual Result<int> create(const std::string& name) = 0;
  /// Whether `file` of create() is what `name` leads to, for whoever looks into the directory; true
  /// if that cannot be told.
  [[nodiscard]] virtual bool holds(int file, const std::string& name) = 0;
  /// A file that is there.
  [[nodiscard]] virtual Result<int> open_existing(const std::string& name) = 0;
  /// Reads up to `bytes.size()` from a file of open_existing(); fewer only at its end.
  [[nodiscard]] virtual Result<std::size_t> read(int file, std::span<std::byte> bytes,
                                                 std::uint64_t offset) = 0;
  /// Where the next part of such a file begins, at `offset` or behind it, that was ever written, as
  /// far as the filesystem knows: what was allocated alone is none. The file's size if there is
  /// none.
  [[nodiscard]] virtual Result<std::uint64_t> next_data(int file, std::uint64_t offset) = 0;
  /// Bytes that files could still be given; ENODATA of a filesystem that has no bound, or tells
  /// none.
  [[nodiscard]] virtual Result<std::uint64_t> free_bytes() = 0;
  /// Gives `file` its size, with its space allocated; ENOSPC here, not in the middle of a record.
  /// On failure it has none.
  [[nodiscard]] virtual Result<> preallocate(int file, std::uint64_t size_bytes) = 0;
  /// Writes all of `bytes`, on the grid.
  [[nodiscard]] virtual Result<> write(int file, std::span<const std::byte> bytes,
                                       std::uint64_t offset) = 0;
  /// Data, size and whatever is needed to find them again.
  [[nodiscard]] virtual Result<> sync(int file) = 0;
  [[nodiscard]] virtual Result<> truncate(int file, std::uint64_t size_bytes) = 0;
  virtual void close(int file) = 0;

  [[nodiscard]] virtual Result<> rename(const std::string& from, const std::string& to) = 0;
  [[nodiscard]] virtual Result<> remove(const std::string& name) = 0;
  /// Makes names durable: created, renamed, removed.
  [[nodiscard]] virtual Result<> sync_names() = 0;
  [[nodiscard]] virtual Result<std::vector<Entry>> list() = 0;

 protected:
  Volume() = default;
};

/// fsync(2) of a directory: makes its names durable. No error where the filesystem knows no such
/// call, as some of FUSE and of the network: there is nothing that a program could do instead.
[[nodiscard]] bool sync_directory(int directory);

/// A directory of a real filesystem, locked against every other writer.
class Directory final : public Volume {
 public:
  /// Where O_DIRECT is not to be had, writes go through the page cache.
  enum class Mode : std::uint8_t { direct_if_possible, buffered };
  /// Creates `path` (mode 0700) unless it is there, and locks it: EBUSY if another process holds
  /// it. Not a symbolic link. One that was created goes with this object if it is empty then,
  /// unless keep() was called.
  [[nodiscard]] static Result<std::unique_ptr<Directory>> open(
      const std::string& path, Mode mode = Mode::direct_if_possible);
  /// Whether one is open there, in any process. Takes no lock, so that it is in nobody's way.
  [[nodiscard]] static bool is_locked(const std::string& path);
  ~Directory() override;
  void keep() { made_ = false; }

  /// Writes go to the disk without passing the page cache.
  [[nodiscard]] bool direct() const { return direct_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] int fd() const { return directory_.get(); }

  [[nodiscard]] std::size_t grid_bytes() const override { return grid_bytes_; }
  /// In the directory that stands at the path now: one that was removed or replaced is made or
  /// opened again, and locked, first.
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
  Directory() = default;
  [[nodiscard]] bool in_place() const;
  [[nodiscard]] Result<> open_again();
  [[nodiscard]] Result<int> create_here(const std::string& name);
  [[nodiscard]] Result<> find_alignment();
  [[nodiscard]] Error failed(std::string call, const std::string& name) const;

  std::string path_;
  Mode mode_ = Mode::direct_if_possible;
  std::mutex opening_;
  OwnedFd directory_;  ///< its number stays when it is opened again, and so does the lock's
  OwnedFd lock_;
  bool made_ = false;  ///< and not to be kept
  std::atomic<bool> direct_ = false;
  std::size_t grid_bytes_ = 4096;
};

}  // namespace sluice
