#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice {

/// What each worker counts.
enum class Counter : std::uint8_t {
  accepted,
  active,  ///< connections that are served now
  closed,  ///< ended without an error
  client_resets,
  upstream_resets,
  connect_failures,
  timeouts,  ///< idle or half-closed for too long
  stopped,   ///< ended by a drain deadline, a failed capture or a server that is down
  refused,   ///< not served: whoever connected may not, or did not say who it is
  bytes_to_upstream,
  bytes_to_client,
  bytes_spliced,
  pipe_shortages,
  accept_pauses,
};
inline constexpr std::size_t kCounters = static_cast<std::size_t>(Counter::accept_pauses) + 1;
inline constexpr std::array<std::string_view, kCounters> kCounterNames = {
    "accepted",         "active",        "closed",         "client_resets", "upstream_resets",
    "connect_failures", "timeouts",      "stopped",        "refused",       "bytes_to_upstream",
    "bytes_to_client",  "bytes_spliced", "pipe_shortages", "accept_pauses",
};

/// The counters of one worker. Only that worker writes them; any thread may read them. They have
/// cache lines of their own.
class alignas(64) Stats {
 public:
  void add(Counter counter, std::uint64_t amount = 1) {
    std::atomic<std::uint64_t>& value = values_[static_cast<std::size_t>(counter)];
    // There is one writer, so no locked instruction is needed.
    value.store(value.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  void subtract(Counter counter) { add(counter, ~std::uint64_t{0}); }
  [[nodiscard]] std::uint64_t get(Counter counter) const {
    return values_[static_cast<std::size_t>(counter)].load(std::memory_order_relaxed);
  }

 private:
  std::array<std::atomic<std::uint64_t>, kCounters> values_{};
};

}  // namespace sluice
