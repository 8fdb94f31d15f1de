#include "proxy/takeover/wire.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::takeover {
namespace {

std::string_view header_of(const std::string& frame) {
  return std::string_view(frame).substr(0, kHeaderBytes);
}

TEST(TakeoverWire, AFrameIsReadAsItWasWritten) {
  const Message message{MessageType::go, {{"totals", json::object{{"n", 9'007'199'254'740'993U}}}}};
  const std::string frame = encode(message);
  const Result<std::size_t> size_bytes = decode_header(header_of(frame), kLongestState);
  ASSERT_TRUE(size_bytes.has_value());
  ASSERT_EQ(*size_bytes, frame.size() - kHeaderBytes);
  const Result<Message> read = decode(frame.substr(kHeaderBytes));
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->type, message.type);
  EXPECT_EQ(read->body, message.body);
  EXPECT_EQ(number_of(object_of(read->body, "totals"), "n"), 9'007'199'254'740'993U);
}

TEST(TakeoverWire, ALengthOutOfBoundsIsRefused) {
  EXPECT_TRUE(decode_header(std::string_view("\0\0\1\0", 4), 256).has_value());
  EXPECT_TRUE(decode_header(std::string_view("\0\0\1\1", 4), 256).has_error());
  EXPECT_TRUE(decode_header(std::string_view("\xff\xff\xff\xff", 4), kLongestState).has_error());
  EXPECT_TRUE(decode_header(std::string_view("\0\0\0\0", 4), 256).has_error());
  EXPECT_TRUE(decode_header("abc", 256).has_error());
}

TEST(TakeoverWire, WhatIsNoMessageIsRefused) {
  const std::string deep(1'000, '[');
  for (const std::string& text :
       {std::string(), std::string("x"), std::string("[]"), std::string("{}"),
        std::string(R"({"type":3})"), std::string(R"({"type":"stop"})"),
        std::string(R"({"type":"go"} )") + "x", deep}) {
    EXPECT_TRUE(decode(text).has_error()) << text;
  }
}

TEST(TakeoverWire, AValueOfAnotherKindCountsAsMissing) {
  const Result<Message> read = decode(
      R"({"type":"state","a":-1,"b":"x","c":[1],"d":{"e":true},"f":1e300,"g":18446744073709551615})");
  ASSERT_TRUE(read.has_value());
  const json::object& body = read->body;
  EXPECT_EQ(number_of(body, "a"), 0U);
  EXPECT_EQ(number_of(body, "b"), 0U);
  EXPECT_EQ(number_of(body, "f"), 0U);
  EXPECT_EQ(number_of(body, "g"), 18'446'744'073'709'551'615U);
  EXPECT_EQ(text_of(body, "c"), "");
  EXPECT_FALSE(flag_of(body, "b"));
  EXPECT_TRUE(flag_of(object_of(body, "d"), "e"));
  EXPECT_TRUE(object_of(body, "c").empty());
  EXPECT_TRUE(array_of(body, "d").empty());
  EXPECT_TRUE(texts_of(body, "c").empty());
}

TEST(TakeoverWire, AReasonIsOneLineOfText) {
  const Message message = with_reason(MessageType::failed, "bind\n\xff");
  EXPECT_EQ(text_of(message.body, "reason").find('\n'), std::string::npos);
  EXPECT_TRUE(decode(encode(message).substr(kHeaderBytes)).has_value());
}

}  // namespace
}  // namespace sluice::takeover
