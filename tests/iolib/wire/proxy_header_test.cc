#include "iolib/wire/proxy_header.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace sluice::wire {
namespace {

using Parsed = std::variant<NeedsBytes, NotProxy, ProxyHeader>;

Parsed parse(std::string_view text) { return parse_proxy_header(std::as_bytes(std::span(text))); }

SocketAddress address(const std::string& host, std::uint16_t port) {
  return *numeric_address({host, port});
}

/// Checks the header in every length to which a segment can cut it.
ProxyHeader parse_in_pieces(const std::string& header) {
  const std::string stream = header + "GET / HTTP/1.1\r\n";
  for (std::size_t length = 0; length < header.size(); ++length) {
    const Parsed parsed = parse(std::string_view(stream).substr(0, length));
    const auto* needs = std::get_if<NeedsBytes>(&parsed);
    EXPECT_NE(needs, nullptr) << "after " << length << " bytes";
    if (needs == nullptr) return {};
    EXPECT_GT(needs->total, length);
    EXPECT_LE(needs->total, header.size());
  }
  const Parsed parsed = parse(stream);
  EXPECT_TRUE(std::holds_alternative<ProxyHeader>(parsed)) << header;
  const ProxyHeader* found = std::get_if<ProxyHeader>(&parsed);
  if (found == nullptr) return {};
  EXPECT_EQ(found->size_bytes, header.size());
  return *found;
}

std::string_view refusal(std::string_view stream) {
  const Parsed parsed = parse(stream);
  const auto* wrong = std::get_if<NotProxy>(&parsed);
  return wrong == nullptr ? "none" : wrong->why;
}

const std::string kSignature("\r\n\r\n\0\r\nQUIT\n", 12);

/// A header of version 2 with this body.
std::string v2(char command, char family, const std::string& body) {
  return kSignature + command + family + static_cast<char>(body.size() >> 8) +
         static_cast<char>(body.size() & 0xff) + body;
}
const std::string kBodyV4("\x0a\x00\x00\x01\x0a\x00\x00\x02\x1f\x90\x01\xbb", 12);

TEST(ProxyHeader, ALineOfText) {
  const ProxyHeader v4 = parse_in_pieces("PROXY TCP4 192.168.0.1 10.0.0.2 56324 443\r\n");
  EXPECT_EQ(v4.client, address("192.168.0.1", 56324));
  EXPECT_EQ(v4.target, address("10.0.0.2", 443));
  const ProxyHeader v6 = parse_in_pieces("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n");
  EXPECT_EQ(v6.client, address("2001:db8::1", 1));
  EXPECT_EQ(v6.target, address("::1", 65535));
  const ProxyHeader longest = parse_in_pieces(
      "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
      "65535 65535\r\n");
  EXPECT_EQ(longest.client.port(), 65535);
  const ProxyHeader mapped = parse_in_pieces("PROXY TCP6 ::ffff:10.0.0.1 ::1 0 1\r\n");
  EXPECT_EQ(mapped.client, address("10.0.0.1", 0));
}

TEST(ProxyHeader, AnUnknownClientLeavesTheRealAddresses) {
  for (const char* line : {"PROXY UNKNOWN\r\n", "PROXY UNKNOWN ff::1 ::2 77777 x\r\n"}) {
    const ProxyHeader header = parse_in_pieces(line);
    EXPECT_EQ(header.client.family(), AF_UNSPEC);
    EXPECT_EQ(header.target.family(), AF_UNSPEC);
  }
}

TEST(ProxyHeader, LinesThatLie) {
  for (const char* line :
       {"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
        "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n", "PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
        "PROXY TCP4 ::1 ::2 1 2\r\n", "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1\t2\r\n"}) {
    EXPECT_EQ(refusal(line), "wrong addresses") << line;
  }
  EXPECT_EQ(refusal(std::string_view("PROXY TCP4 1.2.3.4\0 5.6.7.8 1 2\r\n", 33)),
            "wrong addresses");
  for (const char* line : {"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n", "PROXY \r\n", "PROXY tcp4\r\n"}) {
    EXPECT_EQ(refusal(line), "unknown protocol") << line;
  }
  EXPECT_EQ(refusal("PROXY UNKNOWN " + std::string(91, 'x') + "\r\n"), "none");
  EXPECT_EQ(refusal("PROXY UNKNOWN " + std::string(92, 'x') + "\r\n"), "a line that is too long");
  EXPECT_EQ(refusal("PROXY UNKNOWN " + std::string(92, 'x')), "none") << "it can still end";
  EXPECT_EQ(refusal("PROXY UNKNOWN " + std::string(93, 'x')), "a line that is too long");
}

TEST(ProxyHeader, WhatIsNoHeader) {
  for (const char* text : {"GET / HTTP/1.1\r\n", "PROXz", "proxy ", "\r\n\r\nx", "\x16\x03\x01"}) {
    EXPECT_EQ(refusal(text), "no header") << text;
  }
}

TEST(ProxyHeader, Binary) {
  const ProxyHeader v4 = parse_in_pieces(v2('\x21', '\x11', kBodyV4));
  EXPECT_EQ(v4.client, address("10.0.0.1", 8080));
  EXPECT_EQ(v4.target, address("10.0.0.2", 443));
  const std::string body6 = std::string(15, '\0') + '\1' + std::string(15, '\0') + '\2' +
                            std::string("\x00\x01\x00\x02", 4);
  const ProxyHeader v6 = parse_in_pieces(v2('\x21', '\x21', body6));
  EXPECT_EQ(v6.client, address("::1", 1));
  EXPECT_EQ(v6.target, address("::2", 2));
  // Of unix sockets, of nobody, and of the sender itself.
  for (const std::string& header :
       {v2('\x21', '\x31', std::string(216, 'p')), v2('\x21', '\0', ""),
        v2('\x21', '\0', std::string("\x04\x00\x02xx", 5)), v2('\x20', '\x11', kBodyV4),
        v2('\x20', '\x7f', "whatever"), v2('\x20', '\0', "")}) {
    EXPECT_EQ(parse_in_pieces(header).client.family(), AF_UNSPEC);
  }
}

TEST(ProxyHeader, BinaryThatLies) {
  EXPECT_EQ(refusal(v2('\x11', '\x11', kBodyV4)), "an unknown version or command");
  EXPECT_EQ(refusal(v2('\x22', '\x11', kBodyV4)), "an unknown version or command");
  for (const char family : {'\x12', '\x22', '\x32', '\x01', '\x10', '\x41'}) {
    EXPECT_EQ(refusal(v2('\x21', family, kBodyV4)), "an unknown family");
  }
  EXPECT_EQ(refusal(v2('\x21', '\x11', kBodyV4.substr(1))), "addresses that are cut off");
  EXPECT_EQ(refusal(v2('\x21', '\x21', kBodyV4)), "addresses that are cut off");
  EXPECT_EQ(refusal(v2('\x21', '\x31', std::string(215, 'p'))), "addresses that are cut off");
  EXPECT_EQ(refusal(v2('\x21', '\x11', kBodyV4 + "\x04")), "a field that is cut off");
  EXPECT_EQ(refusal(v2('\x21', '\x11', kBodyV4 + std::string("\x04\x00\x02x", 4))),
            "a field that is cut off");
  EXPECT_EQ(refusal(v2('\x21', '\0', std::string(4080, 'x'))), "a field that is cut off");
  EXPECT_EQ(refusal(v2('\x21', '\0', std::string(4081, 'x'))), "a header that is too long");
  EXPECT_EQ(refusal(kSignature + "\x21" + '\0' + "\xff\xff"), "a header that is too long")
      << "before it has come";
}

TEST(ProxyHeader, AChecksumIsChecked) {
  const ProxyOut out{address("10.0.0.1", 1), address("10.0.0.2", 2), "", "", true};
  std::string header = proxy_header_v2(out);
  EXPECT_EQ(parse_in_pieces(header).client, out.client);
  for (std::size_t at = 16; at < header.size(); ++at) {
    if (at >= 28 && at < 31) continue;  // what says that it is a checksum of four bytes
    std::string changed = header;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    EXPECT_EQ(refusal(changed), "a wrong checksum") << "byte " << at;
  }
}

TEST(ProxyHeader, WhatIsWrittenIsRead) {
  const SocketAddress v4 = address("192.0.2.1", 1234);
  const SocketAddress v6 = address("2001:db8::7", 65535);
  for (const auto& [client, target] : std::vector<std::pair<SocketAddress, SocketAddress>>{
           {v4, v4}, {v6, v6}, {v4, v6}, {v6, v4}}) {
    const ProxyOut out{client, target, "example.com", "id-1", true};
    for (const std::string& header : {proxy_header_v1(out), proxy_header_v2(out)}) {
      const ProxyHeader read = parse_in_pieces(header);
      EXPECT_EQ(read.client, client) << header;
      EXPECT_EQ(read.target, target) << header;
    }
  }
  EXPECT_EQ(proxy_header_v1({v4, v4}), "PROXY TCP4 192.0.2.1 192.0.2.1 1234 1234\r\n");
  EXPECT_EQ(proxy_header_v1({v4, v6}), "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::7 1234 65535\r\n");
  EXPECT_EQ(proxy_header_v1({{}, v4}), "PROXY UNKNOWN\r\n");
  EXPECT_EQ(proxy_header_v2({v4, {}}), v2('\x21', '\0', ""));
  EXPECT_EQ(proxy_header_v2({v4, v4, "a", "b"}),
            v2('\x21', '\x11',
               std::string("\xc0\x00\x02\x01\xc0\x00\x02\x01\x04\xd2\x04\xd2"
                           "\x02\x00\x01"
                           "a"
                           "\x05\x00\x01"
                           "b",
                           20)));
  EXPECT_EQ(local_header_v1(), "PROXY UNKNOWN\r\n");
  EXPECT_EQ(local_header_v2(), v2('\x20', '\0', ""));
}

}  // namespace
}  // namespace sluice::wire
