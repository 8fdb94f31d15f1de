#pragma once

#include <boost/system/result.hpp>
#include <string>
#include <utility>

namespace sluice {

/// What failed, and why.
///
/// `code` is an errno, or 0 if `context` is the whole message (for example a parse error).
/// `context` names the call or the input: "bind 0.0.0.0:80".
struct Error {
  int code = 0;
  std::string context;

  /// "context: strerror(code)", on one line.
  [[nodiscard]] std::string to_string() const;
};

/// The return type of every function that can fail. Expected outcomes (would block, end of stream)
/// are values of T, never errors.
template <class T = void>
using Result = boost::system::result<T, Error>;

/// An Error of the current errno. `context` names the call that set it.
[[nodiscard]] Error errno_error(std::string context);

/// boost::system::result calls this if value() is called on an error, which is a defect of the
/// caller.
[[noreturn]] void throw_exception_from_error(const Error& error,
                                             const boost::source_location& where);

}  // namespace sluice
