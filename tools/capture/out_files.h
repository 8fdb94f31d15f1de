#pragma once

#include <cstddef>
#include <list>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"

namespace sluice::capture {

/// Many files that are appended to, of which few are open: those that were written to last.
class OutFiles {
 public:
  static constexpr std::size_t kMostOpen = 128;
  /// Less than this is gathered first.
  static constexpr std::size_t kDirectBytes = 16 << 10;

  /// Borrows `directory`.
  explicit OutFiles(int directory) : directory_(directory) {}

  /// Appends to the file, which is created when it is named first and must not exist then.
  [[nodiscard]] Result<> append(const std::string& name, std::span<const std::byte> bytes);
  /// Writes out what was gathered.
  [[nodiscard]] Result<> finish();

 private:
  struct File {
    std::string name;
    OwnedFd fd;
    std::vector<std::byte> gathered;
  };
  [[nodiscard]] Result<File*> find_or_open(const std::string& name);
  static Result<> flush(File& file);

  int directory_;
  std::list<File> open_;  // written to last first
  std::unordered_map<std::string, std::list<File>::iterator> by_name_;
  std::unordered_set<std::string> created_;
};

}  // namespace sluice::capture
