#include "proxy/admin/scrape.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/proxy/admin/fake_source.h"

namespace sluice::admin {
namespace {

using Text = std::shared_ptr<const std::string>;

class ScrapeTest : public testing::Test {
 protected:
  void ask() {
    scrape_.answer([this](HttpResponse response) { answers_.push_back(response.body); });
  }
  // Whether there was a later turn.
  bool turn() {
    if (later_.empty()) return false;
    const std::function<void()> next = std::exchange(later_.front(), nullptr);
    later_.pop_front();
    next();
    return true;
  }
  void add_routes(std::size_t count) {
    RouteConfig config;
    config.to = {{HostPort{"10.0.0.1", 80}}};
    for (std::size_t i = 0; i < count; ++i) {
      config.name = "route-" + std::to_string(i);
      source_.add_route(make_route(i, config));
    }
  }

  FakeSource source_;
  int rests_ = 0;
  std::deque<std::function<void()>> later_;
  std::vector<Text> answers_;
  Scrape scrape_{source_,
                 [this] {
                   ++rests_;
                   return std::string("rest 1\n");
                 },
                 [this](std::function<void()> task) { later_.push_back(std::move(task)); }};
};

TEST_F(ScrapeTest, FewRoutesAreRenderedAtOnce) {
  add_routes(1);
  ask();
  ASSERT_EQ(answers_.size(), 1U);
  EXPECT_TRUE(answers_[0]->starts_with("rest 1\n# HELP sluice_connections_accepted_total "));
  EXPECT_TRUE(later_.empty());
}

TEST_F(ScrapeTest, ManyRoutesTakeTurnsInWhichOthersAsk) {
  constexpr std::size_t kRoutes = 4'096;
  add_routes(kRoutes);
  ask();
  std::size_t turns = 0;
  while (answers_.empty() && turn()) {
    if (++turns == 1) ask();
  }
  EXPECT_GT(turns, 1U);
  ASSERT_EQ(answers_.size(), 2U);
  EXPECT_EQ(answers_[0], answers_[1]);
  EXPECT_EQ(rests_, 1);
  EXPECT_FALSE(turn());
  const std::string& text = *answers_[0];
  EXPECT_NE(text.find("\nsluice_retries_total{route=\"route-4095\"} 0\n"), std::string::npos);
}

TEST_F(ScrapeTest, WhoAsksSoonAfterGetsTheSameText) {
  ask();
  while (answers_.back() == answers_.front()) ask();
  EXPECT_EQ(rests_, 2);
}

}  // namespace
}  // namespace sluice::admin
