#include "iolib/wire/client_hello.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "iolib/wire/first_bytes.h"

namespace sluice::wire {
namespace {

auto parse_hello(std::string_view text) {
  return parse_client_hello(std::as_bytes(std::span(text)));
}

std::string number(std::size_t value, std::size_t bytes) {
  std::string text;
  for (std::size_t i = bytes; i > 0; --i) text += static_cast<char>(value >> (8 * (i - 1)) & 0xff);
  return text;
}
std::string vector(std::size_t length_bytes, const std::string& content) {
  return number(content.size(), length_bytes) + content;
}
std::string extension(std::size_t type, const std::string& content) {
  return number(type, 2) + vector(2, content);
}
std::string server_name(const std::string& name) {
  return extension(0, vector(2, number(0, 1) + vector(2, name)));
}
std::string alpn(const std::vector<std::string>& protocols) {
  std::string names;
  for (const std::string& each : protocols) names += vector(1, each);
  return extension(16, vector(2, names));
}
std::string hello_with(const std::string& extensions) {
  return number(1, 1) + vector(3, number(0x303, 2) + std::string(32, 'r') + vector(1, "session") +
                                      vector(2, "ciphers!") + vector(1, std::string(1, '\0')) +
                                      vector(2, extensions));
}
/// The message in records of at most this size.
std::string in_records(const std::string& message, std::size_t size = 1 << 14) {
  std::string stream;
  for (std::size_t at = 0; at < message.size(); at += size) {
    stream += "\x16\x03\x01" + vector(2, message.substr(at, size));
  }
  return stream;
}

const std::string kMessage = hello_with(extension(10, "groups") + server_name("WWW.Example.com.") +
                                        alpn({"h2", "http/1.1"}));

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
    expect_example(in_records(kMessage, size));
  }
}

TEST(ClientHello, APostQuantumHelloIsReadWhole) {
  expect_example(in_records(hello_with(extension(51, std::string(40'000, 'k')) +
                                       server_name("www.example.com") + alpn({"h2", "http/1.1"}))));
}

TEST(ClientHello, WithoutANameOrExtensions) {
  const auto none = parse_hello(in_records(hello_with(alpn({}))));
  EXPECT_EQ(std::get<ClientHello>(none).server_name, "");
  const std::string bare =
      number(1, 1) + vector(3, number(0x303, 2) + std::string(32, 'r') + vector(1, "") +
                                   vector(2, "cc") + vector(1, std::string(1, '\0')));
  EXPECT_TRUE(std::holds_alternative<ClientHello>(parse_hello(in_records(bare))));
}

TEST(ClientHello, NamesThatNoHostCanHaveMatchNothing) {
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("a..b"), std::string("a.."),
        std::string(".a"), std::string("a b"), std::string("a\0b", 3), std::string("a/b"),
        std::string("*.a"), std::string("\xc3\xa4.example"), std::string(254, 'a')}) {
    const auto parsed = parse_hello(in_records(hello_with(server_name(name))));
    EXPECT_EQ(std::get<ClientHello>(parsed).server_name, "") << name;
  }
  EXPECT_EQ(normal_host_name(std::string(253, 'A') + "."), std::string(253, 'a'));
  EXPECT_EQ(normal_host_name("under_score-1.x"), "under_score-1.x");
}

TEST(ClientHello, WhatIsNone) {
  const std::string hello = in_records(kMessage);
  std::vector<std::string> wrong{"GET / HTTP/1.1\r\n",
                                 "\x17\x03\x01",
                                 "\x16\x02\x01",
                                 std::string("\x16\x03\x01\x00\x00", 5),  // an empty record
                                 std::string("\x16\x03\x01\x40\x01", 5),  // a long one
                                 "\x16\x03\x01" + vector(2, "\x02")};     // a ServerHello
  wrong.push_back("\x16\x03\x01" + vector(2, std::string("\x01\x01\x00\x00", 4)));  // 64 KiB
  // Lengths that point beyond the message.
  for (std::size_t cut = 1; cut < 30; ++cut) {
    std::string message = kMessage.substr(0, kMessage.size() - cut);
    message.replace(1, 3, number(message.size() - 4, 3));
    wrong.push_back(in_records(message));
  }
  for (const std::string& each : wrong) {
    EXPECT_TRUE(std::holds_alternative<NotHello>(parse_hello(each))) << each;
  }
  // The second record is of another kind.
  std::string mixed = in_records(kMessage, 50);
  mixed[55] = '\x17';
  EXPECT_TRUE(std::holds_alternative<NotHello>(parse_hello(mixed)));
}

TEST(ClientHello, AHelloThatNeverEndsIsRefusedAtItsBound) {
  std::string message = number(1, 1) + number(60'000, 3);
  std::string stream;
  for (int i = 0; i < 15'000; ++i) stream += "\x16\x03\x01" + vector(2, i == 0 ? message : "x");
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
