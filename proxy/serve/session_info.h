#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "iolib/base/clock.h"

namespace sluice {

/// What is known of a connection at a moment.
struct SessionInfo {
  std::string id = {};      ///< as in the log
  std::string client = {};  ///< as in the log
  std::string route = {};
  std::string server = {};  ///< empty while there is none
  std::uint64_t to_upstream_bytes = 0;
  std::uint64_t to_client_bytes = 0;
  Duration age = {};
  Duration idle = {};  ///< since bytes moved last
  bool recorded = false;
  std::uint32_t mirrors = 0;  ///< that get a copy
};

/// The order of a list. Ids are ascending; bytes, age and idle time begin with the largest.
enum class SessionOrder : std::uint8_t { id, bytes, age, idle };

/// The place of a connection in a list.
struct SessionPlace {
  std::uint64_t rank = 0;    ///< by what the list is sorted
  std::uint64_t number = 0;  ///< of the session, where ranks are equal
  // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 takes the defaulted comparison for a 0
  friend auto operator<=>(const SessionPlace&, const SessionPlace&) = default;
};

/// Which connections to list.
struct SessionQuery {
  std::optional<std::string> route = {};
  SessionOrder order = SessionOrder::id;
  std::size_t limit = 0;
  std::optional<SessionPlace> after = {};  ///< only those behind it
};

/// The first connections that a query asks for, in order.
struct SessionPage {
  struct Item {
    SessionPlace place;
    SessionInfo info;
  };
  std::vector<Item> items = {};
  bool more = false;  ///< there are others behind them
};

/// Joins the pages of several workers that answer the same query.
[[nodiscard]] SessionPage joined(std::vector<SessionPage> pages, std::size_t limit);

}  // namespace sluice
