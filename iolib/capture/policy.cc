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

}  // namespace sluice::capture
