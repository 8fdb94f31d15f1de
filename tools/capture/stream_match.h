#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "iolib/base/error.h"
#include "tools/capture/options.h"

namespace sluice::capture {

/// Called for each match, with its offset in the stream and its bytes.
using OnMatch = std::function<void(std::uint64_t offset, std::string_view bytes)>;

/// Finds a pattern in streams that arrive in pieces. One matcher serves any number of streams.
class StreamMatcher {
 public:
  /// A stream's state between two pieces.
  struct Stream {
    std::size_t matched = 0;        ///< literal: number of its bytes that match so far
    std::string kept = {};          ///< regular expression: the last bytes of the stream
    std::uint64_t kept_offset = 0;  ///< offset of `kept` in the stream
    std::size_t from = 0;           ///< index in `kept` at which the search continues
  };
  enum class End : bool { of_stream, of_what_is_known };

  /// Fails if the regular expression is invalid.
  [[nodiscard]] static Result<std::unique_ptr<StreamMatcher>> create(const Pattern& pattern);
  virtual ~StreamMatcher() = default;
  StreamMatcher(const StreamMatcher&) = delete;
  StreamMatcher& operator=(const StreamMatcher&) = delete;

  /// Searches the next piece of the stream, which begins at `offset`. Calls `found` for each match
  /// that is complete; one that may continue is reported with a later piece or by end().
  virtual void find(std::string_view piece, std::uint64_t offset, Stream& stream,
                    const OnMatch& found) = 0;
  /// The stream has ended, or a gap follows. Reports the last matches, and resets `stream`.
  virtual void end(End what, Stream& stream, const OnMatch& found) = 0;

 protected:
  StreamMatcher() = default;
};

}  // namespace sluice::capture
