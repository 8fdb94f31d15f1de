#include "proxy/upstream/route.h"

namespace sluice {
namespace {

SpliceMode splice_mode(ZeroCopy zero_copy) {
  switch (zero_copy) {
    case ZeroCopy::always:
      return SpliceMode::always;
    case ZeroCopy::never:
      return SpliceMode::never;
    case ZeroCopy::automatic:
      break;
  }
  return SpliceMode::automatic;
}

}  // namespace

Route make_route(std::size_t index, const RouteConfig& config) {
  Route route;
  route.index = index;
  route.config = config;
  route.relay.splice = splice_mode(config.zero_copy);
  route.relay.idle_timeout = config.idle_timeout;
  route.relay.half_close_timeout = config.half_close_timeout;
  route.relay.fin_confirms = is_sink(config);
  return route;
}

}  // namespace sluice
