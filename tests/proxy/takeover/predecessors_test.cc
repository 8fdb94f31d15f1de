#include "proxy/takeover/predecessors.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <utility>

#include "proxy/takeover/link.h"
#include "tests/support/process.h"

namespace sluice::takeover {
namespace {

TEST(TakeoverPredecessors, AllThatLiveGetASignal) {
  test::Process first({"sleep", "1000"});
  test::Process second({"sleep", "1000"});
  Predecessors predecessors(Predecessors::Hooks{});
  for (const test::Process* each : {&first, &second}) {
    Living living;
    living.pid = each->pid();
    living.process = open_process(each->pid());
    predecessors.add_newest(std::move(living));
  }
  // Of this one the kernel knows no more.
  predecessors.add_newest({});
  predecessors.signal(SIGHUP);
  EXPECT_EQ(first.wait(), -SIGHUP);
  EXPECT_EQ(second.wait(), -SIGHUP);
}

}  // namespace
}  // namespace sluice::takeover
