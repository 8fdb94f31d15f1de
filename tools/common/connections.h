#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <string>
#include <unordered_map>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/capture/reader.h"
#include "tools/common/json.h"
#include "tools/common/walk.h"

namespace sluice::capture {

/// Bytes of a stream that are not there.
struct Gap {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint32_t reason = 0;  ///< a GapReason, or 0: lost, without a record
};

/// What is known of one side of a connection.
struct SideSummary {
  std::uint64_t begin = 0;   ///< the stream's offset from which on it was read
  std::uint64_t offset = 0;  ///< the one reached
  std::uint64_t recorded_bytes = 0;
  std::uint64_t gaps = 0;
  std::uint64_t gap_bytes = 0;
  std::vector<Gap> listed_gaps = {};  ///< the first ones: see ConnectionTable::kMostListedGaps
  SideEnd ended = SideEnd::none;
};

struct Connection {
  std::uint64_t number = 0;
  OpenInfo info;
  bool introduced = false;  ///< its `open` was found
  bool closed = false;
  bool being_written = false;  ///< not closed, and its chain may go on
  std::string reason = {};
  std::uint64_t last_monotonic_ns = 0;
  std::array<SideSummary, 2> sides = {};  ///< by Side

  [[nodiscard]] const char* state() const {
    return closed ? "closed" : being_written ? "open" : "cut";
  }
  [[nodiscard]] std::uint64_t duration_ns() const {
    return last_monotonic_ns > info.began_monotonic_ns ? last_monotonic_ns - info.began_monotonic_ns
                                                       : 0;
  }
  [[nodiscard]] json::object to_json() const;
};

/// As FORMAT.md names it; "lost" for none.
[[nodiscard]] std::string reason_name(std::uint32_t reason);

/// What a connection is called whose `open` is lost.
[[nodiscard]] std::string id_without_open(const Chain& chain, std::uint64_t number);

/// The connections of a capture, or of its current chain, in the order in which they appear; at
/// most `most_connections`, and no more text than kMostTextBytes.
class ConnectionTable {
 public:
  static constexpr std::size_t kMostTextBytes = 512 << 20;
  /// As many gaps are remembered one by one; the others are only counted.
  static constexpr std::size_t kMostListedGaps = 1'000'000;
  enum class Keeps : std::uint8_t { chain, all };

  explicit ConnectionTable(Keeps keeps, std::size_t most_connections = kMostConnections)
      : keeps_(keeps), most_connections_(most_connections) {}

  /// Takes note of the event, and returns the connection that it is about, or null. One that has
  /// been forgotten begins anew.
  [[nodiscard]] Result<Connection*> take(const Event& event, const At& at);
  /// The memory of a connection that is of no more interest.
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
  Numbers numbers_;  // of the current chain
  std::size_t chain_index_ = 0;
  std::size_t text_bytes_ = 0;
  std::size_t listed_gaps_ = 0;
};

}  // namespace sluice::capture
