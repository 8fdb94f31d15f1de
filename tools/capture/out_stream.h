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

/// A file that is written from its beginning to its end, through a buffer. An error stays: what is
/// appended after it goes nowhere. Without finish() there is no file in the end.
class OutStream {
 public:
  static constexpr std::size_t kBufferBytes = 256 << 10;

  /// A new file for its owner alone, which must not exist; or stdout, if `path` is "-".
  [[nodiscard]] static Result<std::unique_ptr<OutStream>> open(const std::string& path);
  /// Borrows `fd`, unless it is the one that is `owned`.
  OutStream(int fd, OwnedFd owned, std::string name);
  ~OutStream();
  OutStream(const OutStream&) = delete;
  OutStream& operator=(const OutStream&) = delete;

  void append(std::span<const std::byte> bytes);
  void append(std::string_view text) { append(std::as_bytes(std::span(text))); }
  /// That were appended so far.
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  /// The first error so far.
  [[nodiscard]] Result<> status() const;
  /// What could be written stays, also after an error.
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
