// `export`, checked with this test's own reader of pcapng. tests/system checks it with tshark.

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "iolib/capture/format.h"
#include "iolib/json/json.h"
#include "tests/support/capture_builder.h"
#include "tests/support/regex.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"
#include "tests/tools/capture/tool.h"
#include "tools/common/text.h"

namespace sluice::test {
namespace {

using capture::GapReason;
using capture::Kind;
using capture::Side;

// A frame of the file; `flags` and so on are TCP's.
struct Frame {
  std::uint64_t wall_ns = 0;
  std::uint32_t interface = 0;
  std::uint32_t direction = 0;
  std::uint64_t dropped = 0;
  std::string comment;
  std::string addresses;  ///< in hexadecimal: source, target
  std::uint32_t source_port = 0, target_port = 0;
  std::uint32_t sequence = 0, acknowledged = 0, flags = 0;
  std::size_t ip_bytes = 0;           ///< the size of the IP packet
  std::uint32_t announced_bytes = 0;  ///< of a SYN: the largest segment
  std::string payload;
};

struct File {
  std::vector<std::string> interfaces;
  std::vector<Frame> frames;
  std::vector<std::uint32_t> statistics;  ///< the interfaces that have them
  std::string secrets;                    ///< embedded before the first interface
};

class Bytes {
 public:
  explicit Bytes(std::string_view bytes) : bytes_(bytes) {}
  [[nodiscard]] std::uint64_t little(std::size_t at, std::size_t size) const {
    std::uint64_t value = 0;
    for (std::size_t i = size; i-- > 0;) value = value << 8 | byte(at + i);
    return value;
  }
  [[nodiscard]] std::uint32_t big(std::size_t at, std::size_t size) const {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i) value = value << 8 | byte(at + i);
    return value;
  }
  [[nodiscard]] Bytes part(std::size_t at, std::size_t size) const {
    if (at + size > bytes_.size()) throw std::runtime_error("beyond the end");
    return Bytes(bytes_.substr(at, size));
  }
  [[nodiscard]] std::string_view text() const { return bytes_; }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }

 private:
  [[nodiscard]] std::uint8_t byte(std::size_t at) const {
    return static_cast<std::uint8_t>(bytes_.at(at));
  }
  std::string_view bytes_;
};

void parse_tcp(const Bytes& frame, Frame& to) {
  const bool v6 = frame.big(12, 2) == 0x86dd;
  const std::size_t tcp = v6 ? 54 : 34;
  const Bytes addresses = v6 ? frame.part(22, 32) : frame.part(26, 8);
  to.addresses = capture::to_hex(std::as_bytes(std::span(addresses.text())));
  to.source_port = frame.big(tcp, 2);
  to.target_port = frame.big(tcp + 2, 2);
  to.sequence = frame.big(tcp + 4, 4);
  to.acknowledged = frame.big(tcp + 8, 4);
  to.flags = frame.big(tcp + 13, 1);
  to.ip_bytes = frame.size() - 14;
  if ((to.flags & 2) != 0) to.announced_bytes = frame.big(tcp + 22, 2);
  const std::size_t head = tcp + frame.big(tcp + 12, 1) / 16 * 4;
  to.payload = frame.part(head, frame.size() - head).text();
}

template <class Take>
void each_option(const Bytes& options, const Take& take) {
  for (std::size_t at = 0; at < options.size();) {
    const std::size_t size = options.little(at + 2, 2);
    take(options.little(at, 2), options.part(at + 4, size));
    at += 4 + (size + 3) / 4 * 4;
  }
}

Frame parse_frame(const Bytes& body) {
  Frame frame;
  frame.interface = static_cast<std::uint32_t>(body.little(0, 4));
  frame.wall_ns = body.little(4, 4) << 32 | body.little(8, 4);
  const std::size_t size = body.little(12, 4);
  EXPECT_EQ(body.little(16, 4), size);
  parse_tcp(body.part(20, size), frame);
  const std::size_t options = 20 + (size + 3) / 4 * 4;
  each_option(body.part(options, body.size() - options),
              [&](std::uint64_t code, const Bytes& value) {
                if (code == 1) frame.comment = value.text();
                if (code == 2) frame.direction = static_cast<std::uint32_t>(value.little(0, 4));
                if (code == 4) frame.dropped = value.little(0, 8);
              });
  return frame;
}

File parse(const std::string& file) {
  const Bytes all(file);
  File result;
  for (std::size_t at = 0; at < all.size();) {
    const std::size_t size = all.little(at + 4, 4);
    const Bytes block = all.part(at, size);
    EXPECT_EQ(size % 4, 0U);
    EXPECT_EQ(block.little(size - 4, 4), size);
    const Bytes body = block.part(8, size - 12);
    switch (block.little(0, 4)) {
      case 0x0A0D0D0A:
        EXPECT_EQ(at, 0U);
        EXPECT_EQ(body.little(0, 4), 0x1A2B3C4DU);
        break;
      case 1:
        EXPECT_EQ(body.little(0, 2), 1U) << "Ethernet";
        each_option(body.part(8, body.size() - 8), [&](std::uint64_t code, const Bytes& value) {
          if (code == 2) result.interfaces.emplace_back(value.text());
          if (code == 9) {
            EXPECT_EQ(value.little(0, 1), 9U);
          }
        });
        break;
      case 5:
        result.statistics.push_back(static_cast<std::uint32_t>(body.little(0, 4)));
        break;
      case 10:
        EXPECT_TRUE(result.interfaces.empty()) << "behind what it decrypts";
        EXPECT_EQ(body.part(0, 4).text(), "KSLT") << "a TLS key log, little-endian";
        result.secrets = body.part(8, body.little(4, 4)).text();
        EXPECT_EQ(body.size(), 8 + (result.secrets.size() + 3) / 4 * 4);
        break;
      case 6:
        result.frames.push_back(parse_frame(body));
        break;
      default:
        ADD_FAILURE() << "another block";
    }
    at += size;
  }
  return result;
}

File exported(const std::string& directory, const std::vector<std::string>& more = {},
              int status = 0) {
  std::vector<std::string> words = {"export", "--pcapng", "-", directory};
  words.insert(words.end(), more.begin(), more.end());
  const Outcome outcome = run(words);
  EXPECT_EQ(outcome.status, status) << outcome.error;
  return parse(outcome.output);
}

constexpr std::uint32_t kFin = 1, kSyn = 2, kRst = 4, kAck = 16;

std::vector<Frame> of_side(const File& file, Side side) {
  const std::uint32_t direction = side == Side::client ? 1 : 2;
  std::vector<Frame> frames;
  std::ranges::copy_if(file.frames, std::back_inserter(frames),
                       [&](const Frame& frame) { return frame.direction == direction; });
  return frames;
}

// A side's bytes, ordered by their sequence numbers from its SYN on.
std::string assembled(const File& file, Side side) {
  const std::vector<Frame> frames = of_side(file, side);
  EXPECT_EQ(frames.at(0).flags & kSyn, kSyn);
  std::uint32_t next = frames.at(0).sequence + 1;
  std::string bytes;
  for (const Frame& frame : frames) {
    if ((frame.flags & kSyn) != 0) continue;
    EXPECT_EQ(frame.sequence, next);
    bytes += frame.payload;
    next += static_cast<std::uint32_t>(frame.payload.size()) + (frame.flags & kFin);
  }
  return bytes;
}

TEST(Export, MakesAWholeConnectionOfARecordedOne) {
  const TempDir folder;
  const auto client = random_bytes(150'000, 1);
  const auto upstream = random_bytes(70'001, 2);
  SegmentPlan plan;
  plan.frame_bytes = 1 << 20;
  write_segment(folder.path(), plan, connection_records(1, client, upstream, 60'000));
  const File file = exported(folder.path());
  EXPECT_EQ(file.interfaces, std::vector<std::string>{"run1 worker 0"});
  EXPECT_EQ(file.statistics, std::vector<std::uint32_t>{0});
  ASSERT_GT(file.frames.size(), 8U);
  EXPECT_EQ(file.frames[0].flags, kSyn);
  EXPECT_EQ(file.frames[1].flags, kSyn | kAck);
  EXPECT_EQ(file.frames[1].acknowledged, file.frames[0].sequence + 1);
  EXPECT_EQ(file.frames[2].flags, kAck);
  EXPECT_EQ(file.frames[0].comment, "connection c1, route web, 10.0.0.1:4000 > 127.0.0.1:80");
  EXPECT_EQ(file.frames[0].addresses, "0a0000017f000001");
  EXPECT_EQ(file.frames[1].addresses, "7f0000010a000001");
  EXPECT_EQ(file.frames[0].source_port, 4000U);
  EXPECT_EQ(file.frames[0].target_port, 80U);
  EXPECT_EQ(file.frames[0].wall_ns % 1'000'000'000, 0U);
  EXPECT_EQ(assembled(file, Side::client), string_of(client));
  EXPECT_EQ(assembled(file, Side::upstream), string_of(upstream));
  // At the end everything is acknowledged, and both sides have sent their FIN.
  const Frame last_of_client = of_side(file, Side::client).back();
  const Frame last_of_upstream = of_side(file, Side::upstream).back();
  EXPECT_EQ(last_of_client.acknowledged,
            last_of_upstream.sequence + (last_of_upstream.flags & kFin));
  EXPECT_EQ(std::ranges::count_if(file.frames, [](const Frame& f) { return f.flags & kFin; }), 2);
}

TEST(Export, NoPacketIsLargerThanTheMtu) {
  const TempDir folder;
  const auto client = random_bytes(100'000, 1);
  const auto upstream = random_bytes(1460 * 3, 2);
  SegmentPlan plan;
  plan.frame_bytes = 1 << 20;
  std::vector<CaptureRecord> records = connection_records(1, client, upstream, 60'000);
  capture::OpenInfo v6 = open_info(2);
  v6.client = "[2001:db8::1]:4000";
  for (CaptureRecord& record : connection_records(2, client, upstream, 60'000)) {
    records.push_back(record.header.is(Kind::open) ? open_record(2, v6) : record);
  }
  write_segment(folder.path(), plan, records);
  for (const std::size_t mtu : {576U, 1500U, 9000U, 65535U}) {
    for (const char* connection : {"c1", "c2"}) {
      const File file =
          exported(folder.path(), {"--mtu", std::to_string(mtu), "--connection", connection});
      const std::size_t heads = connection == std::string("c1") ? 40 : 60;
      const std::size_t most = std::min<std::size_t>(mtu - heads, 32 << 10);
      EXPECT_EQ(file.frames.at(0).announced_bytes, most);
      EXPECT_EQ(file.frames.at(1).announced_bytes, most);
      std::size_t largest = 0;
      for (const Frame& frame : file.frames) largest = std::max(largest, frame.ip_bytes);
      EXPECT_EQ(largest, most + heads) << "full, and no larger";
      EXPECT_EQ(assembled(file, Side::client), string_of(client));
      EXPECT_EQ(assembled(file, Side::upstream), string_of(upstream));
    }
  }
}

TEST(Export, AGapIsAsManyFramesAsTheMtuMakesOfIt) {
  const TempDir folder;
  write_segment(folder.path(), {},
                {open_record(7), data_record(7, Side::client, 0, "hello"),
                 gap_record(7, Side::client, 5, 14'601, GapReason::buffers_full),
                 data_record(7, Side::client, 14'606, "world")});
  const auto frames = of_side(exported(folder.path(), {"--mtu", "1500"}), Side::client);
  ASSERT_EQ(frames.size(), 4U);
  EXPECT_EQ(frames[3].dropped, 11U);
}

TEST(Export, EmbedsTheSecretsAsTheyAre) {
  const TempDir folder;
  write_segment(folder.path(), {}, connection_records(1, bytes_of("x"), {}));
  const TempDir other;
  // The last line is being written.
  for (const std::string text : {"# made by a test\r\n\r\nCLIENT_RANDOM 00 11\n",
                                 "SERVER_TRAFFIC_SECRET_0 22 33\nCLIENT_RA", "# four\n"}) {
    const File file = exported(folder.path(), {"--keylog", other.write("secrets", text)});
    EXPECT_EQ(file.secrets, text);
    EXPECT_FALSE(file.frames.empty());
  }
  EXPECT_EQ(exported(folder.path(), {"--keylog", other.write("secrets", "")}).secrets, "");
}

// A private key must not be published by a mistake in the name.
TEST(Export, RefusesAnotherFileAsSecretsAndLeavesNone) {
  const TempDir folder;
  write_segment(folder.path(), {}, connection_records(1, bytes_of("x"), {}));
  const TempDir other;
  const std::string file = other.file("out.pcapng");
  const std::string key =
      other.write("key", "CLIENT_RANDOM 0 1\n-----BEGIN PRIVATE KEY-----\nMIG\n");
  const Outcome refused = run({"export", "--pcapng", file, "--keylog", key, folder.path()});
  EXPECT_EQ(refused.status, 1);
  EXPECT_TRUE(has(refused.error, key + ", line 2: expected a TLS secret")) << refused.error;
  const std::string token = other.write("token", "eyJhbGciOiJIUzI1NiJ9");
  const Outcome no_line = run({"export", "--pcapng", file, "--keylog", token, folder.path()});
  EXPECT_EQ(no_line.status, 1);
  EXPECT_TRUE(has(no_line.error, token + ", line 1: expected a TLS secret")) << no_line.error;
  const Outcome missing = run({"export", "--pcapng", file, "--keylog", "/none", folder.path()});
  EXPECT_EQ(missing.status, 1);
  EXPECT_TRUE(has(missing.error, "read /none: No such file")) << missing.error;
  EXPECT_FALSE(std::filesystem::exists(file));
}

TEST(Export, LinesOfJsonHaveNeitherAnMtuNorSecrets) {
  for (const std::vector<std::string>& option :
       {std::vector<std::string>{"--mtu", "1500"}, {"--keylog", "secrets"}}) {
    const Outcome outcome = run({"export", "--jsonl", "-", option[0], option[1], "capture"});
    EXPECT_EQ(outcome.status, 2);
    EXPECT_TRUE(has(outcome.error, option[0] + ": given without --pcapng, expected both"))
        << outcome.error;
  }
  EXPECT_TRUE(has(run({"export", "--pcapng", "-", "--mtu", "575", "capture"}).error,
                  "expected 576 to 65535"));
}

TEST(Export, SequenceNumbersGoOnPastFourGibibytes) {
  const TempDir folder;
  constexpr std::uint64_t kLimit = std::uint64_t{1} << 32;
  constexpr std::uint64_t kStart = 3 * kLimit - 2500;
  capture::OpenInfo info = open_info(1);
  info.so_far[0].offset = kStart;
  std::vector<CaptureRecord> records = {open_record(1, info, true)};
  const auto bytes = random_bytes(5000, 1);
  for (std::uint64_t at = 0; at < bytes.size(); at += 1000) {
    records.push_back(
        data_record(1, Side::client, kStart + at, std::span(bytes).subspan(at, 1000)));
  }
  records.push_back(end_record(Kind::eof, 1, Side::client, kStart + bytes.size()));
  write_segment(folder.path(), {}, records);
  const File file = exported(folder.path());
  ASSERT_EQ(file.frames.size(), 6U) << "no handshake in the middle of a connection";
  EXPECT_TRUE(std::ranges::any_of(file.frames, [&](const Frame& frame) {
    return frame.sequence < file.frames[0].sequence;
  })) << "it wraps";
  for (std::size_t i = 0; i < file.frames.size(); ++i) {
    EXPECT_EQ(file.frames[i].sequence - file.frames[0].sequence, i * 1000);
  }
  EXPECT_EQ(file.frames[5].flags, kFin | kAck);
}

TEST(Export, AGapIsAJumpWithItsDropCount) {
  const TempDir folder;
  capture::CloseInfo close;
  close.sides[0] = totals_of(bytes_of("helloworld"));
  close.sides[0].received = 200'000;
  write_segment(folder.path(), {},
                {open_record(7), data_record(7, Side::client, 0, "hello"),
                 gap_record(7, Side::client, 5, 100'000, GapReason::buffers_full),
                 data_record(7, Side::client, 100'005, "world"), close_record(7, close)});
  const auto frames = of_side(exported(folder.path(), {}, 4), Side::client);
  ASSERT_EQ(frames.size(), 5U);
  EXPECT_EQ(frames[3].sequence - frames[2].sequence, 100'005U);
  EXPECT_EQ(frames[3].dropped, 4U) << "frames of 32 KiB";
  EXPECT_EQ(frames[3].comment, "100000 bytes from offset 5 on are missing: buffers_full");
  EXPECT_EQ(frames[4].sequence - frames[2].sequence, 200'000U) << "what no record tells";
  EXPECT_EQ(frames[4].comment, "99990 bytes from offset 100010 on are missing: lost");
  EXPECT_EQ(frames[4].dropped, 4U);
  EXPECT_EQ(frames[2].dropped, 0U);
}

TEST(Export, SaysOfEachConnectionInItsOwnFirstFrameWhatItIs) {
  const TempDir folder;
  // The first one begins before the frames, the third has no beginning.
  write_segment(
      folder.path(), {},
      {open_record(1), open_record(2), data_record(1, Side::client, 5'000'000'000, "first"),
       data_record(2, Side::client, 0, "second"), data_record(3, Side::client, 9, "third")});
  std::vector<std::string> comments;
  for (const Frame& frame : exported(folder.path(), {"--from", "2026-01-01T00:00:02Z"}, 4).frames) {
    if (frame.comment.empty()) continue;
    comments.push_back(frame.addresses.substr(0, 8) + ' ' + frame.comment);
  }
  EXPECT_EQ(comments, (std::vector<std::string>{
                          "0a000002 connection c2, route web, 10.0.0.2:4000 > 127.0.0.1:80",
                          "0a000001 connection c1, route web, 10.0.0.1:4000 > 127.0.0.1:80",
                          "c6120001 connection run1-0-3"}));
}

TEST(Export, WithoutACaptureLeavesNoFile) {
  const TempDir folder;
  const std::string file = folder.file("frames.pcapng");
  const TempDir empty;
  for (const std::string& path : {empty.path(), folder.file("missing")}) {
    EXPECT_EQ(run({"export", "--pcapng", file, path}).status, 1);
    EXPECT_FALSE(std::filesystem::exists(file));
  }
}

TEST(Export, OfAConnectionThatIsNotThereLeavesNoFile) {
  const TempDir folder;
  const TempDir out;
  write_segment(folder.path(), {}, connection_records(1, bytes_of("x"), {}));
  for (const char* format : {"--pcapng", "--jsonl"}) {
    const std::string file = out.file("exported");
    EXPECT_EQ(run({"export", format, file, "--connection", "c2", folder.path()}).status, 1);
    EXPECT_FALSE(std::filesystem::exists(file)) << format;
    EXPECT_EQ(run({"export", format, file, "--connection", "c1", folder.path()}).status, 0);
    EXPECT_TRUE(std::filesystem::remove(file)) << format;
  }
}

TEST(Export, OneWhoseOpenIsLostIsFoundByWhatItIsCalled) {
  const TempDir folder;
  write_segment(folder.path(), {},
                {data_record(4, Side::client, 0, "x"), data_record(5, Side::client, 0, "y")});
  const File file = exported(folder.path(), {"--connection", "run1-0-4"});
  ASSERT_EQ(file.frames.size(), 1U);
  EXPECT_EQ(file.frames[0].payload, "x");
}

TEST(Export, EndsAConnectionAsItEnded) {
  const TempDir folder;
  capture::CloseInfo timeout;
  timeout.reason = "idle_timeout";
  write_segment(folder.path(), {},
                {open_record(1), end_record(Kind::reset, 1, Side::upstream, 0), close_record(1, {}),
                 open_record(2), close_record(2, timeout), open_record(3)});
  const File file = exported(folder.path());
  std::vector<std::uint32_t> ends[4];
  for (const Frame& frame : file.frames) {
    const char digit = frame.addresses[frame.addresses.starts_with("0a00000") ? 7 : 15];
    const auto connection = static_cast<std::size_t>(digit - '0');
    if ((frame.flags & (kFin | kRst)) != 0) {
      ends[connection].push_back((frame.flags & (kFin | kRst)) << 8 | frame.direction);
    }
  }
  EXPECT_EQ(ends[1], std::vector<std::uint32_t>{kRst << 8 | 2}) << "one reset, of who has sent it";
  EXPECT_EQ(ends[2], std::vector<std::uint32_t>{kRst << 8 | 1});
  EXPECT_TRUE(ends[3].empty()) << "cut off";
}

TEST(Export, EndsASideThatWasNotRecordedAsTheConnectionEnded) {
  const TempDir folder;
  capture::OpenInfo info = open_info(1);
  info.sides = 1;
  capture::CloseInfo close;
  close.sides[0] = totals_of(bytes_of("x"));
  close.reason = "closed";
  write_segment(folder.path(), {},
                {open_record(1, info), data_record(1, Side::client, 0, "x"),
                 end_record(Kind::eof, 1, Side::client, 1), close_record(1, close)});
  const File file = exported(folder.path());
  EXPECT_EQ(std::ranges::count_if(file.frames, [](const Frame& f) { return f.flags & kFin; }), 2);
  EXPECT_EQ(std::ranges::count_if(file.frames, [](const Frame& f) { return f.flags & kRst; }), 0);
}

TEST(Export, PeersWithoutAnAddressGetOne) {
  const TempDir folder;
  std::vector<CaptureRecord> records;
  const std::vector<std::pair<std::string, std::string>> peers = {
      {"unix:", "unix:/run/a"}, {"unix:", "discard:"},           {"[2001:db8::7]:5", "echo:"},
      {"unix:", "file:/x"},     {"10.0.0.1:4000", "[::1]:80"},   {"10.0.0.1:4000", "[::1]:80"},
      {"unix:", "unix:/run/a"}, {"10.9.9.9:1", "no.such.name:1"}};
  std::uint64_t number = 1;
  for (const auto& [client, upstream] : peers) {
    capture::OpenInfo info = open_info(number);
    info.client = client;
    info.upstream = upstream;
    records.push_back(open_record(number++, info));
  }
  write_segment(folder.path(), {}, records);
  const File file = exported(folder.path());
  ASSERT_EQ(file.frames.size(), 3 * peers.size());
  std::vector<std::string> seen;
  for (std::size_t i = 0; i < file.frames.size(); i += 3) {
    seen.push_back(file.frames[i].addresses + ' ' + std::to_string(file.frames[i].source_port) +
                   '>' + std::to_string(file.frames[i].target_port));
  }
  const std::string four = "00000000000000000000ffff";
  const std::string one = "00000000000000000000000000000001";
  EXPECT_EQ(seen, (std::vector<std::string>{
                      "c6120001c0000201 1024>1", "c6120001c0000203 1025>9",
                      "20010db8000000000000000000000007" + four + "c0000204 5>7",
                      "c6120001c0000202 1026>1", four + "0a000001" + one + " 4000>80",
                      // The same two peers again while the first ones are connected.
                      four + "c6120001" + one + " 1027>80", "c6120001c0000201 1028>1",
                      "0a090909c0000205 1>1"}));
}

// In one run or in several. A frame that repeats an earlier SYN's number is not a new connection.
TEST(Export, OfOneAfterTheOtherBetweenTheSameTwoStartsElsewhere) {
  const TempDir folder;
  const auto from_the_same = [](std::uint64_t begin, std::uint64_t end) {
    std::vector<CaptureRecord> records;
    for (std::uint64_t number = begin; number < end; ++number) {
      for (CaptureRecord& record : connection_records(number, bytes_of("x"), {})) {
        if (record.header.is(Kind::open)) record = open_record(number, open_info(1));
        records.push_back(record);
      }
    }
    return records;
  };
  write_segment(folder.path(), {}, from_the_same(1, 3));
  SegmentPlan later;
  later.run = "run2";
  later.id = 2;
  write_segment(folder.path(), later, from_the_same(3, 4));
  std::vector<std::uint32_t> first;
  for (const Frame& frame : exported(folder.path()).frames) {
    EXPECT_TRUE(frame.source_port == 4000 || frame.target_port == 4000);
    if (frame.flags == kSyn) first.push_back(frame.sequence);
  }
  std::ranges::sort(first);
  EXPECT_EQ(first.size(), 3U);
  EXPECT_EQ(std::unique(first.begin(), first.end()), first.end());
}

TEST(Export, PutsTheWorkersOfARunInTheOrderOfTheirTimes) {
  const TempDir folder;
  SegmentPlan plan;
  const auto records_of = [](const std::vector<std::uint64_t>& numbers) {
    std::vector<CaptureRecord> records;
    for (const std::uint64_t number : numbers) {
      for (CaptureRecord& each : connection_records(number, bytes_of("x"), {})) {
        records.push_back(each);
      }
    }
    return records;
  };
  write_segment(folder.path(), plan, records_of({1, 3, 5}));
  plan.worker = 1;
  plan.id = 2;
  write_segment(folder.path(), plan, records_of({2, 4}));
  const File file = exported(folder.path());
  EXPECT_EQ(file.interfaces, (std::vector<std::string>{"run1 worker 0", "run1 worker 1"}));
  std::vector<std::uint32_t> interfaces;
  std::vector<std::uint64_t> times;
  for (const Frame& frame : file.frames) {
    if (frame.flags != kSyn) continue;
    interfaces.push_back(frame.interface);
    times.push_back(frame.wall_ns);
  }
  EXPECT_EQ(interfaces, (std::vector<std::uint32_t>{0, 1, 0, 1, 0}));
  EXPECT_TRUE(std::ranges::is_sorted(times));
}

// The record `segment` gets its time when the first block is written, the table when it is made.
TEST(Export, KeepsTheOrderWhereSegmentsBeginLaterThanWhatIsInThem) {
  const TempDir folder;
  const std::uint64_t kLater = 60'000'000'000;
  const auto shaken = [](std::vector<std::uint64_t> numbers) {
    std::vector<CaptureRecord> records;
    for (const std::uint64_t number : numbers) records.push_back(open_record(number));
    return records;
  };
  SegmentPlan plan;
  plan.begun_ns = kLater;
  write_segment(folder.path(), plan, shaken({1, 4}));
  plan.worker = 1;
  plan.id = 2;
  write_segment(folder.path(), plan, shaken({2, 3, 6, 8}));
  plan.worker = 0;
  plan.number = 1;
  plan.id = 3;
  auto records = shaken({5, 7});
  CaptureRecord table = open_record(4, open_info(4), true);
  table.header.monotonic_ns += kLater;
  table.header.wall_ns += kLater;
  records.insert(records.begin(), table);
  write_segment(folder.path(), plan, records);
  std::vector<std::uint64_t> times;
  for (const Frame& frame : exported(folder.path()).frames) times.push_back(frame.wall_ns);
  EXPECT_EQ(times.size(), 8U * 3);
  EXPECT_TRUE(std::ranges::is_sorted(times));
}

TEST(Export, TakesMoreWorkersThanItPutsInOrderAtOnce) {
  const TempDir folder;
  constexpr std::uint32_t kWorkers = 300;
  SegmentPlan plan;
  for (plan.worker = 0; plan.worker < kWorkers; ++plan.worker) {
    write_segment(folder.path(), plan, {open_record(1 + plan.worker)});
  }
  const File file = exported(folder.path());
  EXPECT_EQ(file.interfaces.size(), kWorkers);
  EXPECT_EQ(file.frames.size(), 3 * kWorkers);
  EXPECT_EQ(file.statistics.size(), kWorkers);
}

TEST(Export, FiltersAsSearchDoes) {
  const TempDir folder;
  std::vector<CaptureRecord> records;
  for (const std::uint64_t number : {1U, 2U, 3U}) {
    for (CaptureRecord& each : connection_records(number, bytes_of("ask"), bytes_of("answer"))) {
      records.push_back(each);
    }
  }
  write_segment(folder.path(), {}, records);
  const auto text_of = [&](const std::vector<std::string>& filters) {
    std::string text;
    for (const Frame& frame : exported(folder.path(), filters).frames) text += frame.payload + ' ';
    return Regex(" +").replaced(text, " ");
  };
  EXPECT_EQ(text_of({"--connection", "c2"}), " ask answer ");
  EXPECT_EQ(text_of({"--peer", "10.0.0.3", "--side", "upstream"}), " answer ");
  EXPECT_EQ(text_of({"--from", "2026-01-01T00:00:03Z", "--side", "client"}), " ask ");
  EXPECT_EQ(text_of({"--port", "81"}), "");
}

TEST(Export, WritesANewFileForItsOwnerAlone) {
  const TempDir folder;
  write_segment(folder.path(), {}, connection_records(1, bytes_of("x"), {}));
  const std::string path = folder.file("out.pcapng");
  EXPECT_EQ(run({"export", "--pcapng", path, folder.path()}).status, 0);
  struct stat about {};
  ASSERT_EQ(::stat(path.c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600U);
  EXPECT_EQ(parse(read_text(path)).frames.size(), exported(folder.path()).frames.size());
  const Outcome again = run({"export", "--jsonl", path, folder.path()});
  EXPECT_EQ(again.status, 1) << "it is there";
  EXPECT_TRUE(has(again.error, "File exists")) << again.error;
}

// A shell's >(…) is such a pipe: /dev/fd/63.
TEST(Export, WritesIntoAPipeOrADeviceThatIsThere) {
  const TempDir folder;
  write_segment(folder.path(), {}, connection_records(1, bytes_of("x"), {}));
  const Outcome full = run({"export", "--pcapng", "/dev/full", folder.path()});
  EXPECT_EQ(full.status, 1);
  EXPECT_TRUE(has(full.error, "No space left")) << full.error;
  EXPECT_TRUE(std::filesystem::exists("/dev/full"));
  EXPECT_EQ(run({"export", "--pcapng", "/dev/null", folder.path()}).status, 0);
  const std::string whole = run({"export", "--jsonl", "-", folder.path()}).output;
  Process piped({"/bin/sh", "-c", "\"$0\" export --jsonl /dev/fd/3 \"$1\" 3>&1 | cat", program(),
                 folder.path()});
  EXPECT_EQ(piped.wait(), 0);
  EXPECT_EQ(piped.standard_output(), whole);
}

TEST(Export, WithoutAStderrWritesNoMessagesToItsFile) {
  const TempDir folder;
  write_segment(folder.path(), {}, {open_record(1), data_record(1, Side::client, 9, "x")});
  const std::string whole = run({"export", "--jsonl", "-", folder.path()}).output;
  const auto closed = [&](const std::string& streams, const std::string& file) {
    return run({"-c", "exec \"$0\" \"$@\" " + streams, program(), "export", "--jsonl", file,
                folder.path()},
               "/bin/sh")
        .status;
  };
  for (const char* streams : {"2>&-", "<&- >&- 2>&-"}) {
    const std::string file = folder.file("lines");
    EXPECT_EQ(closed(streams, file), 4) << streams;
    EXPECT_EQ(read_text(file), whole) << streams;
    std::filesystem::remove(file);
  }
  EXPECT_EQ(closed(">&-", "-"), 1);
}

TEST(Export, WritesALineOfJsonForEachRecord) {
  const TempDir folder;
  const std::string bytes("\0\xff>?binary", 10);
  auto records = connection_records(1, bytes_of(bytes), bytes_of("ab"));
  records.push_back(open_record(2));
  records.push_back(gap_record(2, Side::upstream, 0, 9, GapReason::limit));
  write_segment(folder.path(), {}, records);
  const Outcome outcome = run({"export", "--jsonl", "-", folder.path()});
  EXPECT_EQ(outcome.status, 0) << outcome.error;
  std::istringstream lines(outcome.output);
  std::vector<json::object> objects;
  for (std::string line; std::getline(lines, line);) {
    objects.push_back(json::parse(line).as_object());
  }
  ASSERT_EQ(objects.size(), records.size());
  EXPECT_EQ(objects[0].at("kind"), "open");
  EXPECT_EQ(objects[0].at("client"), "10.0.0.1:4000");
  EXPECT_EQ(objects[1].at("kind"), "data");
  EXPECT_EQ(objects[1].at("data"), "AP8+P2JpbmFyeQ==");
  EXPECT_EQ(objects[1].at("offset").to_number<int>(), 0);
  EXPECT_EQ(objects.back().at("reason"), "limit");
  EXPECT_EQ(objects.back().at("bytes").to_number<int>(), 9);
  EXPECT_TRUE(has(outcome.output, "\"data\":\"YWI=\""));
  EXPECT_EQ(run({"export", "--jsonl", "-", "--connection", "c2", folder.path()}).output.find("c1"),
            std::string::npos);
}

TEST(Export, TellsWhatWasLostInALineOfJson) {
  const TempDir folder;
  write_segment(folder.path(), {}, {open_record(1), data_record(1, Side::upstream, 70, "x")});
  const Outcome outcome = run({"export", "--jsonl", "-", folder.path()});
  EXPECT_TRUE(has(outcome.output,
                  "{\"connection\":\"c1\",\"kind\":\"gap\",\"side\":\"upstream\",\"offset\":0,"
                  "\"bytes\":70,\"reason\":\"lost\"}\n"))
      << outcome.output;
}

}  // namespace
}  // namespace sluice::test
