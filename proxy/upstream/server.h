#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/base/endpoint.h"

namespace sluice {

/// What an operator has ordered for a server. It wins over everything that sluice finds out itself.
enum class Order : std::uint8_t {
  up,     ///< nothing
  drain,  ///< it gets no new connections; those that it has go on
  down,   ///< as if its health checks had found it down, for good
};
[[nodiscard]] constexpr std::string_view name_of(Order order) {
  constexpr std::string_view kNames[] = {"up", "drain", "down"};
  return kNames[static_cast<std::size_t>(order)];
}

/// What all threads know of one server; one cache line. It identifies the server: it outlives
/// changes of the server's addresses, name and weight.
struct alignas(64) ServerLoad {
  std::atomic<std::uint32_t> active{0};              ///< connects and connections
  std::atomic<std::uint32_t> others{0};              ///< the same, of processes it has replaced
  std::atomic<std::uint32_t> failures_in_row{0};     ///< connects that failed since one succeeded
  std::atomic<std::uint64_t> failures{0};            ///< connects that failed through its fault
  std::atomic<std::uint64_t> inherited_failures{0};  ///< of processes that this one has replaced
  std::atomic<std::uint32_t> ejections{0};           ///< since it was last used
  std::atomic<Duration::rep> ejected_until{0};  ///< time since the epoch of TimePoint; 0: it is not
  std::atomic<bool> down{false};                ///< found by its health checks
  std::atomic<std::uint8_t> falls{0};           ///< how often it went down, modulo 256
  std::atomic<Order> order{Order::up};          ///< the control thread sets it

  /// The connects that failed through its fault, in this process and those that it has replaced.
  [[nodiscard]] std::uint64_t all_failures() const {
    return failures.load(std::memory_order_relaxed) +
           inherited_failures.load(std::memory_order_relaxed);
  }
  /// What counts against its limit: connects and connections of this process and of those that it
  /// has replaced.
  [[nodiscard]] std::uint64_t used() const {
    return std::uint64_t{active.load(std::memory_order_relaxed)} +
           others.load(std::memory_order_relaxed);
  }
  /// Whether an operator lets it have new connections.
  [[nodiscard]] bool is_allowed() const {
    return order.load(std::memory_order_relaxed) == Order::up;
  }
};
static_assert(sizeof(ServerLoad) == 64);

/// A server of a route. It never changes, except for `preferred`: a new look-up of its name makes a
/// new one with the same load. All workers share it.
struct Server {
  static constexpr std::uint32_t kNoLimit = 0xffff'ffff;

  std::size_t index = 0;     ///< of what it comes from, in the route's `to`: it or its name
  std::string name;          ///< its address as configured, or see NamedServer
  std::uint32_t weight = 1;  ///< 0: gets no connections
  bool backup = false;
  std::uint32_t most = kNoLimit;     ///< connects and connections at a time
  std::vector<Endpoint> endpoints;   ///< its addresses, in the order to try
  std::shared_ptr<ServerLoad> load;  ///< never null
  /// Index of the address that connected last; the next connect begins with it.
  mutable std::atomic<std::uint16_t> preferred{0};

  /// Whether it has as many connections as it may.
  [[nodiscard]] bool is_full() const { return most != kNoLimit && load->used() >= most; }
};
using ServerRef = std::shared_ptr<const Server>;

/// A server that a connection uses. Counts in the server's load until it is destroyed or gets
/// another server.
class ServerUse {
 public:
  ServerUse() = default;
  /// Of a server; of none if it is full.
  explicit ServerUse(ServerRef server) {
    if (!take(*server)) return;
    server_ = std::move(server);
    falls_ = server_->load->falls.load(std::memory_order_acquire);
  }
  ~ServerUse() {
    if (server_) server_->load->active.fetch_sub(1, std::memory_order_relaxed);
  }
  ServerUse(const ServerUse&) = delete;
  ServerUse& operator=(const ServerUse&) = delete;
  ServerUse(ServerUse&& other) noexcept = default;
  ServerUse& operator=(ServerUse&& other) noexcept {
    std::swap(server_, other.server_);
    std::swap(falls_, other.falls_);
    return *this;
  }

  /// Null if there is none.
  [[nodiscard]] const ServerRef& get() const { return server_; }
  const Server* operator->() const { return server_.get(); }
  explicit operator bool() const { return server_ != nullptr; }
  /// Whether health checks or an operator took the server down since the use began.
  [[nodiscard]] bool has_fallen() const {
    if (server_ == nullptr) return false;
    const ServerLoad& load = *server_->load;
    // The order alone counts if the server was picked just before it.
    return load.falls.load(std::memory_order_acquire) != falls_ ||
           load.order.load(std::memory_order_relaxed) == Order::down;
  }

 private:
  // Exact, so that the server never gets one connection more.
  static bool take(const Server& server) {
    std::atomic<std::uint32_t>& active = server.load->active;
    if (server.most == Server::kNoLimit) {
      active.fetch_add(1, std::memory_order_relaxed);
      return true;
    }
    std::uint32_t now = active.load(std::memory_order_relaxed);
    const std::atomic<std::uint32_t>& others = server.load->others;
    while (std::uint64_t{now} + others.load(std::memory_order_relaxed) < server.most) {
      if (active.compare_exchange_weak(now, now + 1, std::memory_order_relaxed)) return true;
    }
    return false;
  }

  ServerRef server_;
  std::uint8_t falls_ = 0;
};

}  // namespace sluice
