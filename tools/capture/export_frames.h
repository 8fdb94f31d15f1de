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

/// Which addresses the peers of connections get, and which numbers their SYNs. The man page lists
/// the addresses of peers that have none.
class PeerNames {
 public:
  struct Peers {
    SocketAddress client;
    SocketAddress upstream;
    std::string key;                              ///< for free()
    std::array<std::uint32_t, 2> sequences = {};  ///< by Side
  };
  /// Of a connection that begins: no other that is alive has the same two.
  [[nodiscard]] Peers take(const OpenInfo& connection);
  void free(const std::string& key) { alive_.erase(key); }

 private:
  [[nodiscard]] Peers addresses_of(const OpenInfo& connection);

  std::uint64_t nameless_ = 0;
  std::uint32_t taken_ = 0;
  std::unordered_set<std::string> alive_;
};

/// Makes frames of the records of one chain.
class FrameExport {
 public:
  /// Borrows all but `chain`, which becomes an interface.
  FrameExport(const Invocation& invocation, const Chain& chain, PeerNames& names,
              PcapngWriter& writer);
  ~FrameExport();
  FrameExport(const FrameExport&) = delete;
  FrameExport& operator=(const FrameExport&) = delete;

  [[nodiscard]] Result<> take(const Event& event, const At& at);
  /// The chain has ended.
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
