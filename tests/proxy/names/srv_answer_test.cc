#include "proxy/names/srv_answer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

namespace sluice {
namespace {

/// A DNS message with one question, about `a.test`, and records that a test adds.
class Message {
 public:
  Message() : bytes_{0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0} {
    add_name("a.test");
    add_number(33);
    add_number(1);
  }
  /// `target`: the name as it is written in the record.
  void add_srv(std::uint16_t priority, std::uint16_t weight, std::uint16_t port,
               const std::vector<unsigned char>& target) {
    add_record(33, [&] {
      for (const std::uint16_t number : {priority, weight, port}) add_number(number);
      bytes_.insert(bytes_.end(), target.begin(), target.end());
    });
  }
  template <class AddData>
  void add_record(std::uint16_t type, AddData add_data) {
    ++bytes_[7];
    bytes_.insert(bytes_.end(), {0xc0, 12});  // the question's name
    add_number(type);
    add_number(1);
    add_number(0);
    add_number(60);
    const std::size_t length = bytes_.size();
    add_number(0);
    add_data();
    bytes_[length + 1] = static_cast<unsigned char>(bytes_.size() - length - 2);
  }
  [[nodiscard]] static std::vector<unsigned char> name(const std::string& text) {
    std::vector<unsigned char> bytes;
    std::size_t begin = 0;
    while (begin < text.size()) {
      const std::size_t end = std::min(text.find('.', begin), text.size());
      bytes.push_back(static_cast<unsigned char>(end - begin));
      bytes.insert(bytes.end(), text.begin() + static_cast<std::ptrdiff_t>(begin),
                   text.begin() + static_cast<std::ptrdiff_t>(end));
      begin = end + 1;
    }
    bytes.push_back(0);
    return bytes;
  }
  [[nodiscard]] std::vector<unsigned char>& bytes() { return bytes_; }

 private:
  void add_number(std::uint16_t number) {
    bytes_.push_back(static_cast<unsigned char>(number >> 8));
    bytes_.push_back(static_cast<unsigned char>(number));
  }
  void add_name(const std::string& text) {
    const std::vector<unsigned char> encoded = name(text);
    bytes_.insert(bytes_.end(), encoded.begin(), encoded.end());
  }
  std::vector<unsigned char> bytes_;
};

std::string text_of(const Result<std::vector<NameRecord>>& answer) {
  if (!answer) return answer.error().to_string();
  std::string text;
  for (const NameRecord& record : *answer) {
    EXPECT_TRUE(record.addresses.empty());
    text += std::to_string(record.priority) + " " + std::to_string(record.weight) + " " +
            record.target.host + ":" + std::to_string(record.target.port) + "\n";
  }
  return text;
}

TEST(SrvAnswer, ItsRecordsAreRead) {
  Message message;
  message.add_srv(1, 65'535, 8080, Message::name("B.Test"));
  message.add_record(1, [&] { message.bytes().insert(message.bytes().end(), {10, 0, 0, 1}); });
  message.add_srv(300, 2, 1, {3, 'c', '-', '_', 0xc0, 12});
  EXPECT_EQ(text_of(parse_srv_answer(message.bytes())),
            "1 65535 b.test:8080\n300 2 c-_.a.test:1\n");
}

TEST(SrvAnswer, TargetsThatCannotBeConnectedToAreLeftOut) {
  Message message;
  message.add_srv(1, 1, 80, {0});
  message.add_srv(1, 1, 0, Message::name("b.test"));
  message.add_srv(1, 1, 80, Message::name("b c.test"));
  message.add_srv(1, 1, 80, Message::name("b\nc.test"));
  message.add_srv(1, 1, 80, {3, 'a', '.', 'b', 0});
  message.add_srv(1, 1, 80, Message::name("1.2.3"));
  EXPECT_EQ(text_of(parse_srv_answer(message.bytes())), "");
}

TEST(SrvAnswer, AMessageThatIsCutAnywhereIsAnError) {
  Message message;
  message.add_srv(1, 2, 80, Message::name("b.test"));
  message.add_srv(1, 2, 80, {0xc0, 12});
  const std::vector<unsigned char> whole = message.bytes();
  EXPECT_EQ(text_of(parse_srv_answer(whole)), "1 2 b.test:80\n1 2 a.test:80\n");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_EQ(text_of(parse_srv_answer({whole.data(), size})), "malformed answer") << size;
  }
}

TEST(SrvAnswer, DataThatAreTooShortOrTooLongAreAnError) {
  for (const std::vector<unsigned char>& target :
       {std::vector<unsigned char>{}, {1, 'a', 0, 0}, {0xc0, 0xff}, {0xff, 0xff}}) {
    Message message;
    message.add_srv(1, 2, 80, target);
    message.add_srv(1, 2, 80, Message::name("b.test"));
    EXPECT_EQ(text_of(parse_srv_answer(message.bytes())), "malformed answer") << target.size();
  }
}

}  // namespace
}  // namespace sluice
