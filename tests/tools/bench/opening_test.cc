#include "tools/bench/opening.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <algorithm>
#include <span>
#include <string>
#include <variant>

#include "iolib/wire/client_hello.h"
#include "iolib/wire/proxy_header.h"

namespace sluice::bench {
namespace {

constexpr std::uint32_t kSource = 0x7f000203;

Hello sent_in(const std::string& bytes) {
  Hello::Bytes last{};
  std::ranges::copy(std::span(bytes).last(last.size()), last.begin());
  return decode(last).value();
}

SocketAddress at(const char* address) { return *numeric_address({address, 4000}); }

std::string header_from(const char* client, std::uint8_t version) {
  const wire::ProxyOut out{.client = at(client), .target = at("127.0.0.1")};
  return version == 1 ? wire::proxy_header_v1(out) : wire::proxy_header_v2(out);
}

/// What the serving end finds wrong with a connection that begins with these bytes.
std::string fault_in(const std::string& bytes, std::size_t server = 0, std::size_t servers = 1) {
  const Preface preface = read_preface(bytes);
  EXPECT_EQ(preface.size_bytes() + Hello::kBytes, bytes.size());
  return fault_of(preface, bytes, sent_in(bytes), server, servers);
}

TEST(OpeningTest, ATlsHelloAsksForTheNamesInTurn) {
  for (std::uint64_t turn = 0; turn < 250; ++turn) {
    const std::string bytes = first_bytes({.names = kMaxNames}, {}, turn, kSource);
    const auto parsed = wire::parse_client_hello(std::as_bytes(std::span(bytes)));
    ASSERT_TRUE(std::holds_alternative<wire::ClientHello>(parsed));
    EXPECT_EQ(std::get<wire::ClientHello>(parsed).server_name, server_name(turn % kMaxNames));
    EXPECT_EQ(sent_in(bytes).name, turn % kMaxNames + 1);
    EXPECT_EQ(bytes.size(), 517 + Hello::kBytes);
  }
}

TEST(OpeningTest, WhatIsRightHasNoFault) {
  for (std::uint8_t version = 0; version <= 2; ++version) {
    for (const std::size_t names : {std::size_t{0}, std::size_t{3}}) {
      std::string bytes = first_bytes({names, version}, {}, 1, kSource);
      if (version != 0) bytes.insert(0, header_from("127.0.2.3", version));
      EXPECT_EQ(fault_in(bytes, names == 0 ? 0 : 1, 2), "");
    }
  }
}

/// The serving end may not read past the Hello, so it must never ask for too many bytes.
TEST(OpeningTest, APrefaceInPartAsksForNoMoreThanIsSent) {
  for (std::uint8_t version = 1; version <= 2; ++version) {
    const std::string bytes =
        header_from("127.0.2.3", version) + first_bytes({3, version}, {}, 1, kSource);
    for (std::size_t seen = Hello::kBytes; seen < bytes.size(); ++seen) {
      const std::size_t whole = read_preface(bytes.substr(0, seen)).size_bytes() + Hello::kBytes;
      EXPECT_LE(whole, bytes.size()) << seen;
      EXPECT_GT(whole, seen);
    }
  }
}

TEST(OpeningTest, AWrongServerIsAFault) {
  const std::string bytes = first_bytes({.names = 5}, {}, 4, kSource);
  EXPECT_EQ(fault_in(bytes, 1, 3), "");
  EXPECT_EQ(fault_in(bytes, 2, 3),
            "upstream: a connection for n4.bench.test came to server 2 of 3, expected 1");
}

TEST(OpeningTest, ATlsHelloThatChangedIsAFault) {
  std::string bytes = first_bytes({.names = 5}, {}, 4, kSource);
  bytes[500] = 1;
  EXPECT_EQ(fault_in(bytes), "upstream: a TLS hello is not what was sent");
  const std::string other = first_bytes({}, {}, 0, kSource);
  EXPECT_EQ(fault_in(bytes.substr(0, 517) + other),
            "upstream: a TLS hello came that was never sent");
}

TEST(OpeningTest, AProxyHeaderThatIsMissingOrNotExpectedIsAFault) {
  const std::string plain = first_bytes({}, {}, 0, kSource);
  const std::string v2 = first_bytes({.proxy_header = 2}, {}, 0, kSource);
  EXPECT_EQ(fault_in(v2), "upstream: the PROXY header of a connection: none, expected version 2");
  EXPECT_EQ(fault_in(header_from("127.0.2.3", 1) + v2),
            "upstream: the PROXY header of a connection: version 1, expected version 2");
  EXPECT_EQ(fault_in(header_from("127.0.2.3", 2) + plain),
            "upstream: the PROXY header of a connection: version 2, expected none");
}

TEST(OpeningTest, AProxyHeaderOfAnotherClientIsAFault) {
  const std::string v2 = first_bytes({.proxy_header = 2}, {}, 0, kSource);
  const std::string wrong = "upstream: a PROXY header names the wrong client";
  EXPECT_EQ(fault_in(header_from("127.0.2.4", 2) + v2), wrong);
  EXPECT_EQ(fault_in(header_from("::1", 2) + v2), wrong);
  EXPECT_EQ(fault_in(wire::local_header_v2() + v2), wrong);
}

}  // namespace
}  // namespace sluice::bench
