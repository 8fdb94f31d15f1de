#include "proxy/names/name_set.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sluice {
namespace {

using namespace std::chrono_literals;

SocketAddress at(const std::string& host, std::uint16_t port = 80) {
  return *numeric_address({host, port});
}
/// The answer about a dns: name.
std::vector<NameRecord> addresses(const std::vector<std::string>& hosts) {
  NameRecord record;
  for (const std::string& host : hosts) record.addresses.push_back(at(host));
  return {record};
}
NameRecord srv(std::uint16_t priority, std::uint16_t weight, const std::string& target,
               const std::vector<std::string>& hosts) {
  NameRecord record{{target, 80}, priority, weight, {}};
  for (const std::string& host : hosts) record.addresses.push_back(at(host));
  return record;
}

class NameSetTest : public testing::Test {
 protected:
  void take(std::vector<NameRecord> answer) { set_.take(std::move(answer), now_); }
  /// "name*weight", and "!" for a backup.
  [[nodiscard]] std::string servers() const {
    std::string all;
    for (const NamedServer& server : set_.servers()) {
      all += (all.empty() ? "" : " ") + server.name + "*" + std::to_string(server.weight) +
             (server.backup ? "!" : "");
    }
    return all;
  }

  NameSet set_;
  TimePoint now_{1h};
};

TEST_F(NameSetTest, EachAddressIsAServerInAFixedOrder) {
  EXPECT_TRUE(set_.empty());
  take(addresses({"10.0.0.2", "::1", "10.0.0.1", "10.0.0.2"}));
  EXPECT_EQ(servers(), "10.0.0.1:80*1 10.0.0.2:80*1 [::1]:80*1");
  take(addresses({"::1", "10.0.0.1", "10.0.0.2"}));
  EXPECT_EQ(servers(), "10.0.0.1:80*1 10.0.0.2:80*1 [::1]:80*1");
}

TEST_F(NameSetTest, AServerThatIsMissingGoesAfterItsTime) {
  take(addresses({"10.0.0.1", "10.0.0.2"}));
  now_ += 1h;
  take(addresses({"10.0.0.2", "10.0.0.3"}));
  now_ += NameSet::kLinger - 1ms;
  take(addresses({"10.0.0.2", "10.0.0.3"}));
  EXPECT_EQ(servers(), "10.0.0.1:80*1 10.0.0.2:80*1 10.0.0.3:80*1");
  now_ += 1ms;
  take(addresses({"10.0.0.2", "10.0.0.3"}));
  EXPECT_EQ(servers(), "10.0.0.2:80*1 10.0.0.3:80*1");
}

/// However long it was missing before.
TEST_F(NameSetTest, WhatComesBackStays) {
  for (int i = 0; i < 20; ++i) {
    take(addresses({i % 2 == 0 ? "10.0.0.1" : "10.0.0.2"}));
    now_ += NameSet::kLinger - 1ms;
  }
  EXPECT_EQ(servers(), "10.0.0.1:80*1 10.0.0.2:80*1");
}

TEST_F(NameSetTest, AnAnswerWithoutAddressesChangesNothing) {
  take(addresses({"10.0.0.1"}));
  for (int i = 0; i < 10; ++i) {
    now_ += 1min;
    take({});
    take(addresses({}));
  }
  EXPECT_EQ(servers(), "10.0.0.1:80*1");
  // Nor does it end the time of a missing server.
  take(addresses({"10.0.0.2"}));
  now_ += 1min;
  take({});
  EXPECT_EQ(servers(), "10.0.0.1:80*1 10.0.0.2:80*1");
}

TEST_F(NameSetTest, TheLowestPriorityComesFirstAndAllOthersAreBackups) {
  take({srv(30, 0, "c", {"10.0.0.3"}), srv(10, 0, "a", {"10.0.0.1"}),
        srv(20, 0, "b", {"10.0.0.2"})});
  EXPECT_EQ(servers(), "a/10.0.0.1:80*1 b/10.0.0.2:80*1! c/10.0.0.3:80*1!");
  // While it is missing, its priority still counts.
  take({srv(30, 0, "c", {"10.0.0.3"}), srv(20, 0, "b", {"10.0.0.2"})});
  EXPECT_EQ(servers(), "a/10.0.0.1:80*1 b/10.0.0.2:80*1! c/10.0.0.3:80*1!");
  now_ += NameSet::kLinger;
  take({srv(30, 0, "c", {"10.0.0.3"}), srv(20, 0, "b", {"10.0.0.2"})});
  EXPECT_EQ(servers(), "b/10.0.0.2:80*1 c/10.0.0.3:80*1!");
}

TEST_F(NameSetTest, WeightsAreRelative) {
  const auto scaled = [this](std::vector<std::uint16_t> weights) {
    set_ = {};
    std::vector<NameRecord> answer;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      answer.push_back(srv(0, weights[i], "t", {"10.0.0." + std::to_string(i + 1)}));
    }
    take(answer);
    std::vector<std::uint32_t> result;
    for (const NamedServer& server : set_.servers()) result.push_back(server.weight);
    return result;
  };
  using Weights = std::vector<std::uint32_t>;
  EXPECT_EQ(scaled({0, 0, 0}), (Weights{1, 1, 1}));
  EXPECT_EQ(scaled({65'535, 65'535}), (Weights{1, 1}));
  EXPECT_EQ(scaled({7}), (Weights{1}));
  EXPECT_EQ(scaled({1, 2}), (Weights{128, 256}));
  EXPECT_EQ(scaled({65'535, 1, 0, 32'768}), (Weights{256, 1, 1, 128}));
  EXPECT_EQ(scaled({10, 0}), (Weights{256, 1}));
}

TEST_F(NameSetTest, EachGroupHasItsOwnLargestWeight) {
  take({srv(1, 5, "a", {"10.0.0.1"}), srv(1, 10, "b", {"10.0.0.2"}), srv(2, 1, "c", {"10.0.0.3"}),
        srv(3, 4, "d", {"10.0.0.4"})});
  EXPECT_EQ(servers(),
            "a/10.0.0.1:80*128 b/10.0.0.2:80*256 c/10.0.0.3:80*64! "
            "d/10.0.0.4:80*256!");
}

TEST_F(NameSetTest, EachAddressOfATargetIsAServer) {
  take({srv(0, 3, "a", {"10.0.0.1", "::1"}), srv(0, 3, "b", {"10.0.0.2"})});
  EXPECT_EQ(servers(), "a/10.0.0.1:80*1 b/10.0.0.2:80*1 a/[::1]:80*1");
}

TEST_F(NameSetTest, OneAddressOfSeveralRecordsCountsOnce) {
  take({srv(2, 0, "a", {"10.0.0.1"}), srv(1, 0, "b", {"10.0.0.1"}), srv(1, 0, "c", {"10.0.0.1"})});
  EXPECT_EQ(servers(), "b/10.0.0.1:80*1");
}

TEST_F(NameSetTest, ATargetWithoutAnAnswerKeepsItsAddresses) {
  take({srv(1, 1, "a", {"10.0.0.1"}), srv(1, 1, "b", {"10.0.0.2"})});
  for (int i = 0; i < 4; ++i) {
    now_ += 20s;
    take({srv(1, 1, "a", {"10.0.0.1"}), srv(2, 1, "b", {})});
  }
  EXPECT_EQ(servers(), "a/10.0.0.1:80*1 b/10.0.0.2:80*1!");
  // The time of one that was missing before neither ends nor begins again.
  take({srv(1, 1, "a", {"10.0.0.3"}), srv(2, 1, "b", {"10.0.0.2"})});
  now_ += NameSet::kLinger;
  take({srv(1, 1, "a", {}), srv(2, 1, "b", {"10.0.0.2"})});
  EXPECT_EQ(servers(), "a/10.0.0.1:80*1 b/10.0.0.2:80*1! a/10.0.0.3:80*1");
  take({srv(1, 1, "a", {"10.0.0.3"}), srv(2, 1, "b", {"10.0.0.2"})});
  EXPECT_EQ(servers(), "b/10.0.0.2:80*1! a/10.0.0.3:80*1");
}

TEST_F(NameSetTest, AFamilyWithoutAnAnswerKeepsItsAddresses) {
  take(addresses({"10.0.0.1", "10.0.0.2", "::1"}));
  std::vector<NameRecord> partial = addresses({"10.0.0.1"});
  partial[0].unknown_family = AF_INET6;
  for (int i = 0; i < 3; ++i) {
    take(partial);
    now_ += 20s;
  }
  EXPECT_EQ(servers(), "10.0.0.1:80*1 [::1]:80*1");
  EXPECT_EQ(set_.families(), (KnownFamilies{{"", AF_INET}, {"", AF_INET6}}));
  // If it is known again, the time of those that are missing begins.
  take(addresses({"10.0.0.1"}));
  now_ += NameSet::kLinger;
  take(addresses({"10.0.0.1"}));
  EXPECT_EQ(servers(), "10.0.0.1:80*1");
  EXPECT_EQ(set_.families(), (KnownFamilies{{"", AF_INET}}));
}

TEST_F(NameSetTest, TheNextToGoIsTheOneThatIsMissingLongest) {
  take(addresses({"10.0.0.1", "10.0.0.2", "10.0.0.3"}));
  EXPECT_EQ(set_.next_to_go(), std::nullopt);
  const TimePoint first = now_;
  take(addresses({"10.0.0.2", "10.0.0.3"}));
  now_ += 10s;
  take(addresses({"10.0.0.3"}));
  EXPECT_EQ(set_.next_to_go(), first + NameSet::kLinger);
  take(addresses({"10.0.0.1", "10.0.0.3"}));
  EXPECT_EQ(set_.next_to_go(), now_ + NameSet::kLinger);
  take(addresses({"10.0.0.1", "10.0.0.2", "10.0.0.3"}));
  EXPECT_EQ(set_.next_to_go(), std::nullopt);
}

TEST_F(NameSetTest, ThereIsABound) {
  NameRecord record;
  for (std::uint32_t i = 0; i < 2 * NameSet::kMost; ++i) {
    record.addresses.push_back(
        at("10.1." + std::to_string(i / 256) + "." + std::to_string(i % 256)));
  }
  take({record});
  EXPECT_EQ(set_.servers().size(), NameSet::kMost);
}

}  // namespace
}  // namespace sluice
