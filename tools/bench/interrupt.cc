#include "tools/bench/interrupt.h"

#include "tools/bench/load.h"

namespace sluice::bench {

void check_interrupted() {
  if (interrupted()) throw Interrupted();
}

}  // namespace sluice::bench
