#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace sluice::test {

/// A new database. When it ends, it removes its shared memory, too.
class Postgres {
 public:
  /// Neither initdb nor postgres runs as root, so `options` has another user then; see owner().
  /// Throws if the server does not start.
  /// `more` are arguments of postgres.
  Postgres(const TempDir& folder, const ProcessOptions& options,
           const std::vector<std::string>& more = {});
  ~Postgres();
  Postgres(const Postgres&) = delete;
  Postgres& operator=(const Postgres&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  /// What it has logged so far.
  [[nodiscard]] std::string log() const { return server_->standard_error(); }
  /// The user that a test needs if root runs it; otherwise none.
  [[nodiscard]] static ProcessOptions owner();

 private:
  std::string data_;
  std::uint16_t port_;
  std::unique_ptr<Process> server_;
};

}  // namespace sluice::test
