// The real program on good and bad captures.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "iolib/base/crc32c.h"
#include "iolib/base/owned_fd.h"
#include "iolib/capture/format.h"
#include "iolib/disk/volume.h"
#include "iolib/json/json.h"
#include "tests/support/capture_builder.h"
#include "tests/support/process.h"
#include "tests/support/regex.h"
#include "tests/support/settings.h"
#include "tests/support/sockets.h"
#include "tests/support/temp_dir.h"
#include "tests/support/terminal.h"
#include "tests/support/wait.h"
#include "tests/tools/capture/tool.h"

namespace sluice::test {
namespace {

using capture::GapReason;
using capture::Kind;
using capture::SegmentState;
using capture::Side;

constexpr int kClean = 0, kUnreadable = 1, kUsage = 2, kTorn = 3, kGaps = 4, kDamage = 5;

std::vector<CaptureRecord> joined(std::vector<std::vector<CaptureRecord>> parts) {
  std::vector<CaptureRecord> all;
  for (auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

std::vector<CaptureRecord> request(std::uint64_t connection) {
  return connection_records(connection, bytes_of("GET / HTTP/1.0\r\n\r\n"),
                            bytes_of("HTTP/1.0 200 OK\r\n\r\nhello"));
}

// Connection 7, in which 50 bytes from 5 on are not recorded.
std::vector<CaptureRecord> with_gap() {
  capture::CloseInfo close;
  close.sides[0] = totals_of(bytes_of("helloworld"));
  close.reason = "closed";
  return {open_record(7),
          data_record(7, Side::client, 0, "hello"),
          gap_record(7, Side::client, 5, 50, GapReason::buffers_full),
          data_record(7, Side::client, 55, "world"),
          end_record(Kind::eof, 7, Side::client, 60),
          close_record(7, close)};
}

// --- ls, stat ---

TEST(Ls, ListsConnectionsWithPeersBytesAndStates) {
  const TempDir folder;
  write_segment(folder.path(), {}, joined({request(1), with_gap(), {open_record(9)}}));
  const Outcome plain = run({"ls", folder.path()});
  EXPECT_EQ(plain.status, 0) << plain.error;
  EXPECT_TRUE(Regex("c1 +closed .*10.0.0.1:4000 +127.0.0.1:80"
                    " +web +18\\+24 +0 +closed")
                  .is_in(plain.output))
      << plain.output;
  const Outcome outcome = run({"ls", "--json", folder.path()});
  const auto document = json::parse(outcome.output);
  const json::array& connections = document.at("connections").as_array();
  ASSERT_EQ(connections.size(), 3U);
  EXPECT_EQ(connections[0].at("id"), "c1");
  EXPECT_EQ(connections[0].at("sides").at("client").at("bytes").to_number<int>(), 18);
  EXPECT_EQ(json::serialize(connections[1].at("sides").at("client").at("gaps")),
            "[[5,50,\"buffers_full\"]]");
  EXPECT_EQ(connections[2].at("state"), "cut");
}

TEST(Ls, CallsAConnectionOpenAsLongAsItsWriterLives) {
  const TempDir folder;
  SegmentPlan plan;
  plan.footer = false;
  plan.zeros_behind_bytes = 1 << 20;
  const std::string file = write_segment(folder.path(), plan, {open_record(1)}, SegmentState::open);
  const auto state = [](const std::string& path) {
    const Outcome outcome = run({"ls", "--json", path});
    return std::string(json::parse(outcome.output).at("connections").at(0).at("state").as_string());
  };
  auto writer = Directory::open(folder.path());
  ASSERT_TRUE(writer.has_value());
  EXPECT_EQ(state(folder.path()), "open");
  EXPECT_EQ(state(file), "open") << "the segment alone";
  writer->reset();
  EXPECT_EQ(state(folder.path()), "cut") << "what a crash leaves behind";
}

TEST(Stat, AddsUp) {
  const TempDir folder;
  write_segment(folder.path(), {}, joined({request(1), with_gap()}));
  const Outcome outcome = run({"stat", "--json", folder.path()});
  const auto document = json::parse(outcome.output);
  EXPECT_EQ(document.at("data_bytes").to_number<int>(), 18 + 24 + 10);
  EXPECT_EQ(document.at("gaps").at("buffers_full").at("bytes").to_number<int>(), 50);
  EXPECT_EQ(document.at("durability").at(0), "batch");
  EXPECT_TRUE(has(run({"stat", folder.path()}).output, "segments.sealed"));
}

// A segment with this many flipped payloads.
std::vector<std::byte> damaged(int places) {
  SegmentPlan plan;
  std::vector<std::byte> bytes =
      build_segment(plan, connection_records(1, random_bytes(40'000, 1), {}));
  for (int i = 0; i < places; ++i) bytes[static_cast<std::size_t>(i) * 1200 + 600] ^= std::byte{4};
  return bytes;
}

TEST(Damage, IsSaidByEveryCommandAndItsStatus) {
  const TempDir folder;
  const std::vector<std::vector<std::string>> commands = {{"ls"},
                                                          {"ls", "--json"},
                                                          {"stat"},
                                                          {"show"},
                                                          {"search", "--text", "x"},
                                                          {"search", "--json", "--text", "x"},
                                                          {"extract", "--out", folder.file("out")}};
  for (const int places : {1, 30}) {
    const TempDir capture;
    write_segment_bytes(capture.path(), {}, damaged(places));
    for (auto words : commands) {
      const std::string name = words[0];
      words.push_back(capture.path());
      const Outcome outcome = run(words);
      EXPECT_EQ(outcome.status, kDamage) << name << outcome.error;
      const std::size_t lines = count_lines(outcome.error, Regex("sluice, offset \\d+: "));
      if (places == 1) {
        EXPECT_TRUE(has(outcome.error, "offset ")) << name;
        EXPECT_EQ(lines, 2U) << name << outcome.error << "the damage, and what it lost";
      } else if (name != "show") {
        EXPECT_EQ(lines, 10U) << name << outcome.error;
        EXPECT_TRUE(Regex("and \\d+ more: ").is_in(outcome.error)) << name;
      }
    }
    std::filesystem::remove_all(folder.file("out"));
  }
  const TempDir torn;
  SegmentPlan plan;
  plan.footer = false;
  write_segment(torn.path(), plan, joined({request(1), with_gap()}));
  EXPECT_EQ(run({"ls", torn.path()}).status, 0) << "torn, with a recorded gap: no loss";
  const TempDir lost;
  write_segment(lost.path(), {}, {open_record(1), data_record(1, Side::client, 9, "x")});
  EXPECT_EQ(run({"ls", lost.path()}).status, kGaps);
  EXPECT_EQ(run({"show", lost.path()}).status, kGaps);
}

TEST(Damage, NamesTheConnectionAndWhereInItsStream) {
  const TempDir capture;
  const TempDir folder;
  auto records = joined({{open_record(1), data_record(1, Side::upstream, 9, "x")}, with_gap()});
  records.push_back(data_record(4, Side::client, 5, "begins here"));
  records.push_back(data_record(4, Side::client, 20, "goes on"));
  write_segment(capture.path(), {}, records);
  for (const std::vector<std::string>& command : {std::vector<std::string>{"ls"},
                                                  {"stat"},
                                                  {"show"},
                                                  {"search", "--text", "x"},
                                                  {"extract", "--out", folder.file("out")},
                                                  {"recover", "--out", folder.file("recovered")},
                                                  {"export", "--jsonl", folder.file("lines")},
                                                  {"verify"}}) {
    std::vector<std::string> words = command;
    words.push_back(capture.path());
    const Outcome outcome = run(words);
    const std::string said = outcome.error + outcome.output;
    EXPECT_TRUE(has(said, "without a record, connection c1, upstream from 0, 9 bytes\n")) << said;
    EXPECT_TRUE(has(said, ", connection run1-0-4, client from 16, 4 bytes\n")) << said;
  }
  const auto document = json::parse(run({"verify", "--json", capture.path()}).output);
  const json::array& findings = document.at("findings").as_array();
  ASSERT_EQ(findings.size(), 3U);
  EXPECT_EQ(findings[1].at("connection"), "c7") << "a recorded gap";
  EXPECT_EQ(findings[1].at("number"), 7);
  EXPECT_EQ(findings[1].at("side"), "client");
  EXPECT_EQ(findings[1].at("stream_offset"), 5);
}

// --- cat ---

TEST(Cat, GivesTheExactBytesOfASideOverSegments) {
  const TempDir folder;
  const auto bytes = random_bytes(300'000, 5);
  auto records = connection_records(1, bytes, {}, 7000);
  const std::vector<CaptureRecord> head(records.begin(), records.begin() + 20);
  std::vector<CaptureRecord> tail(records.begin() + 20, records.end());
  SegmentPlan plan;
  plan.frame_bytes = 64 << 10;
  write_segment(folder.path(), plan, head);
  plan.number = 1;
  plan.id = 2;
  write_segment(folder.path(), plan, tail);
  const Outcome outcome = run({"cat", "--connection", "c1", "--side", "client", folder.path()});
  EXPECT_EQ(outcome.status, 0) << outcome.error;
  EXPECT_EQ(outcome.output, string_of(bytes));
}

TEST(Cat, StopsAtAGapUnlessToldToSkipIt) {
  const TempDir folder;
  write_segment(folder.path(), {}, with_gap());
  const std::vector<std::string> command = {"cat",    "--connection", "c7",
                                            "--side", "client",       folder.path()};
  const Outcome stopped = run(command);
  EXPECT_EQ(stopped.status, kGaps);
  EXPECT_EQ(stopped.output, "hello");
  EXPECT_TRUE(has(stopped.error, "50 bytes at offset 5: buffers_full")) << stopped.error;
  auto skipping = command;
  skipping.emplace_back("--skip-gaps");
  const Outcome skipped = run(skipping);
  EXPECT_EQ(skipped.status, 0);
  EXPECT_EQ(skipped.output, "helloworld");
}

TEST(Cat, StopsWhereARecordIsDamaged) {
  const TempDir folder;
  auto bytes = build_segment({}, connection_records(1, random_bytes(20'000, 1), {}, 1000));
  bytes[9000] ^= std::byte{1};
  write_segment_bytes(folder.path(), {}, bytes);
  const Outcome outcome = run({"cat", "--connection", "c1", "--side", "client", folder.path()});
  EXPECT_EQ(outcome.status, kGaps);
  EXPECT_LT(outcome.output.size(), 20'000U);
  EXPECT_EQ(outcome.output, string_of(random_bytes(20'000, 1)).substr(0, outcome.output.size()));
}

TEST(Cat, OfAnUnknownConnectionFails) {
  const TempDir folder;
  write_segment(folder.path(), {}, request(1));
  const Outcome outcome =
      run({"cat", "--connection", "x\033[1m", "--side", "client", folder.path()});
  EXPECT_EQ(outcome.status, kUnreadable);
  EXPECT_EQ(outcome.error.find('\033'), std::string::npos);
}

// --- show, search, follow ---

TEST(Show, LetsNoControlCharactersThrough) {
  const TempDir folder;
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  capture::OpenInfo info = open_info(1);
  info.id = "id\033]0;gotcha\007\x9b";
  info.route = all;
  capture::CloseInfo close;
  close.reason = all;
  close.sides[0] = totals_of(bytes_of(all));
  write_segment(
      folder.path(), {},
      {open_record(1, info), data_record(1, Side::client, 0, all), close_record(1, close)});
  for (const char* command : {"ls", "show", "stat", "verify", "ls --json", "show --json",
                              "show --hex", "search --regex [a-z]+"}) {
    std::vector<std::string> words;
    std::istringstream stream(command);
    for (std::string word; stream >> word;) words.push_back(word);
    words.push_back(folder.path());
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.status, 0) << command << outcome.error;
    for (const char c : outcome.output + outcome.error) {
      const auto byte = static_cast<unsigned char>(c);
      const bool control = (byte < 0x20 && c != '\n') || (byte == 0x9b);
      ASSERT_FALSE(control) << command << ": " << static_cast<int>(byte);
    }
  }
}

TEST(Show, HasTimesSidesAndText) {
  const TempDir folder;
  write_segment(folder.path(), {}, request(2));
  const Outcome outcome = run({"show", "--side", "client", folder.path()});
  EXPECT_TRUE(has(outcome.output,
                  "2026-01-01T00:00:02.000000000Z c2 client data 0+18\n"
                  "    GET / HTTP/1.0\\r\\n\n    \\r\\n\n"))
      << outcome.output;
  EXPECT_FALSE(has(outcome.output, "hello"));
  const Outcome hex = run({"show", "--hex", folder.path()});
  EXPECT_TRUE(has(hex.output, "47 45 54 20 2f 20 48 54")) << hex.output;
}

TEST(Search, FindsALiteralAcrossRecords) {
  const TempDir folder;
  std::vector<CaptureRecord> records = {open_record(1), open_record(2)};
  const std::string text = "xxabababcyy";
  for (std::size_t i = 0; i < text.size(); ++i) {
    records.push_back(data_record(1, Side::client, i, text.substr(i, 1)));
    records.push_back(data_record(2, Side::client, i, "-"));
  }
  write_segment(folder.path(), {}, records);
  const Outcome outcome = run({"search", "--text", "ababc", "--json", folder.path()});
  const auto document = json::parse(outcome.output);
  ASSERT_EQ(document.at("matches").as_array().size(), 1U) << outcome.output;
  EXPECT_EQ(document.at("matches").at(0).at("offset").to_number<int>(), 4);
  EXPECT_EQ(run({"search", "--text", "abc", folder.path()}).status, 0);
}

TEST(Search, FindsWhatANaiveSearchFinds) {
  const TempDir folder;
  std::mt19937_64 random(seed());
  std::string text;
  for (int i = 0; i < 5000; ++i) text += static_cast<char>('a' + random() % 2);
  std::vector<CaptureRecord> records = {open_record(1)};
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t size = std::min<std::size_t>(random() % 40 + 1, text.size() - at);
    records.push_back(data_record(1, Side::client, at, text.substr(at, size)));
    at += size;
  }
  write_segment(folder.path(), {}, records);
  const std::string wanted = text.substr(random() % 4000, 9);
  std::vector<std::size_t> expected;
  for (std::size_t at = text.find(wanted); at != text.npos; at = text.find(wanted, at + 1)) {
    expected.push_back(at);
  }
  const Outcome outcome = run({"search", "--text", wanted, "--json", folder.path()});
  std::vector<std::size_t> found;
  const auto document = json::parse(outcome.output);
  for (const json::value& match : document.at("matches").as_array()) {
    found.push_back(match.at("offset").to_number<std::size_t>());
  }
  std::ranges::sort(found);
  EXPECT_EQ(found, expected) << wanted;
}

// The matches of `search --regex` in a stream that comes in pieces of `piece_bytes`.
std::string matches_of(const std::string& regex, const std::string& text, std::size_t piece_bytes) {
  const TempDir folder;
  SegmentPlan plan;
  plan.frame_bytes = 1 << 20;
  write_segment(folder.path(), plan, connection_records(1, bytes_of(text), {}, piece_bytes));
  const Outcome outcome = run({"search", "--json", "--regex", regex, folder.path()});
  EXPECT_EQ(outcome.status, 0) << outcome.error;
  std::string found;
  const auto document = json::parse(outcome.output);
  for (const json::value& match : document.at("matches").as_array()) {
    found += std::to_string(match.at("offset").to_number<std::size_t>()) + '+' +
             std::to_string(match.at("bytes").to_number<std::size_t>()) + ' ';
  }
  return found;
}

TEST(Search, FindsARegexAcrossRecords) {
  EXPECT_EQ(matches_of("GET /[a-z]+ ", "xGET /index HTTP", 3), "1+11 ");
  EXPECT_EQ(matches_of("[0-9]+", "a12345", 2), "1+5 ") << "the end of the stream ends it";
  EXPECT_EQ(matches_of("^ab|ab$", "abxababxab", 1), "0+2 8+2 ") << "of the stream, not of a record";
  EXPECT_EQ(matches_of("\\bab", "cab ab", 1), "4+2 ") << "what is before a piece counts";
  const std::string long_one = std::string(100, 'y') + 'a' + std::string(4094, 'x') + "by";
  EXPECT_EQ(matches_of("ax+b", long_one, 1000), "100+4096 ");
  EXPECT_EQ(matches_of("ax+b", 'a' + std::string(20'000, 'x') + 'b', 60'000), "")
      << "beyond what is looked at at once, in one record or many";
}

TEST(Search, FindsTheSameRegexMatchesHoweverTheStreamIsCut) {
  std::mt19937_64 random(seed());
  std::string text;
  for (int i = 0; i < 9000; ++i) text += static_cast<char>('a' + random() % 3);
  for (const char* regex : {"ab+c", "c[ab]{3,9}c", "(aa|bb)c"}) {
    const std::string whole = matches_of(regex, text, text.size());
    EXPECT_NE(whole, "");
    EXPECT_EQ(matches_of(regex, text, random() % 50 + 1), whole) << regex;
  }
}

TEST(Search, FindsTheLongestMatchThatBeginsFirstWhateverComesLater) {
  for (const std::size_t piece : {1U, 2U, 3U, 100U}) {
    EXPECT_EQ(matches_of("[a-z]+x|a", "ab-abx", piece), "0+1 3+3 ") << piece;
    EXPECT_EQ(matches_of("abc+d|c", "abccd abcc", piece), "0+5 8+1 9+1 ") << piece;
  }
  // The longest possible match, within one record.
  const std::string far = 'a' + std::string(4094, 'b') + "x";
  EXPECT_EQ(matches_of("ab*x|ab", far + std::string(20'000, '-') + far, 1000),
            "0+4096 24096+4096 ");
}

TEST(Search, TellsTheTimeOfTheRecordInWhichAMatchEnds) {
  const TempDir folder;
  // Each record's time in nanoseconds is its offset.
  write_segment(folder.path(), {}, connection_records(1, bytes_of("-----abc------"), {}, 3));
  const Outcome outcome = run({"search", "--regex", "b", folder.path()});
  EXPECT_TRUE(has(outcome.output, "01.000000006Z c1 client 6: b")) << outcome.output;
}

TEST(Search, FindsNoRegexAcrossAGap) {
  const TempDir folder;
  write_segment(folder.path(), {}, with_gap());
  const auto output = [&](const char* regex) {
    return run({"search", "--regex", regex, folder.path()}).output;
  };
  EXPECT_EQ(output("low"), "");
  EXPECT_TRUE(has(output("l+o"), "c7 client 2: llo"));
  EXPECT_EQ(output("^w|o$"), "");
}

TEST(Search, FiltersByPeerPortAndTime) {
  const TempDir folder;
  write_segment(folder.path(), {}, joined({request(1), request(2), request(3)}));
  const auto matches = [&](const std::vector<std::string>& filters) {
    std::vector<std::string> words = {"search", "--regex", "GET|POST", "--json", folder.path()};
    words.insert(words.end(), filters.begin(), filters.end());
    const Outcome outcome = run(words);
    std::string ids;
    const auto document = json::parse(outcome.output);
    for (const json::value& match : document.at("matches").as_array()) {
      ids += std::string(match.at("connection").as_string()) + ' ';
    }
    return ids;
  };
  EXPECT_EQ(matches({}), "c1 c2 c3 ");
  EXPECT_EQ(matches({"--peer", "10.0.0.2/31"}), "c2 c3 ");
  EXPECT_EQ(matches({"--port", "80"}), "c1 c2 c3 ");
  EXPECT_EQ(matches({"--port", "81"}), "");
  EXPECT_EQ(matches({"--from", "2026-01-01T00:00:02Z", "--to", "2026-01-01T00:00:03Z"}), "c2 ");
  EXPECT_EQ(matches({"--connection", "c3"}), "c3 ");
}

TEST(Follow, ShowsWhatIsAppendedAndWhatComesInTheNextSegment) {
  const TempDir folder;
  const auto writer = Directory::open(folder.path());
  ASSERT_TRUE(writer.has_value());
  SegmentPlan plan;
  plan.frames_in_flight = 0;
  const auto whole =
      build_segment(plan, connection_records(1, bytes_of(std::string(9000, 'a')), {}));
  ASSERT_EQ(whole.size(), 3U * 4096);
  // At first one frame and half of another.
  auto part = whole;
  std::fill(part.begin() + 6000, part.end(), std::byte{0});
  const std::string path = write_segment_bytes(folder.path(), plan, part, SegmentState::open);
  Process process({program(), "follow", folder.path()});
  ASSERT_TRUE(process.wait_for_output_line(Regex("c1 client data 2000[+]1000")));
  // Like the writer: more frames, the footer, then the final name.
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.write(reinterpret_cast<const char*>(whole.data()),
             static_cast<std::streamsize>(whole.size()));
  file.close();
  std::filesystem::rename(path, folder.path() + "/run1-w000-0000000000.sluice");
  plan.number = 1;
  plan.id = 2;
  auto records = joined({request(2), with_gap()});
  records.push_back(data_record(9, Side::client, 0, std::string(3500, 'x')));
  write_segment(folder.path(), plan, records, SegmentState::open);
  EXPECT_TRUE(process.wait_for_output_line(Regex("c1 close closed")));
  EXPECT_TRUE(process.wait_for_output_line(Regex("c2 close closed")));
  process.signal(SIGINT);
  EXPECT_EQ(process.wait(), 0) << process.standard_error();
  EXPECT_EQ(count_lines(process.standard_output(), Regex("c1 client data")), 9U);
}

TEST(Follow, OfASegmentGoesOnWhenItIsRenamed) {
  const TempDir folder;
  const auto writer = Directory::open(folder.path());
  ASSERT_TRUE(writer.has_value());
  SegmentPlan plan;
  plan.frames_in_flight = 0;
  const auto whole =
      build_segment(plan, connection_records(1, bytes_of(std::string(9000, 'a')), {}));
  const std::string path = write_segment_bytes(
      folder.path(), plan, std::span(whole).first(2 * 4096), SegmentState::open);
  Process process({program(), "follow", path});
  ASSERT_TRUE(process.wait_for_output_line(Regex("c1 client data 0[+]1000")));
  write_segment_bytes(folder.path(), plan, whole, SegmentState::open);
  std::filesystem::rename(path, folder.path() + "/run1-w000-0000000000.sluice");
  EXPECT_TRUE(process.wait_for_output_line(Regex("c1 close closed")));
  process.signal(SIGINT);
  EXPECT_EQ(process.wait(), 0) << process.standard_error();
}

TEST(Follow, GoesOnInADirectoryThatIsRemovedAndMadeAgain) {
  const TempDir parent;
  const std::string folder = parent.file("capture");
  SegmentPlan plan;
  plan.durability = "none";
  plan.footer = false;
  auto writer = Directory::open(folder);
  ASSERT_TRUE(writer.has_value());
  write_segment(folder, plan, request(1), SegmentState::open);
  Process process({program(), "follow", folder});
  ASSERT_TRUE(process.wait_for_output_line(Regex("c1 close closed")));
  std::filesystem::remove_all(folder);
  const auto pauses = [&] {
    const std::string status = read_text("/proc/" + std::to_string(process.pid()) + "/status");
    const std::size_t count = status.find("\nvoluntary_ctxt_switches:");
    return count == status.npos ? 0UL : std::stoul(status.substr(status.find(':', count) + 1));
  };
  const auto before = pauses();
  ASSERT_TRUE(wait_until([&] { return !process.running() || pauses() > before + 3; }));
  writer = Directory::open(folder);
  ASSERT_TRUE(writer.has_value());
  plan.number = 1;
  plan.id = 2;
  write_segment(folder, plan, request(2), SegmentState::open);
  EXPECT_TRUE(process.wait_for_output_line(Regex("c2 close closed")));
  process.signal(SIGINT);
  EXPECT_EQ(process.wait(), 0) << process.standard_error();
}

TEST(Follow, HoldsNoFileOfAChainThatHasEnded) {
  const TempDir folder;
  SegmentPlan plan;
  constexpr std::uint32_t kChains = 100;
  for (plan.worker = 0; plan.worker < kChains; ++plan.worker) {
    write_segment(folder.path(), plan, request(1));
  }
  ProcessOptions few_files;
  few_files.max_open_files = kChains / 2;
  Process process({program(), "follow", "--until-idle", "50ms", folder.path()}, few_files);
  EXPECT_EQ(process.wait(), 0) << process.standard_error();
  EXPECT_EQ(count_lines(process.standard_output(), Regex(" close ")), kChains);
}

TEST(Follow, EndsWhenStdoutIsGone) {
  const TempDir folder;
  write_segment(folder.path(), {}, request(1));
  const OwnedFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  ProcessOptions options;
  options.standard_output = full.get();
  Process process({program(), "follow", folder.path()}, options);
  EXPECT_EQ(process.wait(), 1);
  EXPECT_TRUE(has(process.standard_error(), "stdout cannot be written"));
}

// One signal is enough, also while the tool waits for a reader of its output.
TEST(Follow, EndsAtASignalWhileNobodyTakesWhatItPrints) {
  const TempDir folder;
  write_segment(folder.path(), {}, connection_records(1, random_bytes(200'000, 1), {}));
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const OwnedFd unread(ends[0]);
  const OwnedFd full(ends[1]);
  const int room = ::fcntl(full.get(), F_SETPIPE_SZ, 4096);
  ProcessOptions options;
  options.standard_output = full.get();
  Process process({program(), "follow", "--hex", folder.path()}, options);
  const std::string state = "/proc/" + std::to_string(process.pid()) + "/stat";
  const auto waits = [&] {
    int held = 0;
    return ::ioctl(unread.get(), FIONREAD, &held) == 0 && held == room &&
           has(read_text(state), ") S ");
  };
  ASSERT_TRUE(wait_until(waits));
  process.signal(SIGTERM);
  EXPECT_EQ(process.wait(), 1);
  EXPECT_TRUE(has(process.standard_error(), "stdout cannot be written"));
}

// Three frames. The last one confirms the one before, or none. Returns how many records were shown.
std::size_t followed(const std::string& directory, std::uint32_t frames_in_flight,
                     const std::string& durability, SegmentState state) {
  SegmentPlan plan;
  plan.frames_in_flight = frames_in_flight;
  plan.durability = durability;
  plan.footer = false;
  plan.zeros_behind_bytes = 1 << 20;
  std::vector<CaptureRecord> records = {open_record(1)};
  for (std::uint64_t i = 0; i < 3; ++i) {
    records.push_back(data_record(1, Side::client, i * 3500, std::string(3500, 'x')));
  }
  const std::string file = write_segment(directory, plan, records, state);
  const Outcome outcome = run({"follow", "--until-idle", "200ms", directory});
  EXPECT_EQ(outcome.status, 0);
  std::filesystem::remove(file);
  return count_lines(outcome.output, Regex(" client data "));
}

TEST(Follow, HoldsBackWhatIsNotDurableYet) {
  const TempDir folder;
  auto writer = Directory::open(folder.path());
  ASSERT_TRUE(writer.has_value());
  for (const char* level : {"interval", "batch", "before-forward"}) {
    EXPECT_EQ(followed(folder.path(), 100, level, SegmentState::open), 0U) << level;
    EXPECT_EQ(followed(folder.path(), 0, level, SegmentState::open), 2U) << level;
    EXPECT_EQ(followed(folder.path(), 100, level, SegmentState::sealed), 3U) << level;
  }
  EXPECT_EQ(followed(folder.path(), 100, "none", SegmentState::open), 3U);
  writer->reset();
  EXPECT_EQ(followed(folder.path(), 100, "batch", SegmentState::open), 3U) << "left behind";
}

TEST(Follow, EndsOnceIdle) {
  const TempDir folder;
  write_segment(folder.path(), {}, request(1));
  const Outcome outcome = run({"follow", "--until-idle", "50ms", folder.path()});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_TRUE(has(outcome.output, "c1 close"));
}

// --- Progress ---

// Runs a command with stdout and stderr on a terminal, which is not read for a time after its first
// output. Returns everything written there.
std::string shown_on_a_terminal(std::vector<std::string> command,
                                std::chrono::milliseconds held_back) {
  Terminal terminal;
  ProcessOptions options;
  options.standard_output = terminal.program_end();
  options.standard_error = terminal.program_end();
  command.insert(command.begin(), program());
  const Process process(command, options);
  terminal.close_program_end();
  EXPECT_TRUE(terminal.wait_for_output());
  std::this_thread::sleep_for(held_back);
  return terminal.read_to_end();
}

// Runs `cat` with stderr on a terminal and stdout blocked for a time after its first bytes.
std::string said_on_a_terminal(const std::string& path, std::chrono::milliseconds held_back) {
  Terminal terminal;
  int pipe_ends[2];
  EXPECT_EQ(::pipe2(pipe_ends, O_CLOEXEC), 0);
  const OwnedFd reader(pipe_ends[0]);
  ProcessOptions options;
  options.standard_output = pipe_ends[1];
  options.standard_error = terminal.program_end();
  Process process({program(), "cat", "--connection", "c1", "--side", "client", path}, options);
  ::close(pipe_ends[1]);
  terminal.close_program_end();
  EXPECT_TRUE(readable_within(reader.get(), kPatience));
  std::this_thread::sleep_for(held_back);
  std::vector<char> buffer(1 << 16);
  while (::read(reader.get(), buffer.data(), buffer.size()) > 0) continue;
  EXPECT_EQ(process.wait(), 0);
  // The kernel takes its time to bring it to the screen.
  return terminal.read_to_end();
}

TEST(Progress, IsShownOnATerminalOnceItTakesASecondAndTakenAwayAtTheEnd) {
  const TempDir folder;
  SegmentPlan plan;
  plan.frame_bytes = 1 << 20;
  write_segment(folder.path(), plan, connection_records(1, random_bytes(4 << 20, 1), {}, 9000));
  const std::string said = said_on_a_terminal(folder.path(), std::chrono::milliseconds(1300));
  EXPECT_TRUE(Regex("(\r[0-9]+% of 4 MiB\x1b\\[K)+\r\x1b\\[K").matches(said)) << said;
  // Less than the second after which a status line appears, unless the machine is slow.
  constexpr std::chrono::milliseconds kShort(900);
  for (int i = 0; i < 20; ++i) {
    const auto began = std::chrono::steady_clock::now();
    const std::string brief = said_on_a_terminal(folder.path(), std::chrono::milliseconds(0));
    if (std::chrono::steady_clock::now() - began > kShort) continue;
    EXPECT_EQ(brief, "");
    return;
  }
  GTEST_SKIP() << "the machine is too slow";
}

TEST(Progress, DoesNotGarbleWhatIsOnTheSameTerminal) {
  const TempDir folder;
  SegmentPlan plan;
  plan.frame_bytes = 1 << 20;
  auto records = connection_records(1, random_bytes(4 << 20, 1), {}, 9000);
  write_segment(folder.path(), plan, records);
  for (const char* command : {"show", "cat"}) {
    std::vector<std::string> words = {command,  "--connection", "c1",
                                      "--side", "client",       folder.path()};
    const std::string shown = shown_on_a_terminal(words, std::chrono::milliseconds(1300));
    EXPECT_GT(shown.size(), 4U << 20) << command;
    EXPECT_FALSE(has(shown, "% of 4 MiB")) << command;
  }
  // Many gaps cause many lines.
  std::vector<CaptureRecord> gaps = {open_record(1)};
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    gaps.push_back(gap_record(1, Side::client, i, 1, GapReason::limit));
  }
  write_segment(folder.path(), plan, gaps);
  const std::string shown =
      shown_on_a_terminal({"verify", folder.path()}, std::chrono::milliseconds(1300));
  EXPECT_TRUE(has(shown, "% of 1 MiB")) << "the test shows nothing";
  EXPECT_FALSE(Regex("MiB\x1b\\[K[^\r]").is_in(shown));
}

// --- extract ---

TEST(Extract, WritesAFileForEachSideAndAnIndex) {
  const TempDir folder;
  const auto client = random_bytes(200'000, 1);
  const auto upstream = random_bytes(90'000, 2);
  SegmentPlan plan;
  plan.frame_bytes = 1 << 20;
  write_segment(folder.path(), plan,
                joined({connection_records(1, client, upstream, 60'000), request(2), with_gap()}));
  const std::string out = folder.file("out");
  const Outcome outcome = run({"extract", "--out", out, folder.path()});
  ASSERT_EQ(outcome.status, 0) << outcome.error;
  EXPECT_EQ(read_text(out + "/c1.client"), string_of(client));
  EXPECT_EQ(read_text(out + "/c1.upstream"), string_of(upstream));
  EXPECT_EQ(read_text(out + "/c7.client"), "helloworld");
  const auto index = json::parse(read_text(out + "/index.json"));
  EXPECT_EQ(index.at("connections").at(1).at("upstream_file"), "c2.upstream");
  struct stat about {};
  ASSERT_EQ(::stat((out + "/c1.client").c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600U);
  EXPECT_EQ(run({"extract", "--out", out, folder.path()}).status, kUnreadable);
}

TEST(Extract, OfHostileIdsStaysInItsDirectory) {
  const TempDir folder;
  std::vector<CaptureRecord> records;
  const std::vector<std::string> ids = {
      "../../evil", "/etc/passwd", "..", "same", "same", "", "index.json", std::string(1000, 'x')};
  std::uint64_t number = 1;
  for (const std::string& id : ids) {
    capture::OpenInfo info = open_info(number);
    info.id = id;
    records.push_back(open_record(number, info));
    records.push_back(data_record(number, Side::client, 0, id + "!"));
    ++number;
  }
  write_segment(folder.path(), {}, records);
  const std::string out = folder.file("out");
  const Outcome outcome = run({"extract", "--out", out, folder.path()});
  ASSERT_EQ(outcome.status, 0) << outcome.error;
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(out)) {
    EXPECT_TRUE(entry.is_regular_file());
    ++files;
  }
  EXPECT_EQ(files, ids.size() + 1);
  EXPECT_EQ(read_text(out + "/same.client"), "same!");
  EXPECT_EQ(read_text(out + "/same~2.client"), "same!");
}

TEST(Extract, OfMoreConnectionsThanFilesMayBeOpen) {
  const TempDir folder;
  std::vector<CaptureRecord> records;
  constexpr std::uint64_t kConnections = 400;
  for (std::uint64_t each = 1; each <= kConnections; ++each) records.push_back(open_record(each));
  for (std::uint64_t at = 0; at < 3; ++at) {
    for (std::uint64_t each = 1; each <= kConnections; ++each) {
      records.push_back(data_record(each, Side::client, at, std::to_string(at)));
    }
  }
  write_segment(folder.path(), {}, records);
  const std::string out = folder.file("out");
  ProcessOptions few_files;
  few_files.max_open_files = 160;
  Process process({program(), "extract", "--out", out, folder.path()}, few_files);
  EXPECT_EQ(process.wait(), 0) << process.standard_error();
  for (std::uint64_t each = 1; each <= kConnections; ++each) {
    EXPECT_EQ(read_text(out + "/c" + std::to_string(each) + ".client"), "012");
  }
}

// --- verify ---

int verify(const TempDir& folder) { return run({"verify", folder.path()}).status.value_or(-1); }

TEST(Verify, OfAGoodCaptureIsClean) {
  const TempDir folder;
  write_segment(folder.path(), {}, request(1));
  const Outcome outcome = run({"verify", folder.path()});
  EXPECT_EQ(outcome.status, kClean);
  EXPECT_TRUE(has(outcome.output, "clean: 1 segments")) << outcome.output;
  EXPECT_EQ(json::parse(run({"verify", "--json", folder.path()}).output).at("result"), "clean");
}

TEST(Verify, NamesFileAndOffsetOfDamage) {
  const TempDir folder;
  auto bytes = build_segment({}, request(1));
  bytes[600] ^= std::byte{0x40};
  const std::string path = write_segment_bytes(folder.path(), {}, bytes);
  const Outcome outcome = run({"verify", folder.path()});
  EXPECT_EQ(outcome.status, kDamage);
  EXPECT_TRUE(Regex("0000.sluice, offset \\d+: damage: ").is_in(outcome.output)) << outcome.output;
  const auto document = json::parse(run({"verify", "--json", path}).output);
  EXPECT_EQ(document.at("result"), "damage");
  EXPECT_EQ(document.at("findings").at(0).at("file").as_string(), path);
}

TEST(Verify, AndSearchPrintADocumentThoughTheyFail) {
  const TempDir folder;
  write_segment(folder.path(), {}, with_gap());
  SegmentPlan plan;
  plan.number = 1;
  auto later = build_segment(plan, request(2));
  later[8] = std::byte{2};
  const std::uint32_t crc = crc32c(std::span(later).first(60));
  for (std::size_t i = 0; i < 4; ++i) later[60 + i] = static_cast<std::byte>(crc >> (8 * i));
  write_segment_bytes(folder.path(), plan, later);
  for (const std::string& path : {folder.path(), folder.file("none")}) {
    for (const std::vector<std::string>& command :
         {std::vector<std::string>{"verify"}, std::vector<std::string>{"search", "--text", "l"}}) {
      std::vector<std::string> words = command;
      words.insert(words.end(), {"--json", path});
      const Outcome outcome = run(words);
      EXPECT_EQ(outcome.status, kUnreadable) << outcome.error;
      const auto document = json::parse(outcome.output);
      EXPECT_NE(document.at("error").as_string(), "");
      EXPECT_FALSE(document.as_object().contains("result"));
    }
  }
}

TEST(Verify, PassesOverAGapOfNothing) {
  const TempDir folder;
  auto records = request(1);
  records.insert(records.begin() + 1, gap_record(1, Side::client, 0, 0, GapReason::limit));
  records.insert(records.begin() + 1, gap_record(1, Side::client, 900, 0, GapReason::limit));
  records.push_back(gap_record(5, Side::client, 900, 0, GapReason::limit));
  write_segment(folder.path(), {}, records);
  EXPECT_EQ(verify(folder), kClean);
  const auto index = json::parse(run({"ls", "--json", folder.path()}).output);
  ASSERT_EQ(index.at("connections").as_array().size(), 1U);
  EXPECT_EQ(index.at("connections").at(0).at("sides").at("client").at("gap_number"), 0);
  EXPECT_EQ(
      json::parse(run({"stat", "--json", folder.path()}).output).at("gaps").as_object().size(), 0U);
  EXPECT_EQ(run({"cat", "--connection", "c1", "--side", "client", folder.path()}).status, 0);
}

TEST(Verify, TellsATornTailFromDamage) {
  const TempDir folder;
  SegmentPlan plan;
  plan.footer = false;
  plan.frames_in_flight = 2;
  auto records = connection_records(1, random_bytes(40'000, 1), {});
  // Without the records that would say how much is missing.
  records.resize(records.size() - 3);
  auto bytes = build_segment(plan, records);
  ASSERT_GT(bytes.size(), 8U * 4096);
  auto torn = bytes;
  torn[torn.size() - 4096 + 100] ^= std::byte{1};
  write_segment_bytes(folder.path(), plan, torn, SegmentState::open);
  EXPECT_EQ(verify(folder), kTorn);
  auto damaged = bytes;
  damaged[4096 + 100] ^= std::byte{1};
  write_segment_bytes(folder.path(), plan, damaged, SegmentState::open);
  EXPECT_EQ(verify(folder), kDamage);
}

TEST(Verify, HasPrecedenceDamageThenGapsThenTorn) {
  const TempDir folder;
  SegmentPlan plan;
  plan.footer = false;
  write_segment(folder.path(), plan, request(1));
  EXPECT_EQ(verify(folder), kTorn);
  plan.number = 1;
  plan.footer = true;
  plan.id = 2;
  write_segment(folder.path(), plan, with_gap());
  EXPECT_EQ(verify(folder), kGaps);
  plan.number = 3;
  plan.id = 3;
  write_segment(folder.path(), plan, request(2));
  EXPECT_EQ(verify(folder), kDamage) << "segment 2 is missing";
}

TEST(Verify, OfWhatIsNoCaptureFails) {
  const TempDir folder;
  for (const std::vector<std::string>& command : {std::vector<std::string>{"verify"},
                                                  {"ls"},
                                                  {"stat"},
                                                  {"show"},
                                                  {"follow"},
                                                  {"extract", "--out", folder.file("out")},
                                                  {"recover", "--out", folder.file("out2")}}) {
    const TempDir empty;
    std::vector<std::string> words = command;
    words.push_back(empty.path());
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.status, kUnreadable) << command[0];
    EXPECT_TRUE(has(outcome.error, "no capture in " + empty.path())) << outcome.error;
  }
  std::filesystem::remove_all(folder.file("out"));
  std::filesystem::remove_all(folder.file("out2"));
  folder.write("lock", "");
  EXPECT_EQ(run({"verify", folder.path()}).status, kClean) << "nothing was recorded yet";
  folder.write("letter.txt", "");
  const Outcome other = run({"verify", folder.path()});
  EXPECT_EQ(other.status, kUnreadable);
  EXPECT_EQ(count_lines(other.error, Regex(".")), 1U) << other.error;
  EXPECT_EQ(run({"verify", folder.file("none")}).status, kUnreadable);
  EXPECT_EQ(run({"verify", folder.write("some.txt", "x")}).status, kUnreadable);
}

TEST(Verify, FollowsNoSymbolicLinksAndReadsNoPipes) {
  const TempDir folder;
  const TempDir other;
  const std::string target = write_segment(other.path(), {}, request(1));
  folder.write("lock", "");
  const std::string link = folder.file("run1-w000-0000000000.sluice");
  std::filesystem::create_symlink(target, link);
  ASSERT_EQ(::mkfifo(folder.file("run1-w000-0000000001.sluice").c_str(), 0600), 0);
  EXPECT_TRUE(has(run({"verify", folder.path()}).output, " 0 segments"));
  EXPECT_EQ(run({"verify", link}).status, kUnreadable);
  EXPECT_EQ(run({"verify", folder.file("run1-w000-0000000001.sluice")}).status, kUnreadable);
}

// --- recover ---

TEST(Recover, OfAGoodCaptureGivesTheSameBytes) {
  const TempDir folder;
  const auto client = random_bytes(50'000, 3);
  write_segment(folder.path(), {}, joined({connection_records(1, client, {}), request(2)}));
  const std::string out = folder.file("out");
  const Outcome outcome = run({"recover", "--out", out, folder.path()});
  ASSERT_EQ(outcome.status, 0) << outcome.error;
  EXPECT_EQ(run({"verify", out}).status, kClean) << run({"verify", out}).output;
  EXPECT_EQ(run({"cat", "--connection", "c1", "--side", "client", out}).output, string_of(client));
  EXPECT_EQ(run({"ls", out}).output, run({"ls", folder.path()}).output);
}

TEST(Recover, MakesEveryDamagedCaptureCleanButForGaps) {
  std::mt19937_64 random(seed());
  const auto client = random_bytes(30'000, 3);
  const auto records = connection_records(1, client, random_bytes(9000, 4));
  for (int round = 0; round < by_scale(5, 25, 200); ++round) {
    const TempDir folder;
    // Two segments. The second lacks the table that it has to begin with.
    const auto middle = records.begin() + static_cast<std::ptrdiff_t>(random() % records.size());
    SegmentPlan plan;
    auto bytes = build_segment(plan, {records.begin(), middle});
    for (int i = 0; i < 3; ++i) bytes[random() % bytes.size()] ^= std::byte{0x10};
    write_segment_bytes(folder.path(), plan, bytes);
    plan.number = 1;
    plan.id = 2;
    bytes = build_segment(plan, {middle, records.end()});
    if (random() % 2 == 0) bytes.resize(random() % bytes.size());
    write_segment_bytes(folder.path(), plan, bytes);
    const std::string out = folder.file("out");
    const Outcome outcome = run({"recover", "--out", out, folder.path()});
    ASSERT_EQ(outcome.status, 0) << outcome.error;
    const Outcome verified = run({"verify", out});
    // If nothing of a capture is left, it has no segment.
    if (std::filesystem::is_empty(out)) continue;
    ASSERT_TRUE(verified.status == kClean || verified.status == kGaps)
        << verified.output << outcome.error;
    const auto index = json::parse(run({"ls", "--json", out}).output);
    const auto old = json::parse(run({"ls", "--json", folder.path()}).output);
    ASSERT_EQ(index.at("connections").at(0).at("sides").at("client").at("bytes"),
              old.at("connections").at(0).at("sides").at("client").at("bytes"));
  }
}

// lost+found counts as nothing, neither in an output directory nor in a capture.
TEST(Recover, WhatMkfsPutsIntoAFreshFilesystemIsNothing) {
  const TempDir folder;
  write_segment(folder.path(), {}, request(1));
  const std::string out = folder.file("out");
  for (const char* command : {"extract", "recover"}) {
    std::filesystem::create_directories(out + "/lost+found");
    EXPECT_EQ(run({command, "--out", out, folder.path()}).status, 0) << command;
    EXPECT_EQ(run({command, "--out", out, folder.path()}).status, 1) << command << ": not empty";
    std::filesystem::remove_all(out);
  }
  const TempDir fresh;
  std::filesystem::create_directory(fresh.file("lost+found"));
  EXPECT_EQ(run({"ls", fresh.path()}).status, kUnreadable) << "no capture";
  fresh.write("lock", "");
  EXPECT_EQ(run({"ls", fresh.path()}).status, 0) << "nothing was recorded yet";
}

TEST(Recover, ThatFailsLeavesNothingInTheWayOfTheNextTry) {
  const TempDir folder;
  auto bytes = build_segment({}, connection_records(1, random_bytes(9000, 3), {}));
  // The second frame is of a later version.
  const auto frame = std::span(bytes).subspan(4096);
  frame[8] = std::byte{2};
  const std::uint32_t crc = crc32c(frame.first(60));
  for (std::size_t i = 0; i < 4; ++i) frame[60 + i] = static_cast<std::byte>(crc >> (8 * i));
  write_segment_bytes(folder.path(), {}, bytes);
  const std::string out = folder.file("out");
  EXPECT_EQ(run({"recover", "--out", out, folder.path()}).status, kUnreadable);
  EXPECT_TRUE(std::filesystem::is_empty(out));
}

// --- The command line ---

TEST(CommandLine, WrongUsageIsOneLineAndStatusTwo) {
  const TempDir folder;
  write_segment(folder.path(), {}, request(1));
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"juggle", folder.path()},
      {"ls"},
      {"cat", folder.path()},
      {"cat", "--connection", "c1", "--side", "left", folder.path()},
      {"search", folder.path()},
      {"search", "--text", "a", "--hex", "61", folder.path()},
      {"search", "--hex", "6", folder.path()},
      {"search", "--hex", " ", folder.path()},
      {"search", "--hex", "", folder.path()},
      {"search", "--text", "", folder.path()},
      {"search", "--regex", "", folder.path()},
      {"search", "--text", "", "--hex", "61", folder.path()},
      {"search", "--regex", "(", folder.path()},
      {"search", "--text", "a", "--peer", "10.0.0.1/8", folder.path()},
      {"search", "--text", "a", "--from", "yesterday", folder.path()},
      {"follow", "--until-idle", "5", folder.path()},
      {"extract", folder.path()},
      {"show", "--connection", "", folder.path()},
      {"export", folder.path()},
      {"export", "--pcapng", "a", "--json", folder.path()},
      {"export", "--pcapng", "a", "--jsonl", "b", folder.path()}};
  for (const auto& words : wrong) {
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.status, kUsage) << outcome.error;
    EXPECT_EQ(count_lines(outcome.error, Regex(".")), 1U) << outcome.error;
    EXPECT_EQ(outcome.output, "");
  }
}

TEST(CommandLine, NamesWhatItDoesNotKnow) {
  const TempDir folder;
  EXPECT_TRUE(has(run({"juggle", folder.path()}).error, "\"juggle\""));
  EXPECT_TRUE(has(run({"--juggle", "ls", folder.path()}).error, "\"--juggle\""));
  EXPECT_TRUE(has(run({"ls", "--juggle", folder.path()}).error, "--juggle"));
  EXPECT_TRUE(has(run({}).error, "a command is missing"));
}

TEST(CommandLine, AConnectionThatIsNotThereIsAnError) {
  const TempDir folder;
  write_segment(folder.path(), {}, joined({request(1), {data_record(4, Side::client, 0, "x")}}));
  const TempDir out;
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"show"}, {"search", "--text", "x"}, {"export", "--jsonl", "-"}}) {
    const auto outcome = [&](const char* id) {
      std::vector<std::string> words = command;
      words.insert(words.end(), {"--connection", id, folder.path()});
      return run(words);
    };
    EXPECT_EQ(outcome("c1").status, 0) << command[0];
    EXPECT_EQ(outcome("run1-0-4").status, 0) << "one whose beginning is lost";
    EXPECT_EQ(outcome("c2").status, kUnreadable) << command[0];
    EXPECT_TRUE(has(outcome("c2").error, "no connection c2")) << command[0];
  }
}

TEST(CommandLine, AFilterTakesOneValueEachTime) {
  const TempDir folder;
  const TempDir other;
  write_segment(folder.path(), {}, request(1));
  write_segment(other.path(), {}, request(2));
  const auto connections = [&](std::vector<std::string> words) {
    words.insert(words.begin(), "show");
    words.insert(words.end(), {folder.path(), other.path()});
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.status, 0) << outcome.error;
    return count_lines(outcome.output, Regex(" open "));
  };
  EXPECT_EQ(connections({"--peer", "10.0.0.0/8"}), 2U);
  EXPECT_EQ(connections({"--port", "80"}), 2U);
  EXPECT_EQ(connections({"--peer", "10.0.0.2", "--peer", "10.0.0.9"}), 1U);
  EXPECT_EQ(connections({"--port", "4000", "--port", "1"}), 2U);
  EXPECT_EQ(connections({"--port", "1", "--port", "2"}), 0U);
}

TEST(CommandLine, HelpIsOfAllCommandsOrOfOneOrOfEverything) {
  const Outcome brief = run({"--help"});
  EXPECT_EQ(brief.status, 0);
  EXPECT_TRUE(has(brief.output, "\n  verify "));
  EXPECT_FALSE(has(brief.output, "--pcapng FILE"));
  const Outcome one = run({"--help", "export"});
  EXPECT_EQ(one.status, 0);
  EXPECT_TRUE(has(one.output, "--pcapng FILE"));
  EXPECT_EQ(one.output, run({"export", "--help"}).output);
  const Outcome all = run({"--help=all"});
  EXPECT_EQ(all.status, 0);
  EXPECT_TRUE(has(all.output, "--pcapng FILE"));
  EXPECT_TRUE(has(all.output, "--until-idle TIME"));
  const Outcome unknown = run({"-h", "exprot"});
  EXPECT_EQ(unknown.status, 2);
  EXPECT_EQ(unknown.output, "");
  EXPECT_EQ(unknown.error,
            "sluice-capture: --help: unknown topic \"exprot\": expected all, ls, stat, cat, show, "
            "follow, extract, export, search, verify, recover\n");
}

TEST(CommandLine, ManPageAndCompletionsHaveEveryCommandAndOption) {
  const std::string folder = SLUICE_CAPTURE_DIR;
  const auto page = Regex("\\\\-").replaced(read_text(folder + "sluice-capture.1"), "-");
  std::vector<std::string> completions = {read_text(folder + "completions/sluice-capture.bash"),
                                          read_text(folder + "completions/_sluice-capture")};
  completions.push_back(
      Regex(" -l ").replaced(read_text(folder + "completions/sluice-capture.fish"), " --"));
  for (const char* command : {"ls", "stat", "cat", "show", "follow", "extract", "export", "search",
                              "verify", "recover"}) {
    EXPECT_TRUE(has(page, std::string(".B ") + command)) << command;
    const std::string help = run({command, "--help"}).output;
    const Regex option("--[a-z-]+");
    for (const std::string& text : completions) EXPECT_TRUE(has(text, command)) << command;
    for (const std::string& each : option.all_in(help)) {
      EXPECT_TRUE(each == "--help" || has(page, each)) << each;
      const Regex whole(each + "(?![a-z-])");
      for (const std::string& text : completions) {
        EXPECT_TRUE(whole.is_in(text)) << each << '\n' << text;
      }
    }
  }
}

}  // namespace
}  // namespace sluice::test
