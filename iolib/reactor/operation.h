#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "iolib/reactor/loop.h"

namespace sluice {

/// The result of a request, or one of several results of a request that stays in flight.
struct Completion {
  int result = 0;     ///< number of bytes, a descriptor, poll events; or -errno
  bool more = false;  ///< accept and watch_errors only: the request stays in flight
  /// receive only: the received bytes, in a shared buffer that is valid until complete() returns.
  /// See also Reactor::send.
  std::span<const std::byte> data;
};

/// One request at a Reactor. It is in flight until complete() is called with `more` false, or until
/// the loop ends. Meanwhile the owner keeps it at one address and starts no second request on it.
class Operation {
 public:
  Operation() = default;
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  virtual ~Operation() { assert(!in_flight_ || !loop_runs); }
  [[nodiscard]] bool in_flight() const { return in_flight_; }

 private:
  friend class Reactor;
  friend class UringReactor;
  friend class AsioReactor;
  friend class Disk;
  friend class OperationQueue;
  /// Called on the reactor's thread. May start the next request on this operation, or destroy it.
  virtual void complete(const Completion& completion) = 0;

  Operation* next_ = nullptr;  ///< link in a queue of the reactor
  int fd_ = -1;
  std::uint32_t max_bytes_ = 0;  ///< receive only
  std::uint8_t kind_ = 0;        ///< meaning defined by the reactor
  bool in_flight_ = false;
  bool cancelled_ = false;
  std::uint16_t events_ = 0;  ///< poll events that a standing poll found, until it has ended
};

/// A reactor's queue of operations in flight: to make again, or to complete later.
class OperationQueue {
 public:
  OperationQueue() = default;
  OperationQueue(const OperationQueue&) = delete;
  OperationQueue& operator=(const OperationQueue&) = delete;
  [[nodiscard]] bool empty() const { return first_ == nullptr; }
  void add(Operation& operation) {
    operation.next_ = nullptr;
    *end_ = &operation;
    end_ = &operation.next_;
  }
  /// Takes the operations that are queued now, and calls `call` for each in order. One that is
  /// added meanwhile waits for the next run.
  template <class Call>
  void run(Call call) {
    Operation* operation = std::exchange(first_, nullptr);
    end_ = &first_;
    while (operation != nullptr) {
      Operation& next = *std::exchange(operation, operation->next_);
      call(next);
    }
  }

 private:
  Operation* first_ = nullptr;
  Operation** end_ = &first_;
};

}  // namespace sluice
