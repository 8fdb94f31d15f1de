#include "proxy/admin/connections.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::admin {
namespace {

TEST(SessionQueryTest, TakesRouteOrderLimitAndPlace) {
  const Result<SessionQuery> usual = session_query("");
  ASSERT_TRUE(usual.has_value());
  EXPECT_EQ(usual->limit, 200U);
  EXPECT_EQ(usual->order, SessionOrder::id);
  EXPECT_FALSE(usual->route.has_value());
  EXPECT_FALSE(usual->after.has_value());

  const SessionPlace place{18'446'744'073'709'551'615U, 281'474'976'710'661U};
  const Result<SessionQuery> whole =
      session_query("route=a%20b%26&sort=bytes&limit=1000&after=" + cursor_of(place));
  ASSERT_TRUE(whole.has_value());
  EXPECT_EQ(whole->route, "a b&");
  EXPECT_EQ(whole->order, SessionOrder::bytes);
  EXPECT_EQ(whole->limit, 1'000U);
  EXPECT_EQ(whole->after, place);
}

TEST(SessionQueryTest, SaysWhatIsWrong) {
  for (const char* wrong : {"limit=0",  "limit=1001", "limit=",    "limit=9x",
                            "limit=-1", "sort=size",  "sort",      "after=5",
                            "after=5-", "after=-5",   "after=a-b", "after=18446744073709551616-1",
                            "other=1",  "=",          "&",         "route=%",
                            "route=%4", "route=%zz",  "limit=5&&", "Limit=5"}) {
    const Result<SessionQuery> query = session_query(wrong);
    EXPECT_TRUE(query.has_error()) << wrong;
    if (!query.has_error()) continue;
    EXPECT_TRUE(query.error().to_string().ends_with('.')) << wrong;
  }
}

TEST(SessionPageTest, PagesOfWorkersJoinInOrder) {
  const auto page = [](std::initializer_list<std::uint64_t> ranks, bool more) {
    SessionPage made{.more = more};
    for (const std::uint64_t rank : ranks) made.items.push_back({{rank, 1}, {}});
    return made;
  };
  SessionPage all = joined({page({1, 5, 9}, false), page({2, 3}, false), page({}, false)}, 4);
  ASSERT_EQ(all.items.size(), 4U);
  EXPECT_EQ(all.items[1].place.rank, 2U);
  EXPECT_EQ(all.items[3].place.rank, 5U);
  EXPECT_TRUE(all.more) << "9 is left";
  EXPECT_FALSE(joined({page({1}, false), page({2}, false)}, 2).more);
  EXPECT_TRUE(joined({page({1}, true)}, 2).more);
}

}  // namespace
}  // namespace sluice::admin
