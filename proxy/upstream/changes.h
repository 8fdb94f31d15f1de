#pragma once

#include <cstdint>
#include <string_view>

#include "iolib/balance/token_bucket.h"
#include "iolib/base/clock.h"
#include "iolib/base/spinlock.h"
#include "proxy/log/log.h"

namespace sluice {

/// Logs the changes of servers' states, a line for each: at most kBurst at once and kPerSecond
/// later. Further ones are counted, and one line says how many. Any thread.
class ServerChanges {
 public:
  static constexpr std::uint64_t kBurst = 100;
  static constexpr std::uint64_t kPerSecond = 10;

  void log(TimePoint now, LogLevel level, std::string_view event,
           std::initializer_list<log::Field> fields);
  /// Logs how many changes were not logged since the last call, if there were any.
  void summarize();

 private:
  Spinlock lock_;
  balance::TokenBucket lines_{kPerSecond, kBurst};
  std::uint64_t unlogged_ = 0;
};

}  // namespace sluice
