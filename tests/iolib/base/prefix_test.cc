#include "iolib/base/prefix.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice {
namespace {

SocketAddress address(const std::string& host) { return *numeric_address({host, 80}); }
bool in(const char* block, const std::string& host) {
  return Prefix::parse(block)->contains(address(host));
}
std::string refusal(std::string_view text) {
  const Result<Prefix> prefix = Prefix::parse(text);
  return prefix.has_value() ? "" : prefix.error().to_string();
}

TEST(Prefix, ContainsItsAddresses) {
  EXPECT_TRUE(in("10.0.0.0/8", "10.255.255.255"));
  EXPECT_FALSE(in("10.0.0.0/8", "11.0.0.0"));
  EXPECT_TRUE(in("10.128.0.0/9", "10.128.0.0"));
  EXPECT_FALSE(in("10.128.0.0/9", "10.127.255.255"));
  EXPECT_TRUE(in("192.0.2.1", "192.0.2.1"));
  EXPECT_FALSE(in("192.0.2.1", "192.0.2.0"));
  EXPECT_TRUE(in("0.0.0.0/0", "255.1.2.3"));
  EXPECT_TRUE(in("2001:db8::/33", "2001:db8:7fff::1"));
  EXPECT_FALSE(in("2001:db8::/33", "2001:db8:8000::1"));
  EXPECT_TRUE(in("::1/128", "::1"));
}

TEST(Prefix, MappedAddressesAreIPv4) {
  EXPECT_TRUE(in("::ffff:127.0.0.0/104", "127.1.2.3"));
  EXPECT_FALSE(in("::ffff:127.0.0.0/104", "128.0.0.0"));
  EXPECT_TRUE(in("::ffff:1.2.3.4", "1.2.3.4"));
  EXPECT_TRUE(in("::ffff:0:0/96", "255.255.255.255"));
  EXPECT_EQ(*Prefix::parse("::ffff:1.2.3.4"), *Prefix::parse("1.2.3.4"));
}

TEST(Prefix, ItsTextParsesBackToIt) {
  for (const char* text :
       {"10.0.0.0/8", "10.1.2.3", "0.0.0.0/0", "2001:db8::/33", "::1", "::/0", "unix:"}) {
    EXPECT_EQ(Prefix::parse(text)->to_string(), text);
  }
  EXPECT_EQ(Prefix::parse("::ffff:1.2.3.4")->to_string(), "1.2.3.4");
}

TEST(Prefix, FamiliesAreApart) {
  EXPECT_FALSE(in("::/0", "10.0.0.1"));
  EXPECT_FALSE(in("0.0.0.0/0", "::1"));
  const Prefix unix_clients = *Prefix::parse("unix:");
  EXPECT_TRUE(unix_clients.contains(SocketAddress()));
  EXPECT_FALSE(unix_clients.contains(address("10.0.0.1")));
  EXPECT_FALSE(Prefix::parse("0.0.0.0/0")->contains(SocketAddress()));
}

TEST(Prefix, Mistakes) {
  for (const char* text : {"", "a", "10.0.0", "10.0.0.0/", "/8", "10.0.0.0/x", "10.0.0.0/33",
                           "10.0.0.0/-1", "10.0.0.0/08", "10.0.0.0/8/9", "::/129", "fe80::1%lo",
                           "10.0.0.1/8", "2001:db8::1/32", "unix:/x", " 10.0.0.0/8"}) {
    EXPECT_NE(refusal(text), "") << text;
  }
  EXPECT_EQ(refusal("10.0.0.1/8"),
            "an address inside a block in \"10.0.0.1/8\": expected the first address of the block");
  EXPECT_EQ(refusal("10.0.0.0/33"),
            "wrong length of a block in \"10.0.0.0/33\": expected a length of 0 to 32");
  EXPECT_FALSE(Prefix::parse(std::string_view("10.0.0.1\0x", 10)));
}

}  // namespace
}  // namespace sluice
