// The splicing half of Pump; the rest is in pump.cc.

#include <algorithm>
#include <cassert>
#include <limits>

#include "iolib/relay/pump.h"
#include "iolib/relay/relay.h"

namespace sluice {

// One large splice in and one out; then the next connection has its turn. With many connections,
// more than one pair a turn is slower.
void Pump::splice_turn() {
  const std::size_t most = turn_allowance(std::numeric_limits<std::size_t>::max());
  if (most == 0) return;
  if (!take_pipe()) {
    stop_streaming();
    return;
  }
  assert(held_bytes() == 0);
  const Transfer in = splice_in(source_.fd(), *pipe_, most);
  if (throttle_) spend(in.bytes);
  switch (in.status) {
    case Transfer::Status::moved:
      received_bytes_ += in.bytes;
      last_activity_ = relay_.context_->reactor.now();
      judge_turn(in.bytes);
      return flush_pipe();
    case Transfer::Status::failed:
      // The call took the error away. An urgent byte may stand before it, which only a receive can
      // take.
      source_.mark_reset();
      stop_streaming();
      return;
    case Transfer::Status::end:
      // Only a receive can tell the end. After the FIN has come, splice also returns 0 before
      // urgent data, with all later bytes unread.
    case Transfer::Status::would_block:
      // The socket is readable and the pipe is empty, but splice moves nothing: there is urgent
      // data, which only a receive can take.
      stop_streaming();
  }
}

// Takes a pipe for the direction, and one for the taps if there are any. Returns false if the
// direction must copy.
bool Pump::take_pipe() {
  if (taps_ && taps_->exact()) return false;
  PipeShortage shortage = PipeShortage::none;
  RelayContext& context = *relay_.context_;
  if (!pipe_) pipe_ = context.pool.acquire(&shortage);
  if (taps_ && pipe_ && !context.tap_pipe) context.tap_pipe = context.pool.acquire(&shortage);
  if (pipe_ && (!taps_ || context.tap_pipe)) return true;
  pipe_.release();
  context.no_pipes_until = context.reactor.now() + RelayContext::kShortagePause;
  if (context.on_shortage) context.on_shortage(shortage);
  return false;
}

void Pump::judge_turn(std::size_t bytes) {
  ++relay_.context_->spliced_turns;
  switch (promotion_.spliced(bytes, thread_turns())) {
    case Promotion::Finding::heavy:
      return follow_promotion();
    case Promotion::Finding::small:
      if (relay_.options_.splice != SpliceMode::always) stop_streaming();
      return;
    case Promotion::Finding::nothing:
      break;
  }
}

void Pump::stop_streaming() {
  promotion_.demote();
  follow_promotion();
}

// tidy() ends the patience of a stream that has been silent.
void Pump::follow_promotion() {
  source_.set_receive_low_water(promotion_.patient() ? Promotion::kLowWaterBytes : 1);
  relay_.count_streams();
}

std::uint32_t Pump::thread_turns() const { return relay_.context_->spliced_turns; }

// Sends the bytes in the pipe. Without taps, it sends all at once. With taps, it sends tee by tee:
// only bytes that the taps have seen may go, and a tee repeats bytes that were not consumed.
void Pump::flush_pipe() {
  while (!pipe_->empty()) {
    forget_detached();
    if (taps_ && shown_bytes_ == 0 && !show_taps()) return;
    const std::size_t may_go = forwardable_bytes();
    if (may_go == 0) return;
    const Transfer out = splice_out(*pipe_, target_.fd(), may_go);
    if (out.status == Transfer::Status::would_block) return;
    if (out.status != Transfer::Status::moved) return target_.mark_reset();
    moved_out(out.bytes, true);
    if (taps_) shown_bytes_ -= static_cast<std::uint32_t>(out.bytes);
    if (out.bytes < may_go) return;
  }
}

// Duplicates the bytes in the pipe for the taps. If the kernel refuses (no memory), shows the taps
// a copy of the first bytes instead and returns false.
bool Pump::show_taps() {
  const std::uint64_t offset = received_bytes_ - pipe_->held_bytes();
  shown_bytes_ = static_cast<std::uint32_t>(
      taps_->tee(offset, *pipe_, *relay_.context_->tap_pipe, pipe_->held_bytes()));
  if (shown_bytes_ > 0) return true;
  copy_pipe_to_heap();
  taps_->append(offset, held_.front());
  taps_->append_after(offset, held_.front());
  stop_streaming();
  return false;
}

// Moves the first kMaxHeldBytes from the pipe to the heap, in one piece. Returns the pipe to the
// pool if it is then empty.
void Pump::copy_pipe_to_heap() {
  assert(held_.empty());
  std::size_t left = std::min(pipe_->held_bytes(), kMaxHeldBytes);
  while (left > 0) {
    const Transfer out = read_out(*pipe_, held_.space(left).data(), left);
    if (out.status != Transfer::Status::moved) break;
    held_.commit(out.bytes);
    left -= out.bytes;
  }
  if (pipe_->empty()) pipe_.release();
}

}  // namespace sluice
