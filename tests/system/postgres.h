#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace sluice::test {

/// A new database of its own, ended so that it takes its shared memory with it.
class Postgres {
 public:
  /// Neither initdb nor postgres run as root: `options.user` is then somebody else, as owner()
  /// says. Throws if it does not start.
  Postgres(const TempDir& folder, const ProcessOptions& options);
  ~Postgres();
  Postgres(const Postgres&) = delete;
  Postgres& operator=(const Postgres&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  /// The user that a test run by root has to take; none if it is run by anybody else.
  [[nodiscard]] static ProcessOptions owner();

 private:
  std::string data_;
  std::uint16_t port_;
  std::unique_ptr<Process> server_;
};

}  // namespace sluice::test
