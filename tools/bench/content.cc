#include "tools/bench/content.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "tools/bench/net.h"

namespace sluice::bench {

const Content& Content::instance() {
  // Never destroyed: a server's threads may still send it while the process exits.
  static const auto* const content = new Content;
  return *content;
}

Content::Content()
    : bytes_(random_bytes(kBytes, 1)), file_(::memfd_create("content", MFD_CLOEXEC)) {
  if (!file_) fail_errno("memfd_create");
  for (std::size_t at = 0; at < kBytes;) {
    const ssize_t n = ::write(file_.get(), bytes_.data() + at, kBytes - at);
    if (n <= 0) fail_errno("write content");
    at += static_cast<std::size_t>(n);
  }
}

std::size_t Content::together(std::uint64_t position, std::size_t most) {
  return std::min(most, kBytes - static_cast<std::size_t>(position % kBytes));
}

std::size_t Content::mismatch(std::uint64_t position, const char* data, std::size_t size) const {
  for (std::size_t done = 0; done < size;) {
    const std::size_t part = together(position + done, size - done);
    const char* expected = at(position + done);
    if (std::memcmp(data + done, expected, part) != 0) {
      return static_cast<std::size_t>(
          std::mismatch(data + done, data + done + part, expected).first - data);
    }
    done += part;
  }
  return size;
}

}  // namespace sluice::bench
