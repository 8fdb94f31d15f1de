#pragma once

#include <termios.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sluice::ctl {

struct Line {
  enum class Style : std::uint8_t { plain, head, alarm };
  std::string text;  ///< printable ASCII
  Style style = Style::plain;
};

struct ScreenSize {
  std::size_t rows = 24;
  std::size_t columns = 80;
};

/// The terminal on stdout, and the keyboard on stdin if that is a terminal too. While it is entered
/// it shows a screen of its own, and keys come at once and are not echoed. The destructor restores
/// what was there.
class Screen {
 public:
  Screen();
  ~Screen() { leave(); }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  void enter();
  void leave();
  [[nodiscard]] static ScreenSize size();
  /// Replaces what is shown. False if the terminal is gone. A signal whose handler runs ends a
  /// write to a terminal that takes nothing.
  [[nodiscard]] static bool show(const std::vector<Line>& lines, ScreenSize size);
  [[nodiscard]] bool has_keyboard() const { return keyboard_.has_value(); }

 private:
  std::optional<termios> keyboard_;  ///< its settings before
  bool entered_ = false;
};

enum class Key : std::uint8_t { quit, next, previous, bytes, age, idle, id };

/// Makes keys of the bytes from a keyboard. Bytes without a meaning are skipped.
class KeyReader {
 public:
  [[nodiscard]] std::optional<Key> take(char byte);

 private:
  enum class State : std::uint8_t { plain, escape, sequence };
  State state_ = State::plain;
};

}  // namespace sluice::ctl
