#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace sluice::test {

/// A new database. When it ends, it removes its shared memory, too.
class Postgres {
 public:
  /// Neither initdb nor postgres runs as root, so `options` has another user then; see owner().
  /// Throws if the server does not start.
  Postgres(const TempDir& folder, const ProcessOptions& options);
  ~Postgres();
  Postgres(const Postgres&) = delete;
  Postgres& operator=(const Postgres&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  /// The user that a test needs if root runs it; otherwise none.
  [[nodiscard]] static ProcessOptions owner();

 private:
  std::string data_;
  std::uint16_t port_;
  std::unique_ptr<Process> server_;
};

}  // namespace sluice::test
