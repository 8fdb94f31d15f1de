#include "iolib/wire/client_hello.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "iolib/wire/first_bytes.h"
#include "tests/support/client_hello.h"

namespace sluice::wire {
namespace {

auto parse_hello(std::string_view text) {
  return parse_client_hello(std::as_bytes(std::span(text)));
}

const std::string kMessage = test::client_hello_with(
    test::tls_extension(10, "groups") + test::server_name_extension("WWW.Example.com.") +
    test::alpn_extension({"h2", "http/1.1"}));

void expect_example(std::string_view stream) {
  for (std::size_t length = 0; length < stream.size(); ++length) {
    const auto parsed = parse_hello(stream.substr(0, length));
    ASSERT_TRUE(std::holds_alternative<NeedsBytes>(parsed)) << length;
    EXPECT_GT(std::get<NeedsBytes>(parsed).total, length);
    EXPECT_LE(std::get<NeedsBytes>(parsed).total, stream.size());
  }
  const auto parsed = parse_hello(std::string(stream) + "more");
  ASSERT_TRUE(std::holds_alternative<ClientHello>(parsed));
  EXPECT_EQ(std::get<ClientHello>(parsed).server_name, "www.example.com");
  EXPECT_EQ(std::get<ClientHello>(parsed).protocols, (std::vector<std::string>{"h2", "http/1.1"}));
}

TEST(ClientHello, CutAtEveryByteAndSpreadOverRecordsOfEverySize) {
  for (std::size_t size = 1; size <= kMessage.size(); ++size) {
    expect_example(test::in_tls_records(kMessage, size));
  }
}

TEST(ClientHello, APostQuantumHelloIsReadWhole) {
  expect_example(test::in_tls_records(test::client_hello_with(
      test::tls_extension(51, std::string(40'000, 'k')) +
      test::server_name_extension("www.example.com") + test::alpn_extension({"h2", "http/1.1"}))));
}

TEST(ClientHello, WithoutANameOrExtensions) {
  const auto none =
      parse_hello(test::in_tls_records(test::client_hello_with(test::alpn_extension({}))));
  EXPECT_EQ(std::get<ClientHello>(none).server_name, "");
  const std::string bare =
      test::tls_number(1, 1) +
      test::tls_vector(3, test::tls_number(0x303, 2) + std::string(32, 'r') +
                              test::tls_vector(1, "") + test::tls_vector(2, "cc") +
                              test::tls_vector(1, std::string(1, '\0')));
  EXPECT_TRUE(std::holds_alternative<ClientHello>(parse_hello(test::in_tls_records(bare))));
}

TEST(ClientHello, NamesThatNoHostCanHaveMatchNothing) {
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("a..b"), std::string("a.."),
        std::string(".a"), std::string("a b"), std::string("a\0b", 3), std::string("a/b"),
        std::string("*.a"), std::string("\xc3\xa4.example"), std::string(254, 'a')}) {
    const auto parsed = parse_hello(
        test::in_tls_records(test::client_hello_with(test::server_name_extension(name))));
    EXPECT_EQ(std::get<ClientHello>(parsed).server_name, "") << name;
  }
  EXPECT_EQ(normal_host_name(std::string(253, 'A') + "."), std::string(253, 'a'));
  EXPECT_EQ(normal_host_name("under_score-1.x"), "under_score-1.x");
}

TEST(ClientHello, WhatIsNone) {
  const std::string hello = test::in_tls_records(kMessage);
  std::vector<std::string> wrong{"GET / HTTP/1.1\r\n",
                                 "\x17\x03\x01",
                                 "\x16\x02\x01",
                                 std::string("\x16\x03\x01\x00\x00", 5),         // an empty record
                                 std::string("\x16\x03\x01\x40\x01", 5),         // a long one
                                 "\x16\x03\x01" + test::tls_vector(2, "\x02")};  // a ServerHello
  wrong.push_back("\x16\x03\x01" +
                  test::tls_vector(2, std::string("\x01\x01\x00\x00", 4)));  // 64 KiB
  // Lengths that point beyond the message.
  for (std::size_t cut = 1; cut < 30; ++cut) {
    std::string message = kMessage.substr(0, kMessage.size() - cut);
    message.replace(1, 3, test::tls_number(message.size() - 4, 3));
    wrong.push_back(test::in_tls_records(message));
  }
  for (const std::string& each : wrong) {
    EXPECT_TRUE(std::holds_alternative<NotHello>(parse_hello(each))) << each;
  }
  // The second record is of another kind.
  std::string mixed = test::in_tls_records(kMessage, 50);
  mixed[55] = '\x17';
  EXPECT_TRUE(std::holds_alternative<NotHello>(parse_hello(mixed)));
}

TEST(ClientHello, AHelloThatNeverEndsIsRefusedAtItsBound) {
  std::string message = test::tls_number(1, 1) + test::tls_number(60'000, 3);
  std::string stream;
  for (int i = 0; i < 15'000; ++i)
    stream += "\x16\x03\x01" + test::tls_vector(2, i == 0 ? message : "x");
  std::size_t total = 0;
  for (;;) {
    const auto parsed = parse_hello(std::string_view(stream).substr(0, total));
    const auto* needs = std::get_if<NeedsBytes>(&parsed);
    if (needs == nullptr) break;
    ASSERT_GT(needs->total, total);
    total = needs->total;
  }
  EXPECT_LE(total, kLongestHello);
}

TEST(Protocol, IsToldByTheFirstBytes) {
  const auto of = [](std::string_view text) { return protocol_of(std::as_bytes(std::span(text))); };
  EXPECT_EQ(std::get<Protocol>(of("\x16\x03\x01\x02")), Protocol::tls);
  EXPECT_EQ(std::get<Protocol>(of("SSH-2.0-x\r\n")), Protocol::ssh);
  for (const char* http : {"GET /", "PATCH /", "CONNECT a:1", "PRI * HTTP/2.0\r\n"}) {
    EXPECT_EQ(std::get<Protocol>(of(http)), Protocol::http) << http;
  }
  for (const char* other :
       {"GETS", "get ", "SSH2", "\x16\x03\x05", "\x16\x02", "x", "PRI *x", "POSTS"}) {
    EXPECT_EQ(std::get<Protocol>(of(other)), Protocol::other) << other;
  }
  for (const std::string_view cut : {"", "\x16", "\x16\x03", "P", "PR", "S", "SSH"}) {
    EXPECT_EQ(std::get<NeedsBytes>(of(cut)).total, cut.size() + 1) << cut;
  }
}

}  // namespace
}  // namespace sluice::wire
