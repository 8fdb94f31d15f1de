#include "tools/ctl/views.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "tools/ctl/api.h"
#include "tools/ctl/fields.h"
#include "tools/ctl/top_model.h"

namespace sluice::ctl {
namespace {

bool is_printable(const std::string& text) {
  for (const char c : text) {
    if (c < ' ' || c > '~') return false;
  }
  return true;
}

// --- Tables and cells ---

TEST(CtlTableTest, ColumnsAreAsWideAsTheirWidestCell) {
  Table table({{"NAME"}, {"N", kRight}, {"LAST"}});
  table.add({"a", "1", "x"});
  table.add({"longer", "1000", ""});
  EXPECT_EQ(table.text(),
            "NAME       N  LAST\n"
            "a          1  x\n"
            "longer  1000\n");
  EXPECT_EQ(table.lines(1, 10), (std::vector<std::string>{"NAME  N  L", "a     1  x"}));
  EXPECT_EQ(Table({{"NAME"}}).text(), "NAME\n");
}

TEST(CtlTableTest, ACellIsPrintableAndNotTooLong) {
  EXPECT_EQ(cell("a\x1b[2J\n\t\xff\\"), "a\\x1b[2J\\n\\t\\xff\\\\");
  EXPECT_EQ(cell(std::string("\0", 1)), "\\x00");
  EXPECT_EQ(cell(""), "-");
  EXPECT_EQ(cell(std::string(200, 'x')), std::string(200, 'x'));
  const std::string cut = cell(std::string(1'000'000, '\x1b'));
  EXPECT_EQ(cut.size(), 200U);
  EXPECT_TRUE(cut.ends_with("...")) << cut;
}

TEST(CtlFieldsTest, MembersOfWrongTypesAreShownAndHarmNothing) {
  const json::object object = {{"null", nullptr},
                               {"text", "1x"},
                               {"number", "18446744073709551615"},
                               {"huge", "99999999999999999999"},
                               {"negative", -3},
                               {"array", {1, "\x1b", nullptr}},
                               {"none", json::array()},
                               {"object", {{"a", 1}, {"b", "2"}, {"c", "x"}, {"d", -1}}}};
  EXPECT_EQ(text_at(object, "missing"), "-");
  EXPECT_EQ(text_at(object, "null"), "-");
  EXPECT_EQ(text_at(object, "array"), "1 +2");
  EXPECT_EQ(text_at(object, "none"), "-");
  EXPECT_EQ(all_at(object, "array"), "1,\\\\x1b,-");
  EXPECT_EQ(size_at(object, "number"), "16777216 TiB");
  for (const char* key : {"missing", "null", "text", "huge", "negative", "array", "object"}) {
    EXPECT_EQ(size_at(object, key), "-") << key;
    EXPECT_EQ(seconds_at(object, key), "-") << key;
    EXPECT_EQ(flag_at(object, key), "-") << key;
  }
  EXPECT_EQ(sum_at(object, "object"), 3);
  EXPECT_FALSE(sum_at(object, "text"));
  EXPECT_EQ(size_at(object, "object", "b"), "2 bytes");
  EXPECT_EQ(size_at(object, "text", "b"), "-");
}

TEST(CtlFieldsTest, DurationsAndRatesHaveUnits) {
  EXPECT_EQ(as_seconds(0), "0.0s");
  EXPECT_EQ(as_seconds(59.94), "59.9s");
  EXPECT_EQ(as_seconds(90.7), "1m30s");
  EXPECT_EQ(as_seconds(90'061), "1d1h1m1s");
  EXPECT_EQ(as_seconds(1e300), "over 30 years");
  EXPECT_EQ(as_rate(0.3), "0 bytes/s");
  EXPECT_EQ(as_rate(1536), "1.5 KiB/s");
}

TEST(CtlViewsTest, ItemsThatAreNoneHaveRowsWithoutValues) {
  const json::array items = {1, nullptr, json::array(), json::object()};
  for (Table (*const table)(const json::array&) :
       {routes_table, servers_table, connections_table, captures_table, mirrors_table}) {
    const std::vector<std::string> lines = table(items).lines();
    ASSERT_EQ(lines.size(), 5U);
    for (const std::string& line : lines) EXPECT_TRUE(is_printable(line)) << line;
    EXPECT_TRUE(lines[1].starts_with("- ")) << lines[1];
  }
  EXPECT_TRUE(status_text({}).starts_with("version      -\n"));
}

TEST(CtlViewsTest, WhatIsLimitedShowsTheLimit) {
  EXPECT_EQ(connections_of({{"connections", 3}, {"limits", json::object()}}, "route-connections"),
            "3");
  EXPECT_EQ(connections_of({{"connections", 3},
                            {"limits", {{"route-connections", {{"limit", 9}, {"used", 4}}}}}},
                           "route-connections"),
            "4/9");
  EXPECT_EQ(connections_of({{"limits", {{"route-connections", 5}}}}, "route-connections"), "-");
}

// --- The API ---

TEST(CtlApiTest, PartsOfPathsAreEncoded) {
  EXPECT_EQ(percent_encoded("aZ09-._~"), "aZ09-._~");
  EXPECT_EQ(percent_encoded("[::1]:80/?&%\n\xff"), "%5B%3A%3A1%5D%3A80%2F%3F%26%25%0A%FF");
}

TEST(CtlApiTest, TheDetailOfAProblemIsShown) {
  EXPECT_EQ(detail_of({404, "", R"({"title":"Not Found","detail":"No such route."})"}),
            "No such route.");
  EXPECT_EQ(detail_of({404, "", R"({"title":"Not Found","detail":5})"}), "Not Found");
  for (const char* body : {"", "<html>", "[]", R"({"detail":""})"}) {
    EXPECT_EQ(detail_of({502, "", body}), "HTTP status 502") << body;
  }
}

// --- top ---

json::array routes_of(const std::string& name, int count, std::uint64_t bytes) {
  json::array routes;
  for (int i = 0; i < count; ++i) {
    // The last ones are the busiest.
    routes.push_back({{"name", name + std::to_string(i)},
                      {"bytes",
                       {{"to_upstream", std::to_string(bytes * static_cast<unsigned>(i))},
                        {"to_client", "0"}}}});
  }
  return routes;
}

Sample sample_at(int second, json::array routes, json::array connections = {}) {
  Sample sample;
  sample.at = TimePoint(std::chrono::seconds(second));
  sample.status = {{"version", "1\x1b[2J"}, {"state", "ready"}};
  sample.routes = std::move(routes);
  sample.connections = std::move(connections);
  return sample;
}

std::string joined(const std::vector<Line>& lines) {
  std::string text;
  for (const Line& line : lines) text += line.text + '\n';
  return text;
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(CtlTopModelTest, RatesAreWhatWasAddedInTheTimeBetween) {
  TopModel model;
  model.take(sample_at(10, routes_of("r", 2, 1024)));
  EXPECT_TRUE(holds(model.text(), "to upstream -  to client -\n")) << model.text();
  model.take(sample_at(12, routes_of("r", 2, 5 * 1024)));
  EXPECT_TRUE(holds(model.text(), "to upstream 2 KiB/s  to client 0 bytes/s\n")) << model.text();
}

TEST(CtlTopModelTest, ACounterThatGoesBackHasNoRate) {
  TopModel model;
  model.take(sample_at(10, routes_of("r", 2, 5000)));
  model.take(sample_at(11, routes_of("r", 2, 10)));
  EXPECT_FALSE(holds(model.text(), "KiB/s")) << model.text();
}

TEST(CtlTopModelTest, TheBusiestRoutesAreShownWhereNotAllHaveRoom) {
  TopModel model;
  model.take(sample_at(10, routes_of("r", 50, 1000)));
  model.take(sample_at(11, routes_of("r", 50, 3000)));
  const std::string all = joined(model.screen({200, 80}, {}));
  EXPECT_LT(all.find("r1 "), all.find("r49 "));
  const std::vector<Line> lines = model.screen({20, 80}, {});
  EXPECT_EQ(lines.size(), 13U);
  const std::string some = joined(lines);
  EXPECT_TRUE(holds(some, "r49 ")) << some;
  EXPECT_FALSE(holds(some, "r1 ")) << some;
}

TEST(CtlTopModelTest, LinesFitAnyScreenAndArePrintable) {
  json::array connections;
  for (int i = 0; i < 30; ++i) {
    connections.push_back(
        {{"id", "\x1b]0;" + std::to_string(i)}, {"client", std::string(500, 'c')}});
  }
  TopModel model;
  model.take(sample_at(10, routes_of("\r\x1b", 30, 1000), connections));
  for (const ScreenSize size : {ScreenSize{24, 80}, {5, 10}, {1, 1}, {100, 300}}) {
    const std::vector<Line> lines = model.screen(size, {"second"});
    // Below 6 rows the heads do not fit, and the screen cuts them.
    EXPECT_LE(lines.size(), std::max<std::size_t>(size.rows, 6));
    for (const Line& line : lines) EXPECT_TRUE(is_printable(line.text)) << line.text;
  }
}

TEST(CtlKeysTest, LettersAndArrowsAreKeysAndOtherSequencesAreNone) {
  KeyReader reader;
  std::vector<Key> keys;
  for (const char c : std::string("b\x1b[Cz\x1bOD\x1b[1;5C\x1b[3~\x1b[15~al\x1bi\n\xff\x1b[AQ")) {
    if (const auto key = reader.take(c)) keys.push_back(*key);
  }
  EXPECT_EQ(keys, (std::vector<Key>{Key::bytes, Key::next, Key::previous, Key::next, Key::age,
                                    Key::idle, Key::id, Key::previous, Key::quit}));
}

}  // namespace
}  // namespace sluice::ctl
