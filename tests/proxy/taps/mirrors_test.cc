#include "proxy/taps/mirrors.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "iolib/mirror/stream.h"
#include "tests/iolib/reactor/reactor_fixture.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;

std::vector<Route> mirrored_to(const std::vector<std::string>& addresses) {
  std::vector<Route> routes(1);
  for (const std::string& each : addresses) routes[0].mirrors.push_back({each, {}});
  return routes;
}

template <class Engine>
class WorkerMirrorsTest : public ReactorTest<Engine> {
 protected:
  void SetUp() override {
    ReactorTest<Engine>::SetUp();
    if (this->IsSkipped()) return;
    mirrors_.emplace(this->reactor(), mirrored_to({"a", "b"}),
                     MirrorOptions{0, 64 << 20, 1000, &shedding_});
    mirrors_->on_gone = [this] { ++gone_; };
  }
  void TearDown() override { mirrors_.reset(); }

  [[nodiscard]] std::vector<std::string> addresses() const {
    std::vector<std::string> found;
    mirrors_->for_each(
        [&](const std::string& address, const mirror::Mirror&) { found.push_back(address); });
    return found;
  }
  [[nodiscard]] mirror::Mirror& mirror(const std::string& wanted) {
    const mirror::Mirror* found = nullptr;
    mirrors_->for_each([&](const std::string& address, const mirror::Mirror& each) {
      if (address == wanted) found = &each;
    });
    return const_cast<mirror::Mirror&>(*found);
  }

  MirrorShedding shedding_;
  std::optional<WorkerMirrors> mirrors_;
  int gone_ = 0;
};

TYPED_TEST_SUITE(WorkerMirrorsTest, Reactors, ReactorNames);

TYPED_TEST(WorkerMirrorsTest, OneThatNoRouteNamesGoesWithItsLastStream) {
  using List = std::vector<std::string>;
  mirror::Stream* const stream = this->mirror("b").open({});  // waits before it connects
  ASSERT_NE(stream, nullptr);
  const std::shared_ptr<mirror::Shedding> before = this->shedding_.of("b");
  this->mirrors_->set_routes(mirrored_to({"c", "a"}));
  EXPECT_EQ(this->addresses(), (List{"c", "a", "b"}));
  stream->closed({});
  this->mirror("b").stop();
  for (int i = 0; i < 100 && this->gone_ == 0; ++i) this->run_for(10ms);
  ASSERT_EQ(this->gone_, 1);
  this->settle();
  EXPECT_EQ(this->addresses(), (List{"c", "a"}));
  EXPECT_EQ(this->mirrors_->count(mirror::Count::streams), 1U) << "the sums do not fall";
  this->mirrors_->set_routes({});
  EXPECT_EQ(this->addresses(), List{});
  EXPECT_TRUE(this->mirrors_->is_used());
}

TYPED_TEST(WorkerMirrorsTest, OneThatIsNamedAgainBeforeItIsGoneStays) {
  using List = std::vector<std::string>;
  mirror::Stream* const stream = this->mirror("b").open({});
  ASSERT_NE(stream, nullptr);
  const mirror::Mirror* const before = &this->mirror("b");
  this->mirrors_->set_routes(mirrored_to({"a"}));
  this->mirrors_->set_routes(mirrored_to({"b"}));
  EXPECT_EQ(this->addresses(), List{"b"});
  EXPECT_EQ(&this->mirror("b"), before);
  stream->closed({});
  this->mirror("b").stop();
  for (int i = 0; i < 100 && this->gone_ == 0; ++i) this->run_for(10ms);
  this->settle();
  EXPECT_EQ(this->addresses(), List{"b"});
}

TYPED_TEST(WorkerMirrorsTest, WhatIsLeftOfARouteWithoutItsMirrorIsServed) {
  this->mirrors_->set_routes(mirrored_to({"a"}));
  this->mirrors_->update(mirrored_to({"a", "b"})[0]);  // names were resolved meanwhile
  EXPECT_EQ(this->addresses(), std::vector<std::string>{"a"});
}

TYPED_TEST(WorkerMirrorsTest, AllWorkersShareWhetherAMirrorIsShed) {
  WorkerMirrors other(this->reactor(), mirrored_to({"a"}), {1, 1 << 20, 10, &this->shedding_});
  const std::shared_ptr<mirror::Shedding> shedding = this->shedding_.of("a");
  shedding->fell_behind();
  ASSERT_TRUE(shedding->begin());
  EXPECT_EQ(this->mirror("a").open({}), nullptr);
  other.for_each([](const std::string&, const mirror::Mirror& mirror) {
    EXPECT_EQ(const_cast<mirror::Mirror&>(mirror).open({}), nullptr);
    EXPECT_EQ(mirror.count(mirror::Count::shed), 1U);
  });
  EXPECT_TRUE(shedding->caught_up());
}

}  // namespace
}  // namespace sluice
