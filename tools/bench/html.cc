#include "tools/bench/html.h"

namespace sluice::bench {
std::string to_html(const json::object& document) { return json::serialize(document); }
}  // namespace sluice::bench
