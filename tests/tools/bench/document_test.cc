#include "tools/bench/document.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/temp_dir.h"
#include "tools/bench/baseline.h"
#include "tools/bench/best.h"
#include "tools/bench/html.h"
#include "tools/bench/table.h"

namespace sluice::bench {
namespace {

json::object run_of(const char* contender, int round, double rate, double p50) {
  // Without braces: compilers differ over a list of one list.
  json::array points;
  points.push_back(json::array{50, p50});
  return {{"contender", contender},
          {"round", round},
          {"valid", true},
          {"metrics", json::object{{"trips_per_s", rate}, {"p50_us", p50}}},
          {"percentiles", json::object{{"rr", std::move(points)}}}};
}

// Three rounds of two contenders. In the second round one run of b is void, unless `whole`.
json::object example(bool whole = false) {
  json::object document = new_document("sluice-bench --example");
  document["settings"] = {
      {"rounds", 3}, {"seconds", 1.0}, {"warmup_seconds", 0.3}, {"network", "own"}};
  document["baseline"] = "a";
  document["interrupted"] = false;
  document["contenders"] = json::array{};
  for (const char* name : {"a", "b"}) {
    document["contenders"].as_array().push_back(
        json::object{{"name", name}, {"version", "1"}, {"command", name}, {"config", ""}});
  }
  json::object workload = new_workload(*parse_workload("rr1"), false);
  workload["runs"] = json::array{run_of("a", 1, 100, 10),
                                 run_of("b", 1, 150, 8),
                                 run_of("a", 2, 200, 20),
                                 whole ? run_of("b", 2, 525, 7)
                                       : json::object{{"contender", "b"},
                                                      {"round", 2},
                                                      {"valid", false},
                                                      {"reason", "lost a byte"}},
                                 run_of("a", 3, 300, 30),
                                 run_of("b", 3, 900, 6)};
  summarize(workload, {"a", "b"}, "a");
  document["workloads"].as_array().push_back(std::move(workload));
  return document;
}

const json::object& entry_of(const json::object& document, std::size_t index) {
  return document.at("workloads").at(0).at("summary").at(index).as_object();
}

TEST(DocumentTest, MediansWithTheirSpread) {
  const json::object document = example();
  const json::value& a = entry_of(document, 0).at("metrics").at("trips_per_s");
  EXPECT_EQ(number(a.at("median")), 200);
  EXPECT_EQ(number(a.at("least")), 100);
  EXPECT_EQ(number(a.at("most")), 300);
  const json::value& b = entry_of(document, 1).at("metrics").at("trips_per_s");
  EXPECT_EQ(number(b.at("median")), 525) << "of two, the mean";
}

TEST(DocumentTest, RatiosAreOfOneRoundEach) {
  const json::object document = example();
  const json::value& ratio = entry_of(document, 1).at("ratios").at("trips_per_s");
  EXPECT_DOUBLE_EQ(number(ratio.at("least")), 1.5);
  EXPECT_DOUBLE_EQ(number(ratio.at("most")), 3);
  EXPECT_DOUBLE_EQ(number(ratio.at("median")), 2.25);
  EXPECT_FALSE(entry_of(document, 0).contains("ratios"));
}

TEST(DocumentTest, VoidRunsCountAsTriedOnly) {
  const json::object document = example();
  EXPECT_EQ(number(entry_of(document, 1).at("runs")), 3);
  EXPECT_EQ(number(entry_of(document, 1).at("valid")), 2);
  const std::string table = to_table(document, TableStyle::plain);
  EXPECT_NE(table.find("VOID: b, round 2: lost a byte"), std::string::npos) << table;
  EXPECT_NE(table.find("2/3"), std::string::npos) << table;
}

TEST(DocumentTest, WrittenAndReadItIsTheSame) {
  const test::TempDir folder;
  const json::object document = example();
  const Result<json::object> read = read_document(folder.write("x.json", to_text(document)));
  ASSERT_TRUE(read.has_value()) << read.error().to_string();
  EXPECT_EQ(to_text(*read), to_text(document));
}

TEST(DocumentTest, SumsOfOthersAreNotBelieved) {
  const test::TempDir folder;
  const json::object document = example();
  json::object false_sums = document;
  false_sums["workloads"].at(0).at("summary").at(0).as_object()["metrics"] = "nonsense";
  const Result<json::object> read = read_document(folder.write("x.json", to_text(false_sums)));
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(to_text(*read), to_text(document));
}

TEST(TableTest, TheBestIsBoldOnATerminalOnly) {
  const json::object document = example(true);
  const std::string bold = to_table(document, TableStyle::terminal);
  EXPECT_NE(bold.find("\x1b[1m525 (150–900)\x1b[0m"), std::string::npos) << bold;
  EXPECT_NE(bold.find("\x1b[1m7.0 (6.0–8.0)\x1b[0m"), std::string::npos) << "less is better";
  EXPECT_EQ(to_table(document, TableStyle::plain).find('\x1b'), std::string::npos);
}

TEST(TableTest, WhatHasFewerValidRunsIsNeverTheBest) {
  const std::string bold = to_table(example(), TableStyle::terminal);
  EXPECT_EQ(bold.find("\x1b[1m525"), std::string::npos) << bold;
  // The other one is not bold either, as it is then alone.
  EXPECT_EQ(bold.find("\x1b[1m200"), std::string::npos) << bold;
}

TEST(TableTest, WhatIsNotComparedHasNoBest) {
  json::object document = example(true);
  document["workloads"].at(0).at("metrics").at(0).at("compared") = false;
  const std::string bold = to_table(document, TableStyle::terminal);
  EXPECT_EQ(bold.find("\x1b[1m525"), std::string::npos) << bold;
}

TEST(BestTest, AllThatReadTheSameAreBestAndNoneIfTheyAllDo) {
  const auto shown = [](double value) { return std::to_string(std::lround(value)); };
  const auto best = [&](const std::vector<double>& medians) {
    std::vector<Candidate> candidates{{100, 3, false}, {90, 2, true}};
    for (const double median : medians) candidates.push_back({median, 3, true});
    const std::vector<bool> marked = best_of(candidates, true, shown);
    return std::vector<bool>(marked.begin() + 2, marked.end());
  };
  EXPECT_EQ(best({1, 2, 2.1}), (std::vector<bool>{false, true, true}));
  EXPECT_EQ(best({2, 1.9}), (std::vector<bool>{false, false}));
  EXPECT_EQ(best({2}), (std::vector<bool>{false}));
}

TEST(TableTest, AnEndThatWasTheLimitIsSaid) {
  EXPECT_EQ(to_table(example(), TableStyle::plain).find("Saturated"), std::string::npos);
  json::object document = example();
  json::object& workload = document["workloads"].at(0).as_object();
  for (json::value& run : workload["runs"].as_array()) {
    if (!run.at("valid").as_bool()) continue;
    const bool a = run.at("contender") == "a";
    run.at("metrics").as_object()["ends_busiest_thread"] = a ? 0.97 : 0.6;
  }
  summarize(workload, {"a", "b"}, "a");
  const std::string table = to_table(document, TableStyle::plain);
  EXPECT_NE(table.find("Saturated: "), std::string::npos) << table;
  EXPECT_NE(table.find("limit: a 0.97.\n"), std::string::npos) << table;
}

TEST(TableTest, WhatATcpdumpHasLostIsSaid) {
  json::object document = example();
  EXPECT_EQ(to_table(document, TableStyle::plain).find("Lost"), std::string::npos);
  EXPECT_EQ(to_html(document).find("Lost"), std::string::npos);
  json::object& workload = document["workloads"].at(0).as_object();
  for (json::value& run : workload["runs"].as_array()) {
    if (run.at("contender") != "a") continue;
    run.at("metrics").as_object()["dump_lost_percent"] = 12.5;
  }
  summarize(workload, {"a", "b"}, "a");
  EXPECT_NE(to_table(document, TableStyle::plain).find("did not record: a 12.50.\n"),
            std::string::npos);
  EXPECT_NE(to_html(document).find("did not record: a 12.50."), std::string::npos);
}

TEST(TableTest, SystemCallsHaveAColumnOrAReason) {
  json::object document = example();
  json::object& workload = document["workloads"].at(0).as_object();
  workload["metrics"] = new_workload(*parse_workload("rr1"), false, true).at("metrics");
  workload["syscalls"] =
      json::array{json::object{{"contender", "a"},
                               {"valid", true},
                               {"metrics", json::object{{"proxy_syscalls_per_trip", 4.25}}}},
                  json::object{{"contender", "b"}, {"valid", false}, {"reason", "it was slow"}}};
  summarize(workload, {"a", "b"}, "a");
  EXPECT_EQ(number(entry_of(document, 0).at("metrics").at("proxy_syscalls_per_trip").at("median")),
            4.25);
  const std::string table = to_table(document, TableStyle::plain);
  EXPECT_NE(table.find("system calls/trip"), std::string::npos) << table;
  EXPECT_NE(table.find("4.25"), std::string::npos) << table;
  EXPECT_NE(table.find("System calls not counted: b: it was slow\n"), std::string::npos) << table;
  EXPECT_NE(to_html(document).find("system calls/trip"), std::string::npos);
  const test::TempDir folder;
  const Result<json::object> read = read_document(folder.write("x.json", to_text(document)));
  ASSERT_TRUE(read.has_value()) << read.error().to_string();
  EXPECT_EQ(to_text(*read), to_text(document));
}

TEST(TableTest, TheMachineAndTheContendersAreDescribed) {
  json::object document = example();
  document["machine"].as_object()["filesystem"] = "ext4 at /";
  document["settings"].as_object()["workers"] = 3;
  document["settings"].as_object()["servers"] = 5;
  document["contenders"].as_array()[1] = json::object{
      {"name", "b"}, {"version", ""}, {"command", "b -f x"}, {"config", "global\n  tuned\n"}};
  const std::string machine = describe_machine(document);
  EXPECT_NE(machine.find(", files on ext4 at /\n"), std::string::npos) << machine;
  EXPECT_NE(machine.find("with workers: 3; servers: 5\na: 1\n"), std::string::npos) << machine;
  const std::string conditions = describe_conditions(document);
  EXPECT_NE(conditions.find("with workers: 3; servers: 5\n- a: 1, `a`\n- b: `b -f x`\n"),
            std::string::npos)
      << conditions;
  EXPECT_NE(conditions.find("{config}:\n\n      global\n        tuned\n\n"), std::string::npos)
      << conditions;
}

TEST(TableTest, MarkdownRowsHaveOneWidth) {
  const std::string table = to_table(example(), TableStyle::markdown);
  EXPECT_NE(table.find("| a "), std::string::npos) << table;
  EXPECT_NE(table.find("| × a "), std::string::npos) << table;
}

// The complete example, with each of its runs changed.
template <class Change>
json::object changed_example(const Change& change) {
  json::object document = example(true);
  json::object& workload = document["workloads"].at(0).as_object();
  for (json::value& run : workload["runs"].as_array()) {
    change(run.at("contender") == "a", run.at("metrics").as_object());
  }
  summarize(workload, {"a", "b"}, "a");
  return document;
}

// The line of `title` below "rr1, CONTENDER".
std::string line_of(const std::string& text, const std::string& contender,
                    const std::string& title) {
  const std::size_t at = text.find("    " + title, text.find("  rr1, " + contender + "\n"));
  return at == std::string::npos ? "" : text.substr(at, text.find('\n', at) - at);
}

TEST(BaselineTest, WhatIsJudgedIsTheRatioToTheBaseline) {
  // The machine has become ten times as fast, which did not speed up b.
  const json::object after = changed_example([](bool a, json::object& metrics) {
    if (a) metrics.at("trips_per_s") = 10 * number(metrics.at("trips_per_s"));
  });
  const std::string text = compare_documents(example(true), after);
  EXPECT_NE(line_of(text, "a", "trips/s").find("10.00 ×   better (the figure itself)"),
            std::string::npos)
      << text;
  EXPECT_NE(line_of(text, "b", "trips/s").find(" 1.00 ×   × a: 2.62 → 0.26   worse"),
            std::string::npos)
      << text;
  EXPECT_NE(line_of(text, "b", "p50 µs").find("within the spread"), std::string::npos) << text;
  EXPECT_EQ(text.find("machines differ"), std::string::npos) << text;
}

TEST(BaselineTest, AMachineThatDriftsChangesNoVerdict) {
  const json::object after = changed_example([](bool, json::object& metrics) {
    metrics.at("trips_per_s") = 10 * number(metrics.at("trips_per_s"));
  });
  const std::string text = compare_documents(example(true), after);
  EXPECT_NE(line_of(text, "b", "trips/s").find("10.00 ×   × a: 2.62 → 2.62   within the spread"),
            std::string::npos)
      << text;
}

TEST(BaselineTest, OfOtherBaselinesTheFiguresAreJudged) {
  json::object before = example(true);
  before["baseline"] = "b";
  summarize(before["workloads"].at(0).as_object(), {"a", "b"}, "b");
  const std::string text = compare_documents(before, example(true));
  EXPECT_NE(text.find("the baselines differ: b, now a"), std::string::npos) << text;
  EXPECT_NE(line_of(text, "b", "trips/s").find("within the spread (the figure itself)"),
            std::string::npos)
      << text;
}

TEST(BaselineTest, OfTooFewRunsNothingIsSaid) {
  const std::string text = compare_documents(example(), example(true));
  EXPECT_NE(line_of(text, "b", "trips/s").find("too few runs to say"), std::string::npos) << text;
}

TEST(BaselineTest, WorseIsSaidWhereMoreWouldBeBetter) {
  const json::object after = changed_example([](bool, json::object& metrics) {
    metrics.at("trips_per_s") = 1;
    metrics.at("p50_us") = 1;
  });
  const std::string text = compare_documents(example(true), after);
  EXPECT_NE(line_of(text, "a", "trips/s").find("0.01 ×   worse"), std::string::npos) << text;
  EXPECT_NE(line_of(text, "a", "p50 µs").find("0.05 ×   better"), std::string::npos) << text;
}

TEST(BaselineTest, NothingIsNoRatio) {
  const json::object before =
      changed_example([](bool, json::object& metrics) { metrics.at("trips_per_s") = 0; });
  const std::string text = compare_documents(before, example(true));
  EXPECT_NE(line_of(text, "a", "trips/s").find("better (the figure itself)"), std::string::npos)
      << text;
  EXPECT_EQ(line_of(text, "a", "trips/s").find("×"), std::string::npos) << text;
}

TEST(BaselineTest, FiguresThatAreNotComparedAreNotJudged) {
  json::object after =
      changed_example([](bool, json::object& metrics) { metrics.at("trips_per_s") = 1; });
  after["workloads"].at(0).at("metrics").at(0).at("compared") = false;
  const std::string text = compare_documents(example(true), after);
  EXPECT_NE(line_of(text, "b", "trips/s").find("×   not judged"), std::string::npos) << text;
}

TEST(BaselineTest, WhatOnlyTheEarlierRunHasIsNamed) {
  json::object after = example();
  summarize(after["workloads"].at(0).as_object(), {"a"}, "a");
  EXPECT_NE(compare_documents(example(), after).find("  rr1, b: only in the earlier run\n"),
            std::string::npos);
  after["workloads"].as_array().clear();
  EXPECT_NE(compare_documents(example(), after).find("  rr1: only in the earlier run\n"),
            std::string::npos);
}

TEST(BaselineTest, WhatHasNoPartnerIsSaid) {
  json::object before = example();
  before["workloads"].as_array().clear();
  EXPECT_NE(compare_documents(before, example()).find("rr1: not in the earlier run"),
            std::string::npos);
}

TEST(BaselineTest, OtherEndsAreAnotherWorkload) {
  json::object after = example();
  const WorkloadDefaults threads{.threading = Threading::per_connection};
  after["workloads"].at(0).as_object()["name"] = parse_workload("rr1", threads)->name;
  const std::string text = compare_documents(example(), after);
  EXPECT_NE(text.find("rr1-threads: not in the earlier run\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("→"), std::string::npos) << text;
}

TEST(BaselineTest, AnotherNumberOfServersIsSaid) {
  json::object before = example();
  before["settings"].as_object()["servers"] = 1;
  json::object after = example();
  after["settings"].as_object()["servers"] = 5;
  const std::string text = compare_documents(before, after);
  EXPECT_NE(text.find("the settings differ in servers: 1, now 5\n"), std::string::npos) << text;
}

TEST(BaselineTest, AnotherMachineIsSaid) {
  json::object before = example();
  before["machine"].at("cpu") = "an abacus";
  EXPECT_NE(compare_documents(before, example()).find("the machines differ in cpu: \"an abacus\""),
            std::string::npos);
}

}  // namespace
}  // namespace sluice::bench
