#include "tools/common/status_line.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

namespace sluice {
namespace {

bool in_place = false;  // one for the program, which has one terminal

}  // namespace

StatusLine::Kind StatusLine::kind_of_stderr() {
  return ::isatty(STDERR_FILENO) == 1 ? Kind::in_place : Kind::lines;
}

void StatusLine::show(TimePoint now, std::string_view text) {
  const bool lines = kind_ == Kind::lines;
  next_ = now + (lines ? kLinesInterval : kInPlaceInterval);
  in_place = !lines;
  std::fprintf(stderr, lines ? "%.*s\n" : "\r%.*s\033[K", static_cast<int>(text.size()),
               text.data());
}

void StatusLine::clear() {
  if (std::exchange(in_place, false)) std::fputs("\r\033[K", stderr);
}

}  // namespace sluice
