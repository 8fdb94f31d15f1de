#include "iolib/base/error.h"

#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace sluice {

std::string Error::to_string() const {
  if (code == 0) return context;
  return context + ": " + std::generic_category().message(code);
}

Error errno_error(std::string context) { return Error{errno, std::move(context)}; }

void throw_exception_from_error(const Error& error, const boost::source_location& where) {
  throw std::logic_error("unchecked result: " + error.to_string() + " (" + where.to_string() + ")");
}

}  // namespace sluice
