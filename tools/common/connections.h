#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <string>
#include <unordered_map>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/capture/reader.h"
#include "iolib/json/json.h"
#include "tools/common/walk.h"

namespace sluice::capture {

/// Bytes of a stream that the capture does not have.
struct Gap {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint32_t reason = 0;  ///< a GapReason; 0: lost, no record explains the gap
};

/// What the capture says about one side of a connection.
struct SideSummary {
  std::uint64_t begin = 0;   ///< stream offset of the first byte that was read
  std::uint64_t offset = 0;  ///< stream offset behind the last byte or gap that was read
  std::uint64_t recorded_bytes = 0;
  std::uint64_t gaps = 0;
  std::uint64_t gap_bytes = 0;
  std::vector<Gap> listed_gaps = {};  ///< at most ConnectionTable::kMostListedGaps
  SideEnd ended = SideEnd::none;
};

/// What has been read of one connection so far.
struct Connection {
  std::uint64_t number = 0;
  OpenInfo info;
  bool introduced = false;  ///< its `open` record was found
  bool closed = false;
  bool being_written = false;  ///< a writer may still append to its chain
  std::string reason = {};
  std::uint64_t last_monotonic_ns = 0;
  std::array<SideSummary, 2> sides = {};  ///< by Side

  /// "closed", "open" (it may still be written to), or "cut" (its recording ends without `close`).
  [[nodiscard]] const char* state() const {
    return closed ? "closed" : being_written ? "open" : "cut";
  }
  [[nodiscard]] std::uint64_t duration_ns() const {
    return last_monotonic_ns > info.began_monotonic_ns ? last_monotonic_ns - info.began_monotonic_ns
                                                       : 0;
  }
  [[nodiscard]] json::object to_json() const;
};

/// The name of a GapReason, as in iolib/capture/FORMAT.md; "lost" for 0.
[[nodiscard]] std::string reason_name(std::uint32_t reason);

/// The id that stands in for a connection's own id while its `open` record is missing.
[[nodiscard]] std::string id_without_open(const Chain& chain, std::uint64_t number);

/// The connections of a capture, or of its current chain, in the order of their first records. Its
/// size is bounded: take() fails beyond `most_connections` or kMostTextBytes of names.
class ConnectionTable {
 public:
  static constexpr std::size_t kMostTextBytes = 512 << 20;
  /// Gaps that are listed one by one, over all connections; later gaps are only counted.
  static constexpr std::size_t kMostListedGaps = 1'000'000;
  /// Which connections stay in the table: those of the current chain, or those of all chains.
  enum class Keeps : std::uint8_t { chain, all };

  explicit ConnectionTable(Keeps keeps, std::size_t most_connections = kMostConnections)
      : keeps_(keeps), most_connections_(most_connections) {}

  /// Updates the table with the event. Returns the connection that the event changes, or null if it
  /// changes none. A connection that was forgotten starts anew. The pointer is valid until the
  /// connection is forgotten or, with Keeps::chain, the next chain begins.
  [[nodiscard]] Result<Connection*> take(const Event& event, const At& at);
  /// Frees the memory of a connection that the caller no longer needs.
  void forget(const Connection& connection, const At& at);
  [[nodiscard]] const std::list<Connection>& all() const { return connections_; }

 private:
  using Numbers = std::unordered_map<std::uint64_t, std::list<Connection>::iterator>;
  [[nodiscard]] Result<Connection*> find_or_add(std::uint64_t number, const At& at);
  void update(const Event& event, Connection& connection);
  void add_gap(const Gap& gap, SideSummary& side);
  [[nodiscard]] Result<> introduce(const Event& event, Connection& connection);

  const Keeps keeps_;
  const std::size_t most_connections_;
  std::list<Connection> connections_;
  Numbers numbers_;  // by connection number, in the current chain
  std::size_t chain_index_ = 0;
  std::size_t text_bytes_ = 0;
  std::size_t listed_gaps_ = 0;
};

}  // namespace sluice::capture
