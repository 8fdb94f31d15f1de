#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"

namespace sluice::capture {

/// A file that is written sequentially through a buffer. After the first error, further bytes are
/// dropped. Without finish() the destructor removes the file.
class OutStream {
 public:
  static constexpr std::size_t kBufferBytes = 256 << 10;

  /// Creates a file with mode 0600; an existing one is an error. "-" is stdout. A pipe or a device
  /// at `path` is opened instead, and never removed.
  [[nodiscard]] static Result<std::unique_ptr<OutStream>> open(const std::string& path);
  /// Borrows `fd`, or takes it over if `owned` holds it.
  OutStream(int fd, OwnedFd owned, std::string name);
  ~OutStream();
  OutStream(const OutStream&) = delete;
  OutStream& operator=(const OutStream&) = delete;

  void append(std::span<const std::byte> bytes);
  void append(std::string_view text) { append(std::as_bytes(std::span(text))); }
  /// The number of bytes appended so far.
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  /// The first error so far, if any.
  [[nodiscard]] Result<> status() const;
  /// Writes what is buffered, and returns the first error. The file stays, also after an error.
  [[nodiscard]] Result<> finish();

 private:
  void flush();

  int fd_;
  OwnedFd owned_;
  std::string name_;
  std::uint64_t bytes_ = 0;
  bool stays_ = false;
  std::vector<std::byte> buffer_;
  std::optional<Error> error_;
};

}  // namespace sluice::capture
