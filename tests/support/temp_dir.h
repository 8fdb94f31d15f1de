#pragma once

#include <string>
#include <string_view>

namespace sluice::test {

/// A new folder under $TMPDIR or /tmp, removed with all that is in it by the destructor.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  /// The path of `name` inside; creates nothing.
  [[nodiscard]] std::string file(std::string_view name) const;
  /// Writes `text` to `name` and returns its path.
  std::string write(std::string_view name, std::string_view text) const;

 private:
  std::string path_;
};

/// The whole file; empty if it cannot be read.
[[nodiscard]] std::string read_text(const std::string& path);

}  // namespace sluice::test
