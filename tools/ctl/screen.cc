#include "tools/ctl/screen.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

namespace sluice::ctl {
namespace {

constexpr std::string_view kEnter = "\x1b[?1049h\x1b[?25l";  // the other screen, without a cursor
constexpr std::string_view kLeave = "\x1b[0m\x1b[?25h\x1b[?1049l";

bool write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written < 0) return errno == EINTR;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

std::string_view style_of(Line::Style style) {
  return style == Line::Style::head ? "\x1b[7m" : style == Line::Style::alarm ? "\x1b[1;31m" : "";
}

}  // namespace

Screen::Screen() {
  termios settings{};
  if (::isatty(STDIN_FILENO) == 1 && ::tcgetattr(STDIN_FILENO, &settings) == 0) {
    keyboard_ = settings;
  }
}

void Screen::enter() {
  if (std::exchange(entered_, true)) return;
  if (keyboard_) {
    termios raw = *keyboard_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    raw.c_iflag &= ~static_cast<tcflag_t>(IXON);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  }
  write_all(kEnter);
}

void Screen::leave() {
  if (!std::exchange(entered_, false)) return;
  // A terminal that takes nothing must not hold up the end.
  pollfd terminal{STDOUT_FILENO, POLLOUT, 0};
  constexpr int kMs = 1000;
  if (::poll(&terminal, 1, kMs) > 0) write_all(kLeave);
  if (keyboard_) ::tcsetattr(STDIN_FILENO, TCSANOW, &*keyboard_);
}

ScreenSize Screen::size() {
  winsize window{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_row == 0 ||
      window.ws_col == 0) {
    return {};
  }
  return {window.ws_row, window.ws_col};
}

bool Screen::show(const std::vector<Line>& lines, ScreenSize size) {
  std::string text = "\x1b[H";
  const std::size_t count = std::min(lines.size(), size.rows);
  for (std::size_t i = 0; i < count; ++i) {
    text.append(style_of(lines[i].style)).append(lines[i].text, 0, size.columns);
    text += "\x1b[0m\x1b[K";
    // A line break after the last row would scroll.
    if (i + 1 < size.rows) text += "\r\n";
  }
  if (count < size.rows) text += "\x1b[J";
  return write_all(text);
}

std::optional<Key> KeyReader::take(char byte) {
  switch (std::exchange(state_, State::plain)) {
    case State::escape:
      if (byte == '[' || byte == 'O') {
        state_ = State::sequence;
        return {};
      }
      break;
    case State::sequence:
      if (byte == 'C' || byte == 'B') return Key::next;
      if (byte == 'D' || byte == 'A') return Key::previous;
      // Parameters, until the byte that ends the sequence.
      if (byte < '@') state_ = State::sequence;
      return {};
    case State::plain:
      break;
  }
  switch (byte) {
    case '\x1b':
      state_ = State::escape;
      return {};
    case 'q':
    case 'Q':
      return Key::quit;
    case 'b':
      return Key::bytes;
    case 'a':
      return Key::age;
    case 'l':
      return Key::idle;
    case 'i':
      return Key::id;
    default:
      return {};
  }
}

}  // namespace sluice::ctl
