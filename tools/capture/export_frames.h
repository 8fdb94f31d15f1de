#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "iolib/base/address.h"
#include "iolib/capture/format.h"
#include "tools/capture/options.h"
#include "tools/capture/pcapng.h"
#include "tools/capture/tcp_frame.h"
#include "tools/common/connections.h"
#include "tools/common/walk.h"

namespace sluice::capture {

/// Chooses the addresses of connections' peers in the exported frames, and the sequence numbers of
/// their SYNs. sluice-capture(1) lists the addresses of peers that have no IP address.
class PeerNames {
 public:
  struct Peers {
    SocketAddress client;
    SocketAddress upstream;
    std::string key;                              ///< argument for free()
    std::array<std::uint32_t, 2> sequences = {};  ///< by Side
  };
  /// The peers of a connection that begins. No other live connection has the same two addresses.
  [[nodiscard]] Peers take(const OpenInfo& connection);
  void free(const std::string& key) { alive_.erase(key); }

 private:
  [[nodiscard]] Peers addresses_of(const OpenInfo& connection);

  std::uint64_t nameless_ = 0;
  std::uint32_t taken_ = 0;
  std::unordered_set<std::string> alive_;
};

/// Exports the records of one chain as frames.
class FrameExport {
 public:
  /// Adds an interface for `chain` to `writer`. `invocation`, `names` and `writer` must outlive the
  /// export.
  FrameExport(const Invocation& invocation, const Chain& chain, PeerNames& names,
              PcapngWriter& writer);
  ~FrameExport();
  FrameExport(const FrameExport&) = delete;
  FrameExport& operator=(const FrameExport&) = delete;

  /// Takes an event of the chain. Errors of the output are in the writer's OutStream.
  [[nodiscard]] Result<> take(const Event& event, const At& at);
  /// Call it when the chain has ended: writes the interface's statistics.
  void finish();

 private:
  struct Stream;
  struct Exported;

  void take_record(const Event& event, Exported& exported);
  void missing(const Gap& gap, Side side, Exported& exported);
  void shake_hands(Exported& exported);
  void send_data(const Event& event, Exported& exported);
  void acknowledge(Side from, Exported& exported);
  void end(Side from, std::uint8_t flag, Exported& exported);
  void close(const CloseInfo& info, Exported& exported);
  void send(Side from, std::uint8_t flags, std::uint64_t offset, std::span<const std::byte> payload,
            Exported& exported);
  [[nodiscard]] Exported* find_or_begin(const Connection& connection);

  const Invocation& invocation_;
  PeerNames& names_;
  PcapngWriter& writer_;
  const std::uint32_t interface_;
  ConnectionTable table_{ConnectionTable::Keeps::chain};
  std::unordered_map<std::uint64_t, std::unique_ptr<Exported>> exported_;
  PcapngWriter::Statistics statistics_;
  std::uint64_t wall_ns_ = 0;  // of the current record
};

}  // namespace sluice::capture
