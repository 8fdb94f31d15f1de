#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace sluice::balance {

/// A table that maps hashes of clients to items, such that every item gets its share, and another
/// set of items moves few clients that need not move.
///
/// Each item prefers the entries of the table in an order of its own, which its name determines. In
/// turns, each item takes the entry that it likes best of those that are free. This is "Maglev
/// hashing" of https://research.google/pubs/pub44824/. Heavy items get more turns: Edf gives them.
///
/// The table depends on the names and weights alone, in whatever order they come: every host, run
/// and version agrees. It never changes.
class Maglev {
 public:
  static constexpr std::uint32_t kEntries = 65'537;
  static constexpr std::size_t kMostItems = 65'535;

  struct Item {
    std::string_view name;  ///< borrowed by the constructor
    std::uint32_t weight;   ///< not 0
  };

  /// 1 to kMostItems items. With 100 items of equal weight, the most entries of one exceed the mean
  /// by 0.1 %; without one of them, 0.6 % of the entries move from one other to another.
  explicit Maglev(std::span<const Item> items);

  /// The place, in the constructor's argument, of the item for a client. `hash` is evenly
  /// distributed. For further tries, finalized(hash + number of the try) is another such hash.
  [[nodiscard]] std::size_t at(std::uint64_t hash) const { return table_[hash % kEntries]; }

 private:
  std::vector<std::uint16_t> table_;
};

}  // namespace sluice::balance
