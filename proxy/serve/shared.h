#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "iolib/pipe/pipe_pool.h"
#include "proxy/listen/places.h"
#include "proxy/log/repeated.h"
#include "proxy/serve/placement.h"
#include "proxy/taps/capture.h"
#include "proxy/taps/mirrors.h"
#include "proxy/upstream/changes.h"

namespace sluice {

class Worker;

/// What all workers share: the pipe pool, the places, and functions that hand work to the control
/// thread.
struct Shared {
  Shared(PipePool& its_pool, ServerChanges& changes, std::uint64_t max_connections,
         bool accepts_one_by_one)
      : pool(its_pool), server_changes(changes), places(max_connections, accepts_one_by_one) {}

  PipePool& pool;
  ServerChanges& server_changes;
  Places places;
  Placement placement = {};
  std::string id_prefix = {};  ///< prefix of connection ids; unique to this run of the program
  /// Called when all addresses of a server failed: they may be outdated. Any thread.
  std::function<void(std::size_t route, std::size_t server)> on_upstream_failed = {};
  /// Called when all addresses of a mirror failed. Any thread.
  std::function<void(const std::string& address)> on_mirror_failed = {};
  /// Called when all workers are draining and no connection is left. Any thread.
  std::function<void()> on_drained = {};
  std::vector<Worker*> workers = {};       ///< by number, once all are set up
  std::uint64_t mirror_buffers_bytes = 0;  ///< of each worker
  std::uint64_t mirror_descriptors = 0;    ///< likewise
  MirrorShedding mirror_shedding = {};
  std::atomic<std::uint64_t> mirror_streams{0};  ///< current streams of all workers
  std::atomic<std::size_t> workers_closed{0};    ///< number of workers that no longer accept
  Repeated pipe_shortages = {};
};

}  // namespace sluice
