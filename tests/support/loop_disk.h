#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "tests/support/temp_dir.h"

namespace sluice::test {

/// A small ext4 on a loop device, in a mount namespace of this thread. It goes away with the test,
/// however that ends. Children inherit it.
class LoopDisk {
 public:
  /// If this process may not create one or the machine cannot, returns nothing and sets `why_not`.
  [[nodiscard]] static std::unique_ptr<LoopDisk> create(std::uint64_t size_bytes,
                                                        std::string& why_not);
  ~LoopDisk();
  LoopDisk(const LoopDisk&) = delete;
  LoopDisk& operator=(const LoopDisk&) = delete;

  /// Where it is mounted.
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::uint64_t free_bytes() const;
  /// How many flushes of its cache the device has received; nothing where the kernel does not
  /// count.
  [[nodiscard]] std::optional<std::uint64_t> flushes() const;
  /// Fills a file until less than `left_bytes` are free.
  void fill(const std::string& name, std::uint64_t left_bytes) const;

  /// From now on every write waits until thaw(), and so does the end of a process that waits for
  /// one.
  void freeze();
  void thaw();
  /// What the filesystem does itself after a disk error.
  void turn_read_only();

  /// Limits what this process writes to it past the page cache, from now on. Returns an empty
  /// string, or why that is not possible here.
  [[nodiscard]] std::string throttle(pid_t process, std::uint64_t bytes_per_second);
  void end_throttle();

 private:
  LoopDisk() = default;
  [[nodiscard]] std::string make(std::uint64_t size_bytes);

  TempDir folder_;
  std::string path_;
  std::string device_;  ///< "MAJOR:MINOR"
  std::string group_;   ///< the cgroup's folder
  std::string limit_;   ///< the file in it that limits writes
  bool mounted_ = false;
  bool frozen_ = false;
};

}  // namespace sluice::test
