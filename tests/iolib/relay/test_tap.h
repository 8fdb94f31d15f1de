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

/// A tap that compares every byte with a pattern, follows its contract, and checks that the pump
/// does, too. The test decides what it can take, what it holds back and what it does when called.
/// It is used on the loop's thread only.
class TestTap final : public Tap {
 public:
  explicit TestTap(test::Pattern pattern) : pattern_(pattern) {}

  // Set by the test.
  std::size_t can_take = std::numeric_limits<std::size_t>::max();  ///< decreases with each byte
  std::uint64_t hold_back_from = kNoLimit;
  bool wants_exact = false;
  bool stands = true;  ///< its allowance
  bool after = false;  ///< gets bytes after forwarding
  std::function<void()> at_append = [] {};
  std::function<void()> at_allowance = [] {};
  std::function<void()> at_end = [] {};  ///< called at eof, reset and closed

  // Observed.
  std::optional<std::uint64_t> first;  ///< the offset of the first byte
  std::uint64_t next = 0;              ///< the offset behind the last byte
  std::uint64_t bytes = 0;
  bool wrong_byte = false;
  bool out_of_order = false;  ///< a byte was missing, repeated or in the wrong place
  bool beyond_allowance = false;
  bool called_after_end = false;
  std::uint64_t overrun_bytes = 0;
  int by_reference = 0;  ///< calls with a pipe
  int eofs = 0;
  int resets = 0;
  std::uint64_t end_offset = 0;
  std::optional<StreamTotals> totals;

  /// Every byte came exactly once and in order, and never beyond the allowance.
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
