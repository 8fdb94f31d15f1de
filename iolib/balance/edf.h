#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "iolib/balance/random.h"

namespace sluice::balance {

/// Weighted round-robin: earliest deadline first. An item of weight w has a deadline every 1/w, so
/// among any (sum of all weights) picks in a row each item has its weight, give or take one.
///
/// Items are numbers from 0; their weights are not 0. When they change, build another one. Used by
/// one thread.
class Edf {
 public:
  Edf() = default;
  /// All items have their first deadline at once, so the first picks are all items in order. The
  /// sequence depends on the weights alone.
  explicit Edf(std::span<const std::uint32_t> weights);
  /// Begins at a random place of the sequence: the first pick is an item with the probability of
  /// its weight, and the items after it have independent phases. So the workers and daemons that
  /// begin together do not begin with the same item, nor with the heavy ones.
  Edf(std::span<const std::uint32_t> weights, Random& random);

  /// Picks the earliest item for which `skip(item)` is false. Nothing if there is none.
  ///
  /// A skipped item keeps its place: it is picked as soon as it is no longer skipped. Then its next
  /// deadline counts from that pick, so it does not make up for the turns that it missed.
  ///
  /// Calls `skip` once, and at most twice more for each item that is skipped.
  template <class Skip>
  [[nodiscard]] std::optional<std::size_t> next(Skip&& skip) {
    const std::size_t found = earliest(skip, 0, heap_.size());
    if (found == heap_.size()) return std::nullopt;
    return pick(found);
  }

 private:
  /// In the heap, the earlier item is first; of two with the same deadline, the lower index.
  struct Item {
    std::uint64_t deadline;
    std::uint32_t index;
    std::uint32_t weight;

    [[nodiscard]] bool operator<(const Item& other) const {
      return deadline != other.deadline ? deadline < other.deadline : index < other.index;
    }
  };

  /// The earliest place, in the subtree of `root`, of an item that is not skipped, if it is earlier
  /// than `best`; else `best`. Initially `best` is the heap's size.
  template <class Skip>
  [[nodiscard]] std::size_t earliest(Skip& skip, std::size_t root, std::size_t best) const {
    if (root >= heap_.size()) return best;
    if (best < heap_.size() && heap_[best] < heap_[root]) return best;
    if (!skip(std::size_t{heap_[root].index})) return root;
    return earliest(skip, 2 * root + 2, earliest(skip, 2 * root + 1, best));
  }
  std::size_t pick(std::size_t place);
  void make_heap();
  void sift_down(std::size_t place);
  void restart_time();

  std::vector<Item> heap_;
  std::uint64_t now_ = 0;  ///< the latest deadline of a picked item
};

}  // namespace sluice::balance
