#include "tools/capture/segment_output.h"

#include <sys/random.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "iolib/base/file_identity.h"
#include "iolib/disk/volume.h"
#include "tools/capture/out_directory.h"

namespace sluice::capture {
namespace {

RecordHeader at_times(Kind kind, const RecordHeader& times) {
  return {.kind = static_cast<std::uint8_t>(kind),
          .monotonic_ns = times.monotonic_ns,
          .wall_ns = times.wall_ns};
}

}  // namespace

SegmentOutput::SegmentOutput(int directory, SegmentName name, OwnedFd fd, AlignedBuffer buffer)
    : directory_(directory),
      name_(std::move(name)),
      file_name_(to_string(name_)),
      fd_(std::move(fd)),
      buffer_(std::move(buffer)),
      frame_(buffer_.bytes()) {}

Result<std::unique_ptr<SegmentOutput>> SegmentOutput::create(int directory, const SegmentInfo& info,
                                                             const RecordHeader& times) {
  const SegmentName name{info.run, info.worker, info.number, SegmentState::open};
  Result<AlignedBuffer> buffer = AlignedBuffer::allocate(kMaxFrameBytes);
  if (!buffer) return buffer.error();
  Result<OwnedFd> fd = create_file(directory, to_string(name));
  if (!fd) return fd.error();
  auto output =
      std::make_unique<SegmentOutput>(directory, name, *std::move(fd), *std::move(buffer));
  SegmentId& id = output->header_.segment;
  if (::getrandom(id.data(), id.size(), 0) != static_cast<ssize_t>(id.size())) {
    return errno_error("getrandom");
  }
  const Result<> begun = output->append(at_times(Kind::segment, times), encode(info));
  if (!begun) return begun.error();
  return output;
}

// An unfinished segment would make the next attempt fail.
SegmentOutput::~SegmentOutput() {
  if (!sealed_) unlink_if_same(directory_, file_name_, identity_of(fd_.get()));
}

Result<> SegmentOutput::append(const RecordHeader& header, std::span<const std::byte> payload) {
  if (!frame_.fits(payload.size())) {
    if (const Result<> flushed = flush(); !flushed) return flushed.error();
  }
  frame_.append(header, payload);
  if (header.is(Kind::data)) data_bytes_ += payload.size();
  return {};
}

Result<> SegmentOutput::flush() {
  const std::span<const std::byte> bytes = frame_.seal(header_);
  const Result<> written = write_all(fd_.get(), bytes, file_name_);
  if (!written) return written.error();
  ++header_.number;
  header_.offset += bytes.size();
  frame_.reset();
  return {};
}

Result<> SegmentOutput::seal(const RecordHeader& times, SegmentEnd why) {
  const FooterInfo footer{data_bytes_, static_cast<std::uint32_t>(why)};
  const Result<> added = append(at_times(Kind::footer, times), encode(footer));
  if (!added) return added.error();
  if (const Result<> flushed = flush(); !flushed) return flushed.error();
  name_.state = SegmentState::sealed;
  if (::fsync(fd_.get()) != 0) return errno_error("fsync " + file_name_);
  if (::renameat(directory_, file_name_.c_str(), directory_, to_string(name_).c_str()) != 0) {
    return errno_error("rename " + file_name_);
  }
  sealed_ = true;
  if (!sync_directory(directory_)) return errno_error("fsync the directory");
  return {};
}

}  // namespace sluice::capture
