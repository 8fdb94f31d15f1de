#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "iolib/base/owned_fd.h"

namespace sluice::test {

/// How a path misbehaves. Offsets count the bytes that one connection has carried from client to
/// upstream (or back, with `downward`). Each fault happens once, on the first connection that gets
/// so far.
struct Meddling {
  std::chrono::milliseconds delay{0};  ///< before each chunk is forwarded, each way
  std::uint64_t corrupt_at = 0;        ///< the byte there is changed; 0: none
  std::uint64_t drop_at = 0;           ///< the byte there is lost; 0: none
  std::uint64_t cut_at = 0;            ///< the connection is closed there; 0: never
  std::uint64_t stall_at = 0;          ///< nothing is forwarded from there on; 0: never
  std::size_t stall_after = 0;  ///< this many connections work, all later ones stall; 0: never
  bool hold_end = false;        ///< no connection forwards the end of the stream
  bool downward = false;
};

/// A forwarder in this program, whose threads copy and meddle. Ends with the object.
class MeddlingPath {
 public:
  MeddlingPath(std::uint16_t upstream_port, const Meddling& meddling);
  ~MeddlingPath();
  MeddlingPath(const MeddlingPath&) = delete;
  MeddlingPath& operator=(const MeddlingPath&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  /// True once it has misbehaved as requested.
  [[nodiscard]] bool meddled() const { return meddled_; }

 private:
  struct Pair {
    OwnedFd client;
    OwnedFd upstream;
  };
  void accept_all();
  void copy(int from, int to, bool meddle, bool stalled);
  void stall();
  [[nodiscard]] bool meddle_with(std::vector<char>& chunk, std::uint64_t before);

  Meddling meddling_;
  std::uint16_t upstream_port_;
  OwnedFd listener_;
  std::uint16_t port_ = 0;
  std::atomic<bool> meddled_{false};
  std::atomic<bool> stopping_{false};
  std::mutex lock_;
  std::vector<std::unique_ptr<Pair>> pairs_;  ///< under lock_
  std::vector<std::thread> copiers_;          ///< under lock_
  std::thread acceptor_;
};

}  // namespace sluice::test
