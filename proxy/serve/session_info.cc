#include "proxy/serve/session_info.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace sluice {

SessionPage joined(std::vector<SessionPage> pages, std::size_t limit) {
  SessionPage all;
  for (SessionPage& page : pages) {
    all.more = all.more || page.more;
    std::ranges::move(page.items, std::back_inserter(all.items));
  }
  std::ranges::sort(all.items, {}, &SessionPage::Item::place);
  if (all.items.size() > limit) {
    all.items.resize(limit);
    all.more = true;
  }
  return all;
}

}  // namespace sluice
