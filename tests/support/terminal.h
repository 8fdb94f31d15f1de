#pragma once

#include <string>

#include "iolib/base/owned_fd.h"

namespace sluice::test {

/// A terminal for a program to write to. Throws if none is to be had.
class Terminal {
 public:
  Terminal();

  /// What the program is started with.
  [[nodiscard]] int program_end() const { return program_end_.get(); }
  /// True once something was written, or the program has ended.
  [[nodiscard]] bool wait_for_output() const;
  /// Once the program has its own: so that its end is one.
  void close_program_end() { program_end_.reset(); }
  /// All that is written until the program has ended.
  [[nodiscard]] std::string read_to_end() const;

 private:
  OwnedFd screen_;
  OwnedFd program_end_;
};

}  // namespace sluice::test
