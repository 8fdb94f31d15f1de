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

/// Many files that are appended to. Only the kMostOpen most recently used ones are open.
class OutFiles {
 public:
  static constexpr std::size_t kMostOpen = 128;
  /// Smaller pieces are buffered until they reach this size.
  static constexpr std::size_t kDirectBytes = 32 << 10;

  /// One of the files. Its address is valid as long as OutFiles.
  struct File;

  /// Borrows the descriptor `directory`.
  explicit OutFiles(int directory);
  ~OutFiles();
  OutFiles(const OutFiles&) = delete;
  OutFiles& operator=(const OutFiles&) = delete;

  /// Adds a file. The first append() creates it, and fails if it already exists.
  [[nodiscard]] File& add(std::string name);
  [[nodiscard]] static const std::string& name(const File& file);
  /// Appends bytes to a file, and opens it if necessary.
  [[nodiscard]] Result<> append(File& file, std::span<const std::byte> bytes);
  /// Writes what is buffered.
  [[nodiscard]] Result<> finish();

 private:
  [[nodiscard]] Result<> open(File& file);
  static Result<> flush(File& file);

  int directory_;
  std::list<File> files_;
  std::list<File*> open_;  // most recently used first
};

}  // namespace sluice::capture
