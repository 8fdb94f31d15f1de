#include "proxy/serve/file_thread.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <string>

#include "tests/support/sockets.h"

namespace sluice {
namespace {

using Errand = FileThread::Errand;
using Place = FileThread::Errand::Place;

/// Work that hangs until let_go(), or until the test is over.
class Hang {
 public:
  void begin_on(Errand& errand) {
    errand.begin(
        [begun = begun_, let_go = let_go_.get_future().share()] {
          begun->set_value();
          let_go.wait();
        },
        Place::last);
    begun_->get_future().wait();
  }
  void let_go() { let_go_.set_value(); }

 private:
  std::shared_ptr<std::promise<void>> begun_ = std::make_shared<std::promise<void>>();
  std::promise<void> let_go_;
};

bool done(Errand& errand) {
  if (!test::readable_within(errand.done_fd(), test::kPatience)) return false;
  errand.finish();
  return true;
}

TEST(FileThreadTest, TellsThatWorkIsDoneEachTime) {
  FileThread thread;
  Errand errand(thread);
  auto ran = std::make_shared<int>(0);
  for (int i = 1; i < 4; ++i) {
    EXPECT_FALSE(test::readable_within(errand.done_fd(), std::chrono::nanoseconds(0)));
    errand.begin([ran] { ++*ran; }, Place::last);
    ASSERT_TRUE(done(errand));
    EXPECT_EQ(*ran, i);
    EXPECT_EQ(ran.use_count(), 1) << "the thread keeps nothing of what is done";
  }
}

TEST(FileThreadTest, WhatIsToBeFirstGoesBeforeWhatWaits) {
  FileThread thread;
  Errand busy(thread);
  Errand reader(thread);
  Errand opener(thread);
  Hang hang;
  hang.begin_on(busy);
  std::string order;
  reader.begin([&order] { order += "read "; }, Place::last);
  opener.begin([&order] { order += "open "; }, Place::first);
  hang.let_go();
  ASSERT_TRUE(done(opener) && done(reader));
  EXPECT_EQ(order, "open read ");
}

TEST(FileThreadTest, WorkThatHasNotBegunGoesWithItsErrand) {
  FileThread thread;
  Errand busy(thread);
  Hang hang;
  hang.begin_on(busy);
  const auto ran = std::make_shared<bool>(false);
  {
    Errand given_up(thread);
    given_up.begin([ran] { *ran = true; }, Place::last);
    EXPECT_EQ(ran.use_count(), 2);
  }
  EXPECT_EQ(ran.use_count(), 1) << "a thread that hangs would gather them";
  hang.let_go();
  Errand next(thread);
  next.begin([] {}, Place::last);
  ASSERT_TRUE(done(next));
  EXPECT_FALSE(*ran);
}

TEST(FileThreadTest, NobodyWaitsForWorkThatHangs) {
  Hang hang;
  {
    FileThread thread;
    Errand busy(thread);
    hang.begin_on(busy);
  }
  hang.let_go();
}

}  // namespace
}  // namespace sluice
