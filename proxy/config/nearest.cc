#include "proxy/config/nearest.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "iolib/base/text.h"

namespace sluice {
namespace {

// The longest text that is compared. All names are much shorter, so longer text would only cost
// time.
constexpr std::size_t kLongestTyped = 64;

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  // Three rows of the table of distances between prefixes of a and b.
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t exchange = a[i - 1] == b[j - 1] ? 0 : 1;
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + exchange});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::string_view nearest_name(std::string_view typed, std::span<const std::string_view> names) {
  if (typed.empty() || typed.size() > kLongestTyped) return {};
  std::size_t allowed = std::max<std::size_t>(1, typed.size() / 3);
  std::string_view nearest;
  for (const std::string_view name : names) {
    const std::size_t distance = edit_distance(typed, name);
    // A name in which every letter changes does not count: "x" is one step from any letter.
    if (distance > allowed || distance >= name.size() || distance >= typed.size()) continue;
    nearest = name;
    if (distance == 0) break;
    allowed = distance - 1;
  }
  return nearest;
}

std::string suggestion(std::string_view typed, std::span<const std::string_view> names) {
  const std::string_view nearest = nearest_name(typed, names);
  return nearest.empty() ? "" : "; did you mean " + in_quotes(nearest) + "?";
}

}  // namespace sluice
