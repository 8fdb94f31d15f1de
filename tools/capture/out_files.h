#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"

namespace sluice::capture {

/// Many files that are appended to, of which few are open: those that were written to last.
class OutFiles {
 public:
  static constexpr std::size_t kMostOpen = 128;
  /// Less than this is gathered first.
  static constexpr std::size_t kDirectBytes = 32 << 10;

  /// One of the files. Stays where it is as long as OutFiles.
  class File;

  /// Borrows `directory`.
  explicit OutFiles(int directory);
  ~OutFiles();
  OutFiles(const OutFiles&) = delete;
  OutFiles& operator=(const OutFiles&) = delete;

  /// A file that is created when it is first appended to, and must not exist then.
  [[nodiscard]] File& add(std::string name);
  [[nodiscard]] static const std::string& name(const File& file);
  [[nodiscard]] Result<> append(File& file, std::span<const std::byte> bytes);
  /// Writes out what was gathered.
  [[nodiscard]] Result<> finish();

 private:
  [[nodiscard]] Result<> open(File& file);
  static Result<> flush(File& file);

  int directory_;
  std::list<File> files_;
  std::list<File*> open_;  // written to last first
};

}  // namespace sluice::capture
