#pragma once

#include <sys/types.h>
#include <termios.h>

#include <string>
#include <string_view>

#include "iolib/base/owned_fd.h"

namespace sluice::test {

/// A terminal for a program to write to. Throws if there is none.
class Terminal {
 public:
  Terminal();

  /// The descriptor to start the program with.
  [[nodiscard]] int program_end() const { return program_end_.get(); }
  /// True once something is written or the program has ended.
  [[nodiscard]] bool wait_for_output() const;
  /// Call once the program has its own copy, so that its end becomes visible.
  void close_program_end() { program_end_.reset(); }
  /// Everything that is written until the program ends.
  [[nodiscard]] std::string read_to_end() const;

  /// Everything that is written up to `text` and a little behind it, from where the last call
  /// ended. Without `text` if that does not come in time.
  [[nodiscard]] std::string read_until(std::string_view text) const;
  /// Presses keys.
  void type(std::string_view keys) const;
  void resize(unsigned short rows, unsigned short columns) const;
  [[nodiscard]] termios settings() const;

 private:
  OwnedFd screen_;
  OwnedFd program_end_;
};

}  // namespace sluice::test
