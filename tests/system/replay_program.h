#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/system/programs.h"
#include "tests/system/recorded.h"
#include "tests/system/replayed.h"

namespace sluice::test {

/// How long a suite of tests, or a replay of it, may take on a machine that is busy otherwise.
inline constexpr std::chrono::minutes kSuitePatience{10};

/// Records a real program through the daemon, and replays it.
class ReplayProgramTest : public ProgramTest {
 protected:
  void start_recording(std::uint16_t port, std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--capture", directory_, "--capture-full", "block"});
    start_before(port, more);
  }
  void end_recording() {
    EXPECT_EQ(daemon_->terminate(kProgramPatience), 0) << daemon_->log();
    daemon_.reset();
    EXPECT_EQ(verify_status(directory_), 0);
  }
  /// However busy the machine is, answers come in time.
  [[nodiscard]] Replayed replay_to(std::uint16_t port, std::vector<std::string> more = {}) const {
    more.insert(more.begin(),
                {directory_, "--to", loopback_address(port), "--response-timeout", "1h"});
    return replay(more, {}, kSuitePatience);
  }
  std::string directory_ = folder_.file("capture");
};

}  // namespace sluice::test
