#include "iolib/balance/maglev.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "iolib/base/hash.h"

namespace sluice::balance {
namespace {

/// A server of a table.
struct Named {
  std::string name;
  std::uint32_t weight = 1;
};
using Servers = std::vector<Named>;

Servers servers(std::size_t count) {
  Servers all;
  for (std::size_t i = 0; i < count; ++i) {
    all.push_back({"10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ":80"});
  }
  return all;
}

Maglev table_of(const Servers& all) {
  std::vector<Maglev::Item> items;
  for (const Named& server : all) items.push_back({server.name, server.weight});
  return Maglev(items);
}

/// The name behind each entry of the table.
std::vector<std::string_view> names(const Servers& all) {
  const Maglev table = table_of(all);
  std::vector<std::string_view> found;
  for (std::uint32_t entry = 0; entry < Maglev::kEntries; ++entry) {
    found.push_back(all.at(table.at(entry)).name);
  }
  return found;
}

/// How many entries each server has.
std::vector<std::size_t> shares(const Servers& all) {
  const Maglev table = table_of(all);
  std::vector<std::size_t> counts(all.size());
  for (std::uint32_t entry = 0; entry < Maglev::kEntries; ++entry) ++counts.at(table.at(entry));
  return counts;
}

/// The share of entries that belong to one server of both tables before, and to another after.
double moved_between_others(const Servers& before, const Servers& after) {
  const std::vector<std::string_view> old_names = names(before);
  const std::vector<std::string_view> new_names = names(after);
  const auto is_in = [](const Servers& all, std::string_view name) {
    return std::ranges::find(all, name, &Named::name) != all.end();
  };
  std::size_t moved = 0;
  for (std::size_t entry = 0; entry < old_names.size(); ++entry) {
    if (old_names[entry] == new_names[entry]) continue;
    if (is_in(after, old_names[entry]) && is_in(before, new_names[entry])) ++moved;
  }
  return static_cast<double>(moved) / Maglev::kEntries;
}

std::uint64_t checksum(const Servers& all) {
  std::uint64_t hash = fnv1a({});
  for (const std::string_view name : names(all)) {
    hash = fnv1a(std::as_bytes(std::span(name)), hash);
  }
  return hash;
}

TEST(Maglev, EqualServersHaveEqualShares) {
  for (const std::size_t count : {1U, 2U, 3U, 100U, 1000U, 10'000U}) {
    const std::vector<std::size_t> counts = shares(servers(count));
    const auto [least, most] = std::ranges::minmax(counts);
    EXPECT_LE(most - least, 1U) << count << " servers";
  }
}

TEST(Maglev, OfAHundredServersNoneHasMoreThanAPerCentAboveTheMean) {
  const std::vector<std::size_t> counts = shares(servers(100));
  EXPECT_LE(static_cast<double>(std::ranges::max(counts)), 1.01 * Maglev::kEntries / 100);
}

TEST(Maglev, SharesAreThoseOfTheWeights) {
  EXPECT_EQ(shares({{"a", 1}, {"b", 1}}), (std::vector<std::size_t>{32'769, 32'768}));
  for (const std::uint32_t weight : {10U, 256U}) {
    const std::vector<std::size_t> counts = shares({{"a", 1}, {"b", weight}});
    EXPECT_NEAR(static_cast<double>(counts[1]) / static_cast<double>(counts[0]), weight,
                weight / 100.0);
  }
  Servers mixed = servers(100);
  for (std::size_t i = 0; i < mixed.size(); i += 2) mixed[i].weight = 10;
  const std::vector<std::size_t> counts = shares(mixed);
  for (std::size_t i = 0; i < mixed.size(); ++i) {
    EXPECT_NEAR(static_cast<double>(counts[i]), mixed[i].weight * Maglev::kEntries / 550.0, 1.01);
  }
}

TEST(Maglev, EveryServerHasAnEntryHoweverHeavyTheOthersAre) {
  Servers all = servers(10'000);
  all[17].weight = 65'535;
  EXPECT_GE(std::ranges::min(shares(all)), 1U);
}

TEST(Maglev, OneServerLessMovesFewClientsOfTheOthers) {
  const Servers all = servers(100);
  for (const std::ptrdiff_t removed : {0, 50, 99}) {
    Servers rest = all;
    rest.erase(rest.begin() + removed);
    const double moved = moved_between_others(all, rest);
    EXPECT_LE(moved, 0.015);
    EXPECT_GT(moved, 0);
    // And one more moves as few.
    EXPECT_LE(moved_between_others(rest, all), 0.015);
  }
}

TEST(Maglev, AnotherWeightMovesFewClients) {
  const Servers all = servers(100);
  Servers heavier = all;
  heavier[50].weight = 2;
  const std::vector<std::string_view> before = names(all);
  const std::vector<std::string_view> after = names(heavier);
  std::size_t moved = 0;
  for (std::size_t entry = 0; entry < before.size(); ++entry) {
    if (before[entry] != after[entry] && after[entry] != heavier[50].name) ++moved;
  }
  EXPECT_LE(static_cast<double>(moved) / Maglev::kEntries, 0.015);
}

TEST(Maglev, TheOrderOfTheServersDoesNotMatter) {
  Servers all = servers(50);
  for (std::size_t i = 0; i < all.size(); ++i)
    all[i].weight = static_cast<std::uint32_t>(1 + i % 3);
  Servers reversed(all.rbegin(), all.rend());
  EXPECT_EQ(names(all), names(reversed));
  Servers rotated = all;
  std::rotate(rotated.begin(), rotated.begin() + 17, rotated.end());
  EXPECT_EQ(names(all), names(rotated));
}

// Computed by another program, with exact fractions. Hosts of different versions may serve the same
// clients, so these never change.
TEST(Maglev, TablesAreTheSameForEver) {
  EXPECT_EQ(checksum(servers(3)), 0x433fc47acff25bd8U);
  EXPECT_EQ(checksum(servers(1000)), 0x9103cde8845cfb2eU);
  EXPECT_EQ(checksum({{"10.0.0.1:80", 1}, {"10.0.0.2:80", 10}, {"[2001:db8::1]:80", 256}}),
            0x852f38f9e28db8aU);
}

// A client that finds its server down tries again with another hash.
TEST(Maglev, FurtherTriesOfTheClientsOfOneServerReachAllOthersEqually) {
  constexpr std::size_t kServers = 5;
  constexpr std::uint64_t kClients = 50'000;
  const Maglev table = table_of(servers(kServers));
  std::vector<double> counts(kServers);
  double of_first = 0;
  for (std::uint64_t client = 0; client < kClients; ++client) {
    const std::uint64_t hash = finalized(client);
    if (table.at(hash) != 0) continue;
    ++of_first;
    ++counts.at(table.at(finalized(hash + 1)));
  }
  for (const double count : counts) EXPECT_NEAR(count, of_first / kServers, 0.1 * count);
}

}  // namespace
}  // namespace sluice::balance
