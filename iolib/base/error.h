#pragma once

#include <boost/system/result.hpp>
#include <string>
#include <utility>

namespace sluice {

/// What failed, and why.
///
/// `code` is an errno, or 0 when `context` alone is the whole message (a parse error, say).
/// `context` names the call or the input: "bind 0.0.0.0:80".
struct Error {
  int code = 0;
  std::string context;

  /// "context: strerror(code)", on one line.
  [[nodiscard]] std::string to_string() const;
};

/// The one way in which a function reports failure. Expected outcomes (would block, end of
/// stream) are values of T, never errors.
template <class T = void>
using Result = boost::system::result<T, Error>;

/// The calling thread's errno, with the call that set it.
[[nodiscard]] Error errno_error(std::string context);

/// Asked for by boost::system::result when value() is called on an error: a defect in the caller.
[[noreturn]] void throw_exception_from_error(const Error& error,
                                             const boost::source_location& where);

}  // namespace sluice
