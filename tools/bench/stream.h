#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "tools/bench/content.h"
#include "tools/bench/engine.h"
#include "tools/bench/workload.h"

namespace sluice::bench {

/// The bytes that passed at one end of one connection. Written by its loop; any thread may read
/// them.
struct StreamCounts {
  std::atomic<std::uint64_t> sent{0};
  std::atomic<std::uint64_t> received{0};
};

struct StreamOptions {
  const char* who = "end";   ///< begins the text of a Failure
  std::uint64_t number = 0;  ///< the connection's number, which selects its part of the content
  bool send = false;         ///< sends until the stop
  bool receive = false;      ///< receives until the end of the stream
  std::uint64_t limit = ~std::uint64_t{0};  ///< the most bytes to send; then it ends its stream
  Ends ends = Ends::zero_copy;
  bool verify_all = false;            ///< receive and compare every byte
  std::uint64_t read_rate_bytes = 0;  ///< per second; 0: unlimited
};

/// One end of a streaming connection. Plain ends compare every byte that they receive. Zero-copy
/// ends drop bytes unread (tcp(7), MSG_TRUNC) and count them, but receive and compare kSampleBytes
/// of every kSampleEveryBytes.
class Stream final : public Connection {
 public:
  static constexpr std::uint64_t kSampleEveryBytes = 16 << 20;
  static constexpr std::size_t kSampleBytes = 32 << 10;

  Stream(OwnedFd fd, StreamCounts& counts, const StreamOptions& options);

 private:
  bool start() override;
  bool on_ready(std::uint32_t events) override;
  bool on_alarm(std::uint64_t now) override;
  bool on_stop() override;

  void send_turn();
  void receive_turn();
  std::size_t receive_at_most(std::size_t most, bool compare);
  void end_sending();
  void update_interest();
  [[nodiscard]] bool finished() const { return !sending_ && ended_; }

  StreamCounts& counts_;
  StreamOptions options_;
  const Content& content_ = Content::instance();
  std::uint64_t start_;
  std::uint64_t next_sample_ = 0;
  std::uint64_t rate_began_ = 0;
  std::uint64_t rate_bytes_ = 0;
  bool sending_;
  bool ended_ = false;
  bool resting_ = false;  ///< a slow reader between two reads, or at the end
};

}  // namespace sluice::bench
