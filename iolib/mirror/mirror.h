#pragma once

#include <array>
#include <boost/intrusive/list.hpp>
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
#include "iolib/base/tally.h"
#include "iolib/mirror/breaker.h"
#include "iolib/mirror/pace.h"
#include "iolib/mirror/shedding.h"
#include "iolib/reactor/reactor.h"
#include "iolib/reactor/timer.h"

namespace sluice::mirror {

class Stream;

/// A stream's place in the queue of those that wait for their turn to connect.
class PlaceInLine : public boost::intrusive::list_base_hook<> {};

/// What happens when a connection's backlog exceeds StreamOptions::max_lag_bytes.
enum class OnLag : std::uint8_t {
  disconnect,  ///< the connection's stream ends with a reset
  shed,  ///< the same; also, no new connection is mirrored until the other streams have caught up
};

/// The settings of one connection's route.
struct StreamOptions {
  std::uint64_t connection = 0;           ///< the connection's number, for the owner's log
  std::uint64_t max_lag_bytes = 4 << 20;  ///< limit of the stream's backlog
  OnLag on_lag = OnLag::disconnect;
  Duration connect_timeout = std::chrono::seconds(5);
  bool choose_congestion = true;  ///< see choose_congestion_control()
};

/// What a mirror counts. `active`, `lag` and `waiting` are current values; the others only rise.
enum class Count : std::uint8_t {
  streams,     ///< streams that began, whether they connected or not
  active,      ///< streams that exist now, including those that outlive their connection
  bytes,       ///< bytes passed to the mirror's sockets
  copied,      ///< part of `bytes` that went through a backlog: gathered, or late
  lag,         ///< bytes in backlogs now
  waiting,     ///< streams that wait now for their turn to connect
  lagged,      ///< streams cut because they lagged
  shed,        ///< connections not mirrored because other streams lagged
  refused,     ///< connections not mirrored: the breaker is open, or no connect is answered
  crowded,     ///< connections not mirrored because there were too many streams
  failed,      ///< streams that could not connect
  ended,       ///< streams that the mirror broke off before it had all bytes
  unfinished,  ///< streams that the drain time or stop() ended before the mirror had everything
};
inline constexpr std::size_t kCounts = static_cast<std::size_t>(Count::unfinished) + 1;
inline constexpr std::array<std::string_view, kCounts> kCountNames = {
    "mirror_streams", "mirror_active", "mirror_bytes",     "mirror_copied",  "mirror_lag",
    "mirror_waiting", "mirror_lagged", "mirror_shed",      "mirror_refused", "mirror_crowded",
    "mirror_failed",  "mirror_ended",  "mirror_unfinished"};

/// What the owner may want to log: each change of state, and each stream that ended too early.
enum class Event : std::uint8_t {
  opened,       ///< the breaker opened: connects fail, or the mirror breaks streams off at once
  half_opened,  ///< the breaker is half open: one connection tries
  closed,       ///< the breaker closed: the mirror is back
  shedding,     ///< new connections are not mirrored, because a stream lags
  caught_up,    ///< the lagging streams have caught up; new connections are mirrored again
  paced,        ///< new streams wait for their turn to connect
  unpaced,      ///< no stream waits, and half a burst could connect at once
  crowded,      ///< new connections are not mirrored, because there are too many streams
  uncrowded,    ///< a quarter of the streams' places is free again
  lagged,       ///< a stream was cut because it lagged
  ended,        ///< the mirror broke a stream off
};

/// Why a stream was cut.
enum class Limit : std::uint8_t {
  lag,     ///< the backlog would exceed StreamOptions::max_lag_bytes
  budget,  ///< Options::budget_bytes, which all streams share, is used up
  hole,    ///< the stream missed bytes
};

/// Details of an event; each member is valid for the events that it names.
struct Detail {
  std::uint64_t connection = 0;  ///< lagged, ended: StreamOptions::connection
  Limit limit = Limit::lag;      ///< lagged
  Error error = {};              ///< opened, ended
};

/// One server that gets a copy of what clients send, as one thread sees it. Holds the streams to
/// the server, their common memory budget, and the breaker that keeps connections away while the
/// server is down.
///
/// Belongs to its reactor's thread, except count() and is_well(). Must outlive its streams: destroy
/// it after size() is 0, or after the reactor has run for the last time.
class Mirror : private Timer {
 public:
  /// How long a stream may outlive its connection. In this time it sends its backlog and waits for
  /// the mirror's end.
  static constexpr Duration kDrainTime = std::chrono::seconds(10);
  struct Options {
    std::size_t budget_bytes = 64 << 20;  ///< memory for all backlogs together
    std::size_t most_streams = 4096;
    std::uint32_t seed = 1;  ///< seed of the breaker's jitter
    Duration drain_time = kDrainTime;
    Shedding* shedding = nullptr;  ///< shared by all threads that mirror to this server; null: this
                                   ///< Mirror uses its own
  };
  /// The most unsent bytes in a socket (TCP_NOTSENT_LOWAT). Further bytes wait in the backlog,
  /// where they are counted. A mirror that never reads thus occupies little kernel memory.
  static constexpr int kUnsentBytes = 256 << 10;
  /// A stream gathers pieces until they reach this size or kGatherTime has passed. The first piece
  /// after a pause is sent at once. One send per small message would cost the worker as much as
  /// forwarding it.
  static constexpr std::size_t kGatherBytes = 16 << 10;
  static constexpr Duration kGatherTime = std::chrono::milliseconds(10);
  /// A stream waits this long after its connection began before it connects, so that the connect
  /// does not delay the connection's first bytes.
  static constexpr Duration kConnectPause = std::chrono::milliseconds(1);
  /// After this many connects without an answer, no stream connects until one is answered, once
  /// kAnswerTime has passed since the first of them. A healthy mirror answers a burst sooner. With
  /// a mirror that drops packets, each pending connect would hold a socket until it times out.
  static constexpr std::size_t kMostUnanswered = 64;
  static constexpr Duration kAnswerTime = std::chrono::milliseconds(50);
  /// A stream without an answer is broken off "at once" if the mirror breaks it off within this
  /// time after it connected, or before the mirror took a byte. A proxy whose servers are down does
  /// that. The second such stream in a row opens the breaker. A probe that connects closes the
  /// breaker after this time, or earlier if it ends in another way.
  static constexpr Duration kAtOnce = std::chrono::milliseconds(30);

  /// If `addresses` is empty, every stream fails as if the mirror were down.
  Mirror(Reactor& reactor, std::vector<Endpoint> addresses, const Options& options);
  ~Mirror() override;
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;

  /// Sets the addresses that new connects use.
  void set_addresses(std::vector<Endpoint> addresses) {
    addresses_ = std::make_shared<const std::vector<Endpoint>>(std::move(addresses));
  }

  /// Sets other limits: see Options. Streams that exceed them stay.
  void set_limits(std::size_t budget_bytes, std::size_t most_streams);

  /// Begins a stream, which the caller attaches as a tap. Returns null if the connection is not
  /// mirrored. The Mirror owns the stream.
  [[nodiscard]] Stream* open(const StreamOptions& options);
  /// Ends every stream with a reset. Each socket closes once nothing of it is in flight. Streams
  /// whose mirror lacks bytes count as unfinished.
  void stop();
  [[nodiscard]] std::size_t size() const { return streams_.size(); }

  /// Called from within a stream's turn; must not call the Mirror or a stream.
  std::function<void(Event, const Detail&)> on_event = [](Event, const Detail&) {};
  /// Called when a stream could not connect, its retry included, or when streams are broken off at
  /// once: the addresses may be outdated.
  std::function<void(const Error&)> on_failed = [](const Error&) {};
  /// Called when a stream begins, and when one is gone (from the reactor's turn).
  std::function<void()> on_began = [] {};
  std::function<void()> on_gone = [] {};

  /// The current value of a counter. Any thread.
  [[nodiscard]] std::uint64_t count(Count what) const {
    return counts_[static_cast<std::size_t>(what)].get();
  }

  /// Whether the breaker is closed. Any thread.
  [[nodiscard]] bool is_well() const { return breaker_.state() == Breaker::State::closed; }

 private:
  friend class Stream;

  void add(Count what, std::uint64_t amount = 1) {
    counts_[static_cast<std::size_t>(what)].add(amount);
  }
  void subtract(Count what, std::uint64_t amount = 1) {
    counts_[static_cast<std::size_t>(what)].subtract(amount);
  }

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
  std::shared_ptr<const std::vector<Endpoint>> addresses_;  ///< shared with pending connects
  std::size_t preferred_ = 0;  ///< index of the address that connected last
  std::size_t most_streams_;
  Duration drain_time_;
  ByteBudget budget_;
  Breaker breaker_;
  Pace pace_;  ///< interval: the drain time divided by most_streams
  std::list<Stream> streams_;
  /// The streams that wait for their turn to connect; empty: the timer is not set.
  boost::intrusive::list<PlaceInLine, boost::intrusive::constant_time_size<false>> line_;
  bool paced_ = false;
  std::size_t unanswered_ = 0;  ///< connects begun since the last one that succeeded or failed
  TimePoint first_unanswered_;  ///< when the first of these began
  Shedding own_shedding_;
  Shedding& shedding_;
  bool crowded_ = false;
  bool broken_off_ = false;       ///< the last stream that ended was broken off at once
  std::vector<std::byte> waste_;  ///< buffer for bytes that are discarded
  std::array<Tally, kCounts> counts_;
};

}  // namespace sluice::mirror
