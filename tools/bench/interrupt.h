#pragma once

#include "tools/common/interrupt.h"

namespace sluice::bench {

/// Throws Interrupted if a signal has asked the program to end.
void check_interrupted();

}  // namespace sluice::bench
