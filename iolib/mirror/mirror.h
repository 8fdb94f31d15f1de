#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "iolib/base/byte_queue.h"
#include "iolib/base/clock.h"
#include "iolib/base/endpoint.h"
#include "iolib/base/error.h"
#include "iolib/mirror/breaker.h"
#include "iolib/mirror/pace.h"
#include "iolib/mirror/shedding.h"
#include "iolib/reactor/reactor.h"
#include "iolib/reactor/timer.h"

namespace sluice::mirror {

class Stream;

/// What happens beyond the lag that a connection's mirror may have.
enum class OnLag : std::uint8_t {
  disconnect,  ///< that connection's mirror ends with a reset
  shed,        ///< besides, no new connection is mirrored until the others have caught up
};

/// What one connection's route asks for.
struct StreamOptions {
  std::uint64_t connection = 0;           ///< its number, for the owner's log
  std::uint64_t max_lag_bytes = 4 << 20;  ///< that may wait for the mirror
  OnLag on_lag = OnLag::disconnect;
  Duration connect_timeout = std::chrono::seconds(5);
  bool choose_congestion = true;  ///< see choose_congestion_control()
};

/// What is counted.
enum class Count : std::uint8_t {
  streams,     ///< connections that were mirrored, or were to be
  active,      ///< at this moment, with those that outlive their connection
  bytes,       ///< handed to the mirror's sockets
  copied,      ///< of these, through a backlog: gathered, or late
  lag,         ///< bytes in backlogs at this moment
  waiting,     ///< streams that wait for their turn to connect, at this moment
  lagged,      ///< streams that were cut because of their lag
  shed,        ///< connections kept away because others lagged
  refused,     ///< connections kept away by the breaker, or since nobody has got an answer yet
  crowded,     ///< connections kept away because there were too many streams
  failed,      ///< streams that could not connect
  ended,       ///< streams that the mirror broke off before it had everything
  unfinished,  ///< streams that were cut at their end, or stopped, with something yet to come
};
inline constexpr std::size_t kCounts = static_cast<std::size_t>(Count::unfinished) + 1;
inline constexpr std::array<std::string_view, kCounts> kCountNames = {
    "mirror_streams", "mirror_active", "mirror_bytes",     "mirror_copied",  "mirror_lag",
    "mirror_waiting", "mirror_lagged", "mirror_shed",      "mirror_refused", "mirror_crowded",
    "mirror_failed",  "mirror_ended",  "mirror_unfinished"};

/// What its owner may want to log: each change of state, and each stream that ended too early.
enum class Event : std::uint8_t {
  opened,       ///< the breaker: it cannot be connected to, or breaks off at once
  half_opened,  ///< the breaker: one connection tries
  closed,       ///< the breaker: it is back
  shedding,     ///< new connections are kept away, since one lags
  caught_up,    ///< and are not any more
  paced,        ///< streams have to wait for their turn to connect
  unpaced,      ///< and have not any more: half a burst could connect at once
  crowded,      ///< connections are kept away, since there are too many streams
  uncrowded,    ///< a quarter of the places is free again
  lagged,       ///< a stream was cut because of its lag
  ended,        ///< the mirror broke a stream off
};

/// Why a stream was cut.
enum class Limit : std::uint8_t {
  lag,     ///< more would wait than StreamOptions::max_lag_bytes
  budget,  ///< no memory is left for all streams together
  hole,    ///< it missed bytes
};

/// What there is to say about an event, as far as it applies.
struct Detail {
  std::uint64_t connection = 0;  ///< of lagged and ended: the StreamOptions'
  Limit limit = Limit::lag;      ///< of lagged
  Error error = {};              ///< of opened and ended
};

/// One server that gets a copy of what clients send, as one thread sees it: the streams to it, what
/// they may hold together, and the breaker that keeps connections away while it is down.
///
/// Belongs to its reactor's thread, but for count(). Must outlive its streams: destroyed after
/// size() is 0, or after the reactor has run for the last time.
class Mirror : private Timer {
 public:
  /// How long a stream may outlive its connection, to pass on what waits and to see the mirror's
  /// end.
  static constexpr Duration kDrainTime = std::chrono::seconds(10);
  struct Options {
    std::size_t budget_bytes = 64 << 20;  ///< of memory, for all backlogs together
    std::size_t most_streams = 4096;
    std::uint32_t seed = 1;  ///< of the breaker's jitter
    Duration drain_time = kDrainTime;
    Shedding* shedding = nullptr;  ///< of all threads that mirror to this server; null: alone
  };
  /// A socket holds no more than this unsent (TCP_NOTSENT_LOWAT): what waits for the mirror waits
  /// where it is counted, and a mirror that never reads pins little of the kernel's memory.
  static constexpr int kUnsentBytes = 256 << 10;
  /// Pieces that are smaller than this together are gathered for so long, but for the first after a
  /// pause: a call for each message would cost the worker as much as forwarding it does.
  static constexpr std::size_t kGatherBytes = 16 << 10;
  static constexpr Duration kGatherTime = std::chrono::milliseconds(10);
  /// A stream connects so long after its connection began: what that costs is then not in the way
  /// of the connection's first bytes.
  static constexpr Duration kConnectPause = std::chrono::milliseconds(1);
  /// So many streams may connect, and then no more until one is answered, if the first of them has
  /// waited for kAnswerTime. A mirror that is well answers a burst sooner than that; one that drops
  /// what it is sent keeps its connects under way until they time out, and each has a socket.
  static constexpr std::size_t kMostUnanswered = 64;
  static constexpr Duration kAnswerTime = std::chrono::milliseconds(50);
  /// A stream that the mirror breaks off within this, or before it took a byte, and never answered,
  /// says that there is nobody behind the address, as with a proxy whose servers are down. The
  /// second in a row opens the breaker, and the probe's success is not certain before.
  static constexpr Duration kAtOnce = std::chrono::milliseconds(30);

  /// Without addresses it is down, as far as is known.
  Mirror(Reactor& reactor, std::vector<Endpoint> addresses, const Options& options);
  ~Mirror() override;
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;

  /// Where streams connect from now on.
  void set_addresses(std::vector<Endpoint> addresses) {
    addresses_ = std::make_shared<const std::vector<Endpoint>>(std::move(addresses));
  }

  /// Begins a stream, which the caller attaches as a tap; null if the connection is not mirrored.
  [[nodiscard]] Stream* open(const StreamOptions& options);
  /// Ends every stream with a reset, soon; those whose mirror lacks something by then count as
  /// unfinished.
  void stop();
  [[nodiscard]] std::size_t size() const { return streams_.size(); }

  /// Called within the streams' own turns; they may not call back.
  std::function<void(Event, const Detail&)> on_event = [](Event, const Detail&) {};
  /// A stream could not connect, its retry included, or streams are broken off at once: the
  /// addresses may be outdated.
  std::function<void(const Error&)> on_failed = [](const Error&) {};
  /// A stream begins; and one is gone, from the reactor's turn.
  std::function<void()> on_began = [] {};
  std::function<void()> on_gone = [] {};

  /// Any thread.
  [[nodiscard]] std::uint64_t count(Count what) const {
    return counts_[static_cast<std::size_t>(what)].load(std::memory_order_relaxed);
  }

 private:
  friend class Stream;

  void add(Count what, std::uint64_t amount = 1) {
    std::atomic<std::uint64_t>& value = counts_[static_cast<std::size_t>(what)];
    // The only writer needs no locked instruction.
    value.store(value.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  void subtract(Count what, std::uint64_t amount = 1) { add(what, ~amount + 1); }

  /// The breaker keeps nobody away.
  [[nodiscard]] bool is_well() const { return breaker_.state() == Breaker::State::closed; }
  [[nodiscard]] bool silent() const;
  void connects();
  [[nodiscard]] bool admit();
  void join_line(Stream& stream);
  void leave_line(Stream& stream);
  void serve_line();
  void expired() override { serve_line(); }
  [[nodiscard]] TimePoint next_turn() const;
  void sign_of_life();
  void place_left();
  void look_at_line();
  void connected(std::size_t address);
  void connect_failed(const Error& error, bool probe);
  void failed(const Error& error, bool probe);
  void broken_off(const Stream& stream, const Error& error, bool at_once);
  void lasted(bool proves);
  void lagged(const Stream& stream, Limit limit);
  void fell_behind() { shedding_.fell_behind(); }
  void caught_up();
  void keep_out();
  void let_in();
  void remove(Stream& stream);

  Reactor& reactor_;
  std::shared_ptr<const std::vector<Endpoint>> addresses_;  ///< shared with those that connect
  std::size_t preferred_ = 0;                               ///< the address that connected last
  std::size_t most_streams_;
  Duration drain_time_;
  ByteBudget budget_;
  Breaker breaker_;
  Pace pace_;  ///< at which places become free if nothing else frees them
  std::list<Stream> streams_;
  std::list<Stream*> line_;  ///< those that may not connect yet; empty: the timer is not set
  bool paced_ = false;
  std::size_t unanswered_ = 0;  ///< streams that connect, since one was answered, well or not
  TimePoint first_unanswered_;  ///< when the first of them did
  Shedding own_shedding_;
  Shedding& shedding_;
  bool crowded_ = false;
  bool broken_off_ = false;       ///< the last stream that ended was, at once
  std::vector<std::byte> waste_;  ///< where answers go that the kernel cannot drop by itself
  std::array<std::atomic<std::uint64_t>, kCounts> counts_{};
};

}  // namespace sluice::mirror
