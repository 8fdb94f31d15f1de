#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "tools/capture/out_stream.h"

namespace sluice::capture {

/// Writes a pcapng file of one section, with Ethernet frames and times in nanoseconds:
/// draft-ietf-opsawg-pcapng, of which it needs four kinds of blocks.
class PcapngWriter {
 public:
  enum class Direction : std::uint8_t { inbound = 1, outbound = 2 };
  /// A frame. What is borrowed is copied before write() returns.
  struct Frame {
    std::uint32_t interface = 0;
    std::uint64_t wall_ns = 0;
    Direction direction = Direction::inbound;
    std::uint64_t dropped = 0;  ///< frames missing before it
    std::string_view comment = {};
    std::span<const std::byte> head;
    std::span<const std::byte> payload;
  };
  struct Statistics {
    std::uint64_t first_ns = 0, last_ns = 0;
    std::uint64_t frames = 0, dropped = 0;
  };

  /// Writes the section's header. Borrows `out`, which keeps its errors.
  explicit PcapngWriter(OutStream& out);

  /// Frames name an interface by the number returned.
  [[nodiscard]] std::uint32_t add_interface(std::string_view name);
  void write(const Frame& frame);
  /// After the interface's last frame.
  void write(std::uint32_t interface, const Statistics& statistics);

 private:
  OutStream& out_;
  std::uint32_t interfaces_ = 0;
};

}  // namespace sluice::capture
