#pragma once

#include <cstdint>

#include "tools/bench/exchanger.h"
#include "tools/bench/net.h"
#include "tools/bench/opening.h"
#include "tools/bench/protocol.h"

namespace sluice::bench {

/// Connects, exchanges a byte and closes, repeatedly, as an ordinary client would.
class Caller final : public Exchanger {
 public:
  /// `number` identifies the caller within the run. `threaded`: as in Hello. `control`, `to`
  /// and `opening` must outlive the caller.
  Caller(Control& control, const Pace& pace, const Endpoint& to, const Opening& opening,
         std::uint64_t run, std::uint32_t number, bool threaded);

 private:
  void exchange() override;

  const Endpoint& to_;
  const Opening& opening_;
  Hello hello_;
  std::uint64_t calls_ = 0;
};

}  // namespace sluice::bench
