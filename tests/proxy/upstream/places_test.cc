// What counts against limits of connections: also what processes use that this one has replaced.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "proxy/upstream/route_places.h"
#include "proxy/upstream/server.h"

namespace sluice {
namespace {

TEST(PlacesTest, ARoutesPlacesAreSharedWithEarlierProcesses) {
  RoutePlaces places;
  places.set_others(2);
  EXPECT_TRUE(places.take(3));
  EXPECT_FALSE(places.take(3));
  EXPECT_EQ(places.used(), 3U);
  EXPECT_EQ(places.taken(), 1U);
  places.set_others(1);
  EXPECT_TRUE(places.take(3));
  places.set_others(9);
  EXPECT_FALSE(places.take(3)) << "no place is taken from anybody, but there are no new ones";
  places.give_back();
  places.set_others(0);
  EXPECT_TRUE(places.take(3));
}

TEST(PlacesTest, SoAreThoseOfAServer) {
  const auto server = std::make_shared<Server>();
  server->most = 3;
  server->load = std::make_shared<ServerLoad>();
  server->load->others = 2;
  const ServerUse first(server);
  EXPECT_TRUE(first);
  EXPECT_TRUE(server->is_full());
  EXPECT_FALSE(ServerUse(server));
  server->load->others = 1;
  EXPECT_FALSE(server->is_full());
  EXPECT_TRUE(ServerUse(server));
}

}  // namespace
}  // namespace sluice
