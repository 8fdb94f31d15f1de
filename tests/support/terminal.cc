#include "tests/support/terminal.h"

#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <vector>

#include "tests/support/sockets.h"

namespace sluice::test {

Terminal::Terminal() {
  int screen = -1;
  int program_end = -1;
  if (::openpty(&screen, &program_end, nullptr, nullptr, nullptr) != 0) {
    throw std::system_error(errno, std::generic_category(), "openpty");
  }
  screen_ = OwnedFd(screen);
  program_end_ = OwnedFd(program_end);
}

bool Terminal::wait_for_output() const { return readable_within(screen_.get(), kPatience); }

std::string Terminal::read_to_end() const {
  std::string shown;
  std::vector<char> buffer(1 << 16);
  // EIO comes once the last end of the terminal is closed.
  for (ssize_t got = 0; (got = ::read(screen_.get(), buffer.data(), buffer.size())) > 0;) {
    shown.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return shown;
}

std::string Terminal::read_until(std::string_view text) const {
  std::string shown;
  std::vector<char> buffer(1 << 16);
  while (shown.find(text) == std::string::npos && readable_within(screen_.get(), 4 * kPatience)) {
    const ssize_t got = ::read(screen_.get(), buffer.data(), buffer.size());
    if (got <= 0) break;
    shown.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return shown;
}

void Terminal::type(std::string_view keys) const {
  if (::write(screen_.get(), keys.data(), keys.size()) != static_cast<ssize_t>(keys.size())) {
    throw std::system_error(errno, std::generic_category(), "write to a terminal");
  }
}

void Terminal::resize(unsigned short rows, unsigned short columns) const {
  winsize size{};
  size.ws_row = rows;
  size.ws_col = columns;
  if (::ioctl(screen_.get(), TIOCSWINSZ, &size) != 0) {
    throw std::system_error(errno, std::generic_category(), "resize a terminal");
  }
}

termios Terminal::settings() const {
  termios settings{};
  if (::tcgetattr(screen_.get(), &settings) != 0) {
    throw std::system_error(errno, std::generic_category(), "tcgetattr");
  }
  return settings;
}

}  // namespace sluice::test
