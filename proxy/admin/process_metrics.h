#pragma once

#include "proxy/admin/metrics.h"

namespace sluice::admin {

/// Adds what every exporter of Prometheus has about its own process: CPU time, memory, descriptors,
/// start. A family that the system does not tell is left out.
void add_process_metrics(MetricsWriter& metrics);

}  // namespace sluice::admin
