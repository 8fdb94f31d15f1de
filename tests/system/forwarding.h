#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/daemon.h"
#include "tests/support/sockets.h"

namespace sluice::test {

/// How the daemon moves bytes: its --engine and its --zero-copy.
struct Mode {
  std::string engine;
  std::string zero_copy;
};
void PrintTo(const Mode& mode, std::ostream* out);
[[nodiscard]] std::vector<Mode> every_mode();
[[nodiscard]] std::string name_of_mode(const testing::TestParamInfo<Mode>& info);

/// False if this kernel refuses io_uring to this process.
[[nodiscard]] bool io_uring_available();

/// "--listen 127.0.0.1:0 --to UPSTREAM --engine E --zero-copy Z", then `more`.
[[nodiscard]] std::vector<std::string> route_arguments(const Mode& mode,
                                                       const std::string& upstream,
                                                       const std::vector<std::string>& more = {});

/// A daemon that forwards to the test's listener, in every mode. After a test it must have as many
/// descriptors as before, and exit with 0 on SIGTERM.
class ForwardingTest : public testing::TestWithParam<Mode> {
 protected:
  void SetUp() override;
  void TearDown() override;

  /// Starts the daemon; `more` are further options.
  void start(const std::vector<std::string>& more = {}, const DaemonOptions& options = {});
  [[nodiscard]] Forwarded forward_one(SocketOptions client = {}, SocketOptions upstream = {}) {
    return forward(daemon_->port(), upstream_.fd.get(), client, upstream);
  }
  /// The same, then a byte each way: the daemon knows that both connections are established.
  [[nodiscard]] Forwarded forward_established(SocketOptions client = {},
                                              SocketOptions upstream = {});
  /// Descriptors that are not pipes, since the pool may keep pipes for later.
  [[nodiscard]] std::size_t descriptors() const;

  Listener upstream_;
  std::unique_ptr<Daemon> daemon_;
  std::size_t descriptors_before_ = 0;
};

}  // namespace sluice::test
