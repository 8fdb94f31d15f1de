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

/// Where a segment's bytes come from.
class Source {
 public:
  Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  virtual ~Source() = default;

  /// As it is now: a segment that is being written grows and shrinks.
  [[nodiscard]] virtual Result<std::uint64_t> size_bytes() = 0;
  /// The `bytes` from `offset` on, at most kMaxFrameBytes, or fewer at the end; valid until the
  /// next call.
  [[nodiscard]] virtual Result<std::span<const std::byte>> read(std::uint64_t offset,
                                                                std::size_t bytes) = 0;
};

/// Opens a segment's file for reading; follows no symbolic link, and refuses what is no regular
/// file.
[[nodiscard]] Result<OwnedFd> open_regular_file(const std::string& path);

/// A regular file, read buffered into memory of its own (kMaxFrameBytes).
class FileSource final : public Source {
 public:
  /// By open_regular_file().
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

/// What a source gave last, so that it is asked once for all that lies together. An error stays:
/// after it there is nothing to be read any more.
class SourceView {
 public:
  /// Borrows `source`.
  explicit SourceView(Source& source) : source_(source) {}

  /// All that was read may have changed since.
  void forget();
  void forget_size() { size_is_known_ = false; }
  [[nodiscard]] std::uint64_t size_bytes();
  /// The `bytes` from `offset` on, or fewer at the end; valid until the next call. Where they have
  /// to be read, so are those behind them, `read_bytes` in all.
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
  std::uint64_t offset_ = 0;  // of bytes_
};

}  // namespace sluice::capture
