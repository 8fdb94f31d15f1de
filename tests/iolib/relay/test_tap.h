#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "iolib/pipe/splice.h"
#include "iolib/relay/tap.h"
#include "tests/support/pattern.h"

namespace sluice {

/// A tap that compares every byte with a pattern, keeps to its contract, and watches that the pump
/// keeps to it too. What it can take, what it holds back and what it does when it is called is
/// the test's. All of it belongs to the loop's thread.
class TestTap final : public Tap {
 public:
  explicit TestTap(test::Pattern pattern) : pattern_(pattern) {}

  // Knobs.
  std::size_t can_take = std::numeric_limits<std::size_t>::max();  ///< goes down with what it gets
  std::uint64_t hold_back_from = kNoLimit;
  bool wants_exact = false;
  bool stands = true;  ///< its allowance
  bool after = false;  ///< forwarding
  std::function<void()> at_append = [] {};
  std::function<void()> at_allowance = [] {};
  std::function<void()> at_end = [] {};  ///< eof, reset and closed

  // What it saw.
  std::optional<std::uint64_t> first;  ///< the offset of the first byte
  std::uint64_t next = 0;              ///< the offset behind the last one
  std::uint64_t bytes = 0;
  bool wrong_byte = false;
  bool out_of_order = false;  ///< a byte missing, repeated, or in the wrong place
  bool beyond_allowance = false;
  bool called_after_end = false;
  std::uint64_t overrun_bytes = 0;
  int by_reference = 0;  ///< calls with a pipe
  int eofs = 0;
  int resets = 0;
  std::uint64_t end_offset = 0;
  std::optional<StreamTotals> totals;

  /// Every byte exactly once, in order, and never too much at a time.
  [[nodiscard]] bool content() const {
    return !wrong_byte && !out_of_order && !beyond_allowance && !called_after_end &&
           overrun_bytes == 0;
  }

  std::size_t allowance() override {
    at_allowance();
    return can_take;
  }
  [[nodiscard]] bool allowance_stands() override { return stands; }
  void append(std::uint64_t offset, std::span<const std::byte> data) override {
    take(offset, data);
    at_append();
  }
  void append(std::uint64_t offset, Pipe& pipe) override {
    ++by_reference;
    std::array<std::byte, 8192> part;
    while (!pipe.empty()) {
      const Transfer out = read_out(pipe, part.data(), part.size());
      if (out.status != Transfer::Status::moved) {
        out_of_order = true;
        return;
      }
      take(offset, std::span(part).first(out.bytes));
      offset += out.bytes;
    }
    at_append();
  }
  void overrun(std::uint64_t offset, std::uint64_t size) override {
    if (offset != next) out_of_order = true;
    next = offset + size;
    overrun_bytes += size;
  }
  [[nodiscard]] std::uint64_t watermark() const override { return hold_back_from; }
  [[nodiscard]] bool exact() const override { return wants_exact; }
  [[nodiscard]] bool after_forwarding() const override { return after; }
  void eof(std::uint64_t offset) override {
    ++eofs;
    end_offset = offset;
    at_end();
  }
  void reset(std::uint64_t offset) override {
    ++resets;
    end_offset = offset;
    at_end();
  }
  void closed(const StreamTotals& closing) override {
    if (totals) called_after_end = true;
    totals = closing;
    at_end();
  }

 private:
  void take(std::uint64_t offset, std::span<const std::byte> data) {
    if (eofs + resets > 0) called_after_end = true;
    if (!first) first = next = offset;
    if (offset != next) out_of_order = true;
    if (pattern_.first_mismatch(offset, data)) wrong_byte = true;
    if (data.size() > can_take) beyond_allowance = true;
    can_take -= std::min(can_take, data.size());
    next = offset + data.size();
    bytes += data.size();
  }

  test::Pattern pattern_;
};

}  // namespace sluice
