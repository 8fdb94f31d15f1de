#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "iolib/base/aligned_buffer.h"
#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "iolib/capture/format.h"

namespace sluice::capture {

/// A source of a segment's bytes.
class Source {
 public:
  Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  virtual ~Source() = default;

  /// The current size: a segment that is being written grows and shrinks.
  [[nodiscard]] virtual Result<std::uint64_t> size_bytes() = 0;
  /// Reads `bytes` from `offset` on, at most kMaxFrameBytes; fewer at the end. The result is valid
  /// until the next call.
  [[nodiscard]] virtual Result<std::span<const std::byte>> read(std::uint64_t offset,
                                                                std::size_t bytes) = 0;
};

/// Opens a segment's file for reading. Follows no symbolic link and refuses anything but a regular
/// file.
[[nodiscard]] Result<OwnedFd> open_regular_file(const std::string& path);

/// A regular file, read through the page cache into its own buffer (kMaxFrameBytes).
class FileSource final : public Source {
 public:
  /// Opens the file as open_regular_file() does.
  [[nodiscard]] static Result<std::unique_ptr<Source>> open(const std::string& path);
  FileSource(OwnedFd fd, AlignedBuffer buffer, std::string path)
      : fd_(std::move(fd)), buffer_(std::move(buffer)), path_(std::move(path)) {}
  [[nodiscard]] Result<std::uint64_t> size_bytes() override;
  [[nodiscard]] Result<std::span<const std::byte>> read(std::uint64_t offset,
                                                        std::size_t bytes) override;

 private:
  OwnedFd fd_;
  AlignedBuffer buffer_;
  std::string path_;
};

/// Caches what a source returned last, so that nearby bytes are read with one call. An error is
/// permanent: after it, every read is empty.
class SourceView {
 public:
  /// Borrows `source`.
  explicit SourceView(Source& source) : source_(source) {}

  /// Discards the cached bytes and size, which may have changed.
  void forget();
  void forget_size() { size_is_known_ = false; }
  [[nodiscard]] std::uint64_t size_bytes();
  /// The `bytes` from `offset` on, or fewer at the end; valid until the next call. If they must be
  /// read, `read_bytes` from `offset` on are read at once.
  [[nodiscard]] std::span<const std::byte> at(std::uint64_t offset, std::size_t bytes,
                                              std::size_t read_bytes = kMaxFrameBytes);

  [[nodiscard]] const std::optional<Error>& error() const { return error_; }
  void fail(const Error& error);

 private:
  Source& source_;
  std::optional<Error> error_;
  std::uint64_t size_bytes_ = 0;
  bool size_is_known_ = false;
  std::span<const std::byte> bytes_;
  std::uint64_t offset_ = 0;  // offset of bytes_
};

}  // namespace sluice::capture
