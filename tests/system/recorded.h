#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "iolib/capture/format.h"
#include "tests/support/pattern.h"

namespace sluice::test {

/// One side's bytes as a reader reassembles them.
struct RecordedSide {
  struct Gap {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
    std::uint32_t reason = 0;
    friend bool operator==(const Gap&, const Gap&) = default;
  };
  std::uint64_t recorded = 0;  ///< bytes
  std::uint64_t reached = 0;   ///< the offset behind the last of them, or behind the last gap
  std::vector<Gap> gaps;
  capture::SideEnd end = capture::SideEnd::none;
  std::optional<std::uint64_t> mismatch;  ///< where it first differs from the expected bytes

  [[nodiscard]] std::uint64_t missing() const;
};

struct RecordedConnection {
  capture::OpenInfo open;
  std::array<RecordedSide, 2> sides;  ///< by Side
  std::optional<capture::CloseInfo> close;

  [[nodiscard]] const RecordedSide& client() const { return sides[0]; }
  [[nodiscard]] const RecordedSide& upstream() const { return sides[1]; }
};

/// What a capture contains.
struct Recorded {
  std::map<std::string, RecordedConnection> connections;  ///< by id
  std::size_t torn = 0;
  std::size_t lost = 0;
  std::size_t damaged = 0;
  std::size_t gaps = 0;
  std::size_t segments = 0;
  std::string findings;  ///< in words, one a line
  std::string error;     ///< why reading ended early

  /// The exit status of sluice-capture verify: 0 clean, 3 only a torn tail, 4 recorded gaps, 5
  /// damage.
  [[nodiscard]] int status() const;
  /// The connection with this client's address; null if there is none.
  [[nodiscard]] const RecordedConnection* from(const std::string& client) const;
  /// The only one; throws if there is not exactly one.
  [[nodiscard]] const RecordedConnection& only() const;
  [[nodiscard]] std::uint64_t bytes() const;
};

using OnRecorded = std::function<void(const RecordedConnection& connection, capture::Side side,
                                      std::uint64_t offset, std::span<const std::byte> bytes)>;
/// Reads the capture in a directory by the rules of iolib/capture/FORMAT.md. Does not keep bytes.
[[nodiscard]] Recorded read_capture(const std::string& directory, const OnRecorded& on_bytes = {});
/// The same, and compares every byte with the expected pattern of its connection and side.
using Expectation =
    std::function<Pattern(const RecordedConnection& connection, capture::Side side)>;
[[nodiscard]] Recorded check_capture(const std::string& directory, const Expectation& expected);

/// $SLUICE_CAPTURE, the tool that reads captures.
[[nodiscard]] std::string capture_tool();
/// The exit status of its `verify`.
[[nodiscard]] int verify_status(const std::string& directory);

/// The directory's segment files with this ending.
[[nodiscard]] std::vector<std::string> segments_in(const std::string& directory,
                                                   const std::string& suffix);

}  // namespace sluice::test
