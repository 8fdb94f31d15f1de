#include "iolib/capture/policy.h"

namespace sluice::capture {

std::string_view to_string(Durability durability) {
  switch (durability) {
    case Durability::none:
      return "none";
    case Durability::interval:
      return "interval";
    case Durability::batch:
      return "batch";
    case Durability::before_forward:
      break;
  }
  return "before-forward";
}

std::string_view to_string(WhenFull policy) {
  switch (policy) {
    case WhenFull::block:
      return "block";
    case WhenFull::drop:
      return "drop";
    case WhenFull::close:
      break;
  }
  return "close";
}

}  // namespace sluice::capture
