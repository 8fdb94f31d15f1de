#include "iolib/balance/maglev.h"

#include <algorithm>
#include <cassert>
#include <numeric>
#include <tuple>

#include "iolib/balance/edf.h"
#include "iolib/base/hash.h"

namespace sluice::balance {
namespace {

constexpr std::uint16_t kFree = Maglev::kMostItems;

/// All entries in an item's order: from the first by equal steps around the table. As the number of
/// entries is prime, this meets each of them once.
class Preference {
 public:
  explicit Preference(std::string_view name) {
    const std::uint64_t hash = fnv1a(std::as_bytes(std::span(name)));
    entry_ = static_cast<std::uint32_t>(finalized(hash) % Maglev::kEntries);
    step_ = static_cast<std::uint32_t>(1 + finalized(hash + 1) % (Maglev::kEntries - 1));
  }

  /// The first entry that is free. Those before it are taken and remain so.
  [[nodiscard]] std::uint16_t& take(std::vector<std::uint16_t>& table) {
    while (table[entry_] != kFree) entry_ = (entry_ + step_) % Maglev::kEntries;
    return table[entry_];
  }

 private:
  std::uint32_t entry_;
  std::uint32_t step_;
};

}  // namespace

Maglev::Maglev(std::span<const Item> items) : table_(kEntries, kFree) {
  assert(!items.empty() && items.size() <= kMostItems);
  std::vector<std::uint16_t> order(items.size());
  std::iota(order.begin(), order.end(), std::uint16_t{0});
  std::ranges::sort(order, {}, [&](std::uint16_t item) {
    return std::tuple(items[item].name, items[item].weight);
  });

  std::vector<Preference> preferences;
  std::vector<std::uint32_t> weights;
  for (const std::uint16_t item : order) {
    preferences.emplace_back(items[item].name);
    weights.push_back(items[item].weight);
  }
  Edf turns{weights};
  for (std::uint32_t taken = 0; taken < kEntries; ++taken) {
    const std::size_t turn = *turns.next([](std::size_t) { return false; });
    preferences[turn].take(table_) = order[turn];
  }
}

}  // namespace sluice::balance
