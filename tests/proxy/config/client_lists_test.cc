#include "proxy/config/client_lists.h"

#include <gtest/gtest.h>

#include <string>

#include "proxy/config/config_file.h"
#include "tests/support/settings.h"
#include "tests/support/temp_dir.h"

namespace sluice {
namespace {

class ClientLists : public testing::Test {
 protected:
  [[nodiscard]] static std::string with_route(const std::string& more) {
    return "[[route]]\nname = \"a\"\nlisten = \":1\"\nto = \"a:1\"\n" + more;
  }
  [[nodiscard]] Config load(const std::string& text) const {
    return load_config_file(folder_.write("config.toml", text), {}).value();
  }
  [[nodiscard]] std::string load_error(const std::string& text) const {
    const Result<Config> loaded = load_config_file(folder_.write("config.toml", text), {});
    return loaded ? "" : loaded.error().to_string();
  }
  void write_list(const std::string& text) const { folder_.write("list.txt", text); }

  test::TempDir folder_;
  const std::string list_ = folder_.file("list.txt");
};

TEST_F(ClientLists, ListsOfClientsAreBlocksAndFiles) {
  write_list("# bad ones\n10.0.0.0/8\n\n  2001:db8::/32\t# why\r\n10.0.0.0/8\n192.0.2.1");
  const Config config =
      load("[defaults]\ndeny = [\"file:" + list_ + "\", \"unix:\"]\n" + with_route("") +
           "[[route]]\nname = \"b\"\nlisten = \":2\"\nto = \"a:2\"\n"
           "[[route]]\nname = \"c\"\nlisten = \":3\"\nto = \"a:3\"\nallow = \"10.1.0.0/16\"\n");
  const auto allows = [&](std::size_t route, const std::string& host) {
    return config.routes[route].clients->allows(numeric_address({host, 1}).value());
  };
  EXPECT_EQ(config.routes[0].deny.size(), 2U);
  EXPECT_FALSE(allows(0, "10.1.2.3"));
  EXPECT_FALSE(allows(0, "2001:db8::1"));
  EXPECT_FALSE(allows(0, "192.0.2.1"));
  EXPECT_TRUE(allows(0, "192.0.2.2"));
  EXPECT_EQ(config.routes[0].clients, config.routes[1].clients) << "they share it";
  EXPECT_TRUE(allows(2, "10.1.2.3"));
  EXPECT_FALSE(allows(2, "192.0.2.2"));
  EXPECT_EQ(load(with_route("")).routes[0].clients, nullptr);
}

TEST_F(ClientLists, EveryMistakeInAListIsReportedWithItsLine) {
  const auto error = [&](const std::string& text) {
    write_list(text);
    return load_error(with_route("deny = \"file:" + list_ + "\"\n"));
  };
  const auto expect = [](const std::string& found, const std::string& text) {
    EXPECT_NE(found.find(text), std::string::npos) << found;
  };
  const std::string found = error("10.0.0.1\nexample.com\n10.0.0.0/33\n10.0.0.1/8\n10.0.0.0/8 x\n");
  expect(found, "key \"deny\": " + list_ + ":2: no address or block in \"example.com\"");
  expect(found, list_ + ":3: wrong length of a block in \"10.0.0.0/33\"");
  expect(found, list_ + ":4: an address inside a block in \"10.0.0.1/8\"");
  expect(found, list_ + ":5: ");
  expect(error(std::string("10.0.0.1\0\n", 10)), list_ + ":1: no address or block");
  expect(error(std::string(100'000, 'x')), list_ + ":1: no address or block");
  std::string wrong;
  for (int i = 0; i < 1'000; ++i) wrong += "x\n";
  expect(error(wrong), ": and 1 more");
  expect(
      load_error(with_route("deny = \"file:/nowhere/at/all\"\n")),
      "key \"deny\": /nowhere/at/all: cannot open: No such file or directory, expected a readable");
  expect(load_error(with_route("deny = \"file:/\"\n")), "/: is a directory");
  write_list("# nobody yet\n");
  expect(load_error(with_route("allow = \"file:" + list_ + "\"\n")),
         "key \"allow\": its files have no blocks, expected at least one");
  EXPECT_TRUE(load(with_route("deny = \"file:" + list_ + "\"\n"))
                  .routes[0]
                  .clients->allows(numeric_address({"10.0.0.1", 1}).value()));
  expect(load_error(with_route("deny = \"10.0.0.1/8\"\n")), "an address inside a block");
  expect(load_error(with_route("deny = [\"::1\", \"::1\"]\n")), "\"::1\" is given twice");
}

TEST_F(ClientLists, AListHasAMillionBlocksAtMost) {
  const auto list_of = [](unsigned count) {
    std::string text;
    for (unsigned i = 0; i < count; ++i) {
      text += std::to_string(10 + (i >> 16)) + "." + std::to_string(i >> 8 & 0xff) + "." +
              std::to_string(i & 0xff) + ".1\n";
    }
    return text;
  };
  // A sanitizer takes 20 s to read a million, so there only the list with one too many is as long.
  write_list(list_of(test::by_scale(100'000U, 1'000'000U, 1'000'000U)));
  EXPECT_NE(load(with_route("deny = \"file:" + list_ + "\"\n")).routes[0].clients, nullptr);
  write_list(list_of(1'000'000) + "\n192.0.2.1\n");
  const std::string error = load_error(with_route("deny = \"file:" + list_ + "\"\n"));
  EXPECT_NE(error.find(":1000002: one block too many, expected at most 1000000"), error.npos)
      << error;
}

}  // namespace
}  // namespace sluice
