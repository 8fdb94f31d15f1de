#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "iolib/base/clock.h"

namespace sluice::replay {

/// One line on a terminal, written over and over, and taken away at the end.
class Progress {
 public:
  Progress();
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  struct Figures {
    std::uint64_t begun = 0;
    std::uint64_t connections = 0;
    std::size_t open = 0;
    std::uint64_t sent_bytes = 0;
    std::uint64_t lag_ns = 0;
  };
  void show(const Figures& figures);

 private:
  const bool terminal_;
  bool shown_ = false;
  TimePoint last_;
  std::uint64_t last_bytes_ = 0;
};

}  // namespace sluice::replay
