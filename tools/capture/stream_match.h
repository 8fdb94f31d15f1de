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

/// Told of a match: its offset in the stream, and its bytes.
using OnMatch = std::function<void(std::uint64_t offset, std::string_view bytes)>;

/// Finds a pattern in streams that come in pieces.
class StreamMatcher {
 public:
  /// What a stream needs between two pieces.
  struct Stream {
    std::size_t matched = 0;        ///< of a literal pattern: so much of it has come
    std::string kept = {};          ///< of a regular expression: the last bytes ...
    std::uint64_t kept_offset = 0;  ///< ... which begin here in the stream ...
    std::size_t from = 0;           ///< ... and in which the search goes on here
  };
  enum class End : bool { of_stream, of_what_is_known };

  /// Fails for a regular expression that is none.
  [[nodiscard]] static Result<std::unique_ptr<StreamMatcher>> create(const Pattern& pattern);
  virtual ~StreamMatcher() = default;
  StreamMatcher(const StreamMatcher&) = delete;
  StreamMatcher& operator=(const StreamMatcher&) = delete;

  /// `piece` follows what came before. Matches are told once they are complete: one that may go on
  /// in the next piece, then.
  virtual void find(std::string_view piece, std::uint64_t offset, Stream& stream,
                    const OnMatch& found) = 0;
  /// Nothing follows: of the stream, or for a gap's length. `stream` is as new.
  virtual void end(End what, Stream& stream, const OnMatch& found) = 0;

 protected:
  StreamMatcher() = default;
};

}  // namespace sluice::capture
