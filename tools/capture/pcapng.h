#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "tools/capture/out_stream.h"

namespace sluice::capture {

/// Writes a pcapng file (draft-ietf-opsawg-pcapng) with one section of Ethernet frames, with times
/// in nanoseconds. It uses five kinds of blocks.
class PcapngWriter {
 public:
  enum class Direction : std::uint8_t { inbound = 1, outbound = 2 };
  /// A frame. write() copies everything that it refers to.
  struct Frame {
    std::uint32_t interface = 0;
    std::uint64_t wall_ns = 0;
    Direction direction = Direction::inbound;
    std::uint64_t dropped = 0;  ///< frames that are missing before it
    std::string_view comment = {};
    std::span<const std::byte> head;
    std::span<const std::byte> payload;
  };
  struct Statistics {
    std::uint64_t first_ns = 0, last_ns = 0;
    std::uint64_t frames = 0, dropped = 0;
  };

  /// Writes the section's header. `out` must outlive the writer; it keeps the errors.
  explicit PcapngWriter(OutStream& out);

  /// Embeds TLS secrets, in the format of SSLKEYLOGFILE. They apply to the frames that follow.
  void write_secrets(std::string_view keylog);
  /// Adds an interface, and returns its number for use in frames.
  [[nodiscard]] std::uint32_t add_interface(std::string_view name);
  void write(const Frame& frame);
  /// Writes an interface's statistics, after its last frame.
  void write(std::uint32_t interface, const Statistics& statistics);

 private:
  OutStream& out_;
  std::uint32_t interfaces_ = 0;
};

}  // namespace sluice::capture
