#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "iolib/base/clock.h"
#include "tools/common/status_line.h"

namespace sluice::replay {

/// Shows the progress of the replay; see StatusLine.
class Progress {
 public:
  Progress();

  struct Figures {
    std::uint64_t begun = 0;
    std::uint64_t connections = 0;
    std::size_t open = 0;
    std::uint64_t sent_bytes = 0;
    std::uint64_t lag_ns = 0;
    Duration next{};  ///< how long nothing will happen
  };
  void show(const Figures& figures);

 private:
  StatusLine line_;
  TimePoint last_;
  std::uint64_t last_bytes_ = 0;
};

}  // namespace sluice::replay
