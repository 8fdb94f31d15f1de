#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "iolib/pipe/pipe.h"
#include "iolib/relay/tap.h"

namespace sluice {

/// The taps of one direction, in the order in which they are served. The first tap decides how much
/// of a tee is forwarded. Borrows the taps. Used by one thread.
class TapSet {
 public:
  void attach(Tap& tap) { taps_.push_back(&tap); }
  /// May be called from within a tap's own call.
  void detach(Tap& tap);
  [[nodiscard]] bool empty() const;
  [[nodiscard]] std::size_t size() const;

  /// The smallest allowance of all taps.
  [[nodiscard]] std::size_t allowance();
  /// Whether every tap's allowance stands.
  [[nodiscard]] bool allowance_stands();
  /// The lowest watermark.
  [[nodiscard]] std::uint64_t watermark() const;
  [[nodiscard]] bool exact() const;

  /// Shows copied bytes to the taps that see them before they are forwarded.
  void append(std::uint64_t offset, std::span<const std::byte> bytes);
  /// Whether some taps still wait for append_after(), once the bytes are forwarded.
  [[nodiscard]] bool owes() const { return owed_ > 0; }
  void append_after(std::uint64_t offset, std::span<const std::byte> bytes);
  /// Duplicates up to `max_bytes` from the head of `source` through `tap_pipe` to each tap.
  /// `tap_pipe` must be empty and have at least as many slots. Returns how many bytes the first tap
  /// got; these may now be forwarded. A later tap that got fewer has an overrun. Returns 0 if tee
  /// gave nothing.
  [[nodiscard]] std::size_t tee(std::uint64_t offset, const Pipe& source, Pipe& tap_pipe,
                                std::size_t max_bytes);

  /// Whether every tap lets the end pass.
  [[nodiscard]] bool may_end(std::uint64_t offset);
  void eof(std::uint64_t offset);
  void reset(std::uint64_t offset);
  void closed(const StreamTotals& totals);

 private:
  // While one exists, a detached tap is only set to null, and an attached tap is not served yet.
  // They may nest.
  class Serving {
   public:
    explicit Serving(TapSet& set)
        : count(set.taps_.size()), set_(set), nested_(std::exchange(set.serving_, true)) {}
    ~Serving() {
      if (nested_) return;
      set_.serving_ = false;
      if (!set_.owes()) std::erase(set_.taps_, nullptr);
    }
    Serving(const Serving&) = delete;
    Serving& operator=(const Serving&) = delete;

    const std::size_t count;  ///< taps to serve

   private:
    TapSet& set_;
    const bool nested_;
  };
  template <class Call>
  void each(Call call);
  template <class Call>
  void call_first(std::size_t count, Call call);

  std::vector<Tap*> taps_;  ///< null: detached while the taps were being served
  std::size_t owed_ = 0;    ///< the first taps; some of them wait for append_after()
  bool serving_ = false;
};

}  // namespace sluice
