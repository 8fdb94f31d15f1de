// Captures of real programs, exported and read by tshark.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "iolib/base/owned_fd.h"
#include "tests/support/pattern.h"
#include "tests/support/regex.h"
#include "tests/system/postgres.h"
#include "tests/system/programs.h"
#include "tests/system/recorded.h"

namespace sluice::test {
namespace {

struct Both {
  std::string client;
  std::string upstream;
};

std::string bytes_of_hex(std::string_view digits) {
  constexpr int kHexadecimal = 16;
  std::string bytes;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(digits.substr(i, 2)), nullptr, kHexadecimal));
  }
  return bytes;
}

class CaptureExportTest : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    SLUICE_NEEDS_PROGRAM("tshark");
  }
  void start_recording(std::uint16_t port) {
    port_ = port;
    start_before(port, {"--capture", directory_, "--capture-full", "block"});
  }
  void end_recording() {
    EXPECT_EQ(daemon_->terminate(kProgramPatience), 0) << daemon_->log();
    daemon_.reset();
    ASSERT_EQ(verify_status(directory_), 0);
  }
  /// Exports to `file_`, with these options.
  void export_frames(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words{capture_tool(), "export", "--pcapng", file_, directory_};
    words.insert(words.end(), more.begin(), more.end());
    static_cast<void>(run_program(words));
  }
  /// Everything is in `file_` without errors, and tshark recognises the protocol.
  void check_frames();
  void check(const std::string& protocol) {
    protocol_ = protocol;
    end_recording();
    export_frames();
    check_frames();
  }
  /// Makes `file_` what an interface has received of it over a wire with an MTU of 1500.
  void send_over_a_wire();

  [[nodiscard]] std::string tshark(const std::vector<std::string>& more) const {
    std::vector<std::string> words = {
        "tshark", "-n",
        "-r",     file_,
        "-o",     "tcp.check_checksum:TRUE",
        "-o",     "ip.check_checksum:TRUE",
        "-d",     "tcp.port==" + std::to_string(port_) + ',' + protocol_};
    words.insert(words.end(), more.begin(), more.end());
    return run_program(words);
  }
  std::string directory_ = folder_.file("capture");
  std::string file_ = folder_.file("exported.pcapng");
  std::string protocol_;
  std::uint16_t port_ = 0;

 private:
  [[nodiscard]] std::map<std::string, std::string> streams() const;
  [[nodiscard]] std::map<std::string, Both> followed(
      const std::map<std::string, std::string>& streams) const;
  [[nodiscard]] std::string cat(const std::string& id, const std::string& side) const {
    return run_program({capture_tool(), "cat", "--connection", id, "--side", side, directory_});
  }
};

/// The client's address of each stream, by its number.
std::map<std::string, std::string> CaptureExportTest::streams() const {
  std::istringstream lines(tshark({"-Y", "tcp.flags.syn == 1 && tcp.flags.ack == 0", "-T", "fields",
                                   "-e", "tcp.stream", "-e", "ip.src", "-e", "tcp.srcport"}));
  std::map<std::string, std::string> found;
  std::string stream;
  std::string host;
  std::string port;
  while (lines >> stream >> host >> port) {
    EXPECT_TRUE(found.emplace(stream, host + ':' + port).second) << "a stream with two beginnings";
  }
  return found;
}

/// The streams as tshark reassembles them, by the client's address.
std::map<std::string, Both> CaptureExportTest::followed(
    const std::map<std::string, std::string>& streams) const {
  std::vector<std::string> words = {"-q"};
  for (const auto& [stream, client] : streams) {
    words.insert(words.end(), {"-z", "follow,tcp,raw," + stream});
  }
  std::istringstream lines(tshark(words));
  std::map<std::string, Both> found;
  Both* current = nullptr;
  const std::string first = "Node 0: ";
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(first)) current = &found[line.substr(first.size())];
    if (current == nullptr || line.find_first_of(":=") != std::string::npos) continue;
    if (line.starts_with('\t')) {
      current->upstream += bytes_of_hex(std::string_view(line).substr(1));
    } else {
      current->client += bytes_of_hex(line);
    }
  }
  return found;
}

// In a network of its own: tcpreplay sends to one end of a pair of interfaces, and dumpcap ends
// once the other end has received everything.
void CaptureExportTest::send_over_a_wire() {
  const std::string frames = std::to_string(
      lines_with(tshark({"-T", "fields", "-e", "frame.number"}), Regex("[0-9]")).size());
  const std::string received = folder_.file("received.pcapng");
  const std::string script =
      folder_.write("wire",
                    "set -e\n"
                    "sysctl -q -w net.ipv6.conf.default.disable_ipv6=1 || true\n"
                    "ip link add veth0 type veth peer name veth1\n"
                    "ip link set veth0 up\nip link set veth1 up\n"
                    "dumpcap -q -B 64 -i veth1 -f tcp -c " +
                        frames + " -w " + received +
                        " 2> listening &\n"
                        "until grep -q '^File:' listening; do kill -0 $!; sleep 0.1; done\n"
                        "tcpreplay -q --pps=20000 -i veth0 " +
                        file_ +
                        "\n"
                        "wait $!\n");
  ProcessOptions here;
  here.working_directory = folder_.path();
  static_cast<void>(run_program({"unshare", "--map-root-user", "--net", "--pid", "--fork",
                                 "--mount-proc", "--kill-child", "--", "bash", script},
                                here));
  file_ = received;
}

void CaptureExportTest::check_frames() {
  EXPECT_EQ(tshark({"-Y",
                    "_ws.malformed || tcp.analysis.flags || tcp.checksum.status != 1 || "
                    "ip.checksum.status != 1"}),
            "");
  EXPECT_NE(tshark({"-Y", protocol_, "-c", "1000"}), "") << "nothing of " << protocol_ << " in it";
  const std::map<std::string, std::string> found = streams();
  const std::map<std::string, Both> contents = followed(found);
  const boost::json::value listed =
      boost::json::parse(run_program({capture_tool(), "ls", "--json", directory_}));
  const boost::json::array& connections = listed.at("connections").as_array();
  EXPECT_FALSE(connections.empty());
  EXPECT_EQ(connections.size(), found.size());
  for (const boost::json::value& connection : connections) {
    const std::string client(connection.at("client").as_string());
    const std::string id(connection.at("id").as_string());
    const auto content = contents.find(client);
    ASSERT_NE(content, contents.end()) << client;
    EXPECT_TRUE(content->second.client == cat(id, "client")) << client;
    EXPECT_TRUE(content->second.upstream == cat(id, "upstream")) << client;
  }
}

TEST_P(CaptureExportTest, RedisIsWhatItWas) {
  SLUICE_NEEDS_PROGRAM("redis-server");
  SLUICE_NEEDS_PROGRAM("redis-benchmark");
  const std::uint16_t port = free_port();
  const auto server = start_redis(port);
  start_recording(port);
  static_cast<void>(run_program({"redis-benchmark", "-h", "127.0.0.1", "-p", entrance(), "-n",
                                 std::to_string(by_scale(200, 1000, 5000)), "-c", "5", "-d", "1000",
                                 "-t", "set,get,mset", "--csv"}));
  check("resp");
}

TEST_P(CaptureExportTest, PostgresIsWhatItWas) {
  for (const char* program : {"initdb", "postgres", "pgbench"}) {
    SLUICE_NEEDS_PROGRAM(program);
  }
  const Postgres database(folder_, Postgres::owner());
  start_recording(database.port());
  const std::vector<std::string> pgbench = {"pgbench",  "-h", "127.0.0.1", "-p",
                                            entrance(), "-U", "tester"};
  std::vector<std::string> fill = pgbench;
  fill.insert(fill.end(), {"-i", "-q", "-s", "1", "postgres"});
  static_cast<void>(run_program(fill));
  std::vector<std::string> load = pgbench;
  load.insert(load.end(), {"-n", "-c", "4", "-t", "50", "postgres"});
  static_cast<void>(run_program(load));
  check("pgsql");
}

TEST_P(CaptureExportTest, HttpIsWhatItWas) {
  SLUICE_NEEDS_PROGRAM("nginx");
  SLUICE_NEEDS_PROGRAM("curl");
  write_pattern_file(folder_.file("bulk"), Pattern(1), 8 << 20);
  const std::uint16_t port = free_port();
  const auto server = start_nginx(port, folder_.path());
  start_recording(port);
  const std::string url = "http://127.0.0.1:" + entrance();
  for (int i = 0; i < 3; ++i) {
    static_cast<void>(run_program({"curl", "-q", "--noproxy", "*", "--silent", "--show-error", "-o",
                                   "/dev/null", "-o", "/dev/null", url + "/bulk", url + "/none"}));
  }
  check("http");
}

TEST_P(CaptureExportTest, TlsIsWhatItWas) {
  SLUICE_NEEDS_PROGRAM("openssl");
  SLUICE_NEEDS_PROGRAM("curl");
  make_certificate();
  write_pattern_file(folder_.file("bulk"), Pattern(1), 4 << 20);
  const std::uint16_t port = free_port();
  ProcessOptions there;
  there.working_directory = folder_.path();
  Process server({"openssl", "s_server", "-accept", loopback_address(port), "-cert", "certificate",
                  "-key", "key", "-quiet", "-WWW"},
                 there);
  wait_for_listener(server, port);
  start_recording(port);
  for (int i = 0; i < 3; ++i) {
    static_cast<void>(
        run_program({"curl", "-q", "--noproxy", "*", "--silent", "--show-error", "--insecure", "-o",
                     "/dev/null", "https://127.0.0.1:" + entrance() + "/bulk"}));
  }
  check("tls");
}

// What a client has to send, and what a server answers, is plain text again.
TEST_P(CaptureExportTest, TlsIsReadInTheClearWithItsSecrets) {
  SLUICE_NEEDS_PROGRAM("openssl");
  make_certificate();
  static_cast<void>(folder_.write("letter", "what only the two may read\n"));
  const std::string question = folder_.write("question", "GET /letter HTTP/1.0\r\n\r\n");
  const std::uint16_t port = free_port();
  ProcessOptions there;
  there.working_directory = folder_.path();
  Process server({"openssl", "s_server", "-accept", loopback_address(port), "-cert", "certificate",
                  "-key", "key", "-quiet", "-WWW", "-keylogfile", "of-server"},
                 there);
  wait_for_listener(server, port);
  start_recording(port);
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    const OwnedFd input(::open(question.c_str(), O_RDONLY | O_CLOEXEC));
    ProcessOptions asks = there;
    asks.standard_input = input.get();
    EXPECT_NE(run_program({"openssl", "s_client", "-connect", "127.0.0.1:" + entrance(), "-quiet",
                           version, "-keylogfile", "of-client"},
                          asks)
                  .find("what only the two may read"),
              std::string::npos);
  }
  end_recording();
  protocol_ = "tls";
  const auto read = [&] {
    return tshark({"-q", "-z", "follow,tls,ascii,0", "-z", "follow,tls,ascii,1"});
  };
  export_frames();
  EXPECT_EQ(read().find("only the two"), std::string::npos) << "without the secrets";
  for (const char* secrets : {"of-client", "of-server"}) {
    file_ = folder_.file(std::string(secrets) + ".pcapng");
    export_frames({"--keylog", folder_.file(secrets)});
    const std::string text = read();
    EXPECT_EQ(count_lines(text, Regex("GET /letter HTTP/1.0")), 2U) << text;
    EXPECT_EQ(count_lines(text, Regex("what only the two may read")), 2U) << text;
  }
}

// Values that need many packets of 1500 bytes.
TEST_P(CaptureExportTest, TcpreplaySendsItOverAWire) {
  for (const char* program :
       {"redis-server", "redis-benchmark", "tcpreplay", "dumpcap", "ip", "unshare"}) {
    SLUICE_NEEDS_PROGRAM(program);
  }
  if (Process({"unshare", "--map-root-user", "--net", "true"}).wait() != 0) {
    GTEST_SKIP() << "no network of its own";
  }
  const std::uint16_t port = free_port();
  const auto server = start_redis(port);
  start_recording(port);
  static_cast<void>(run_program({"redis-benchmark", "-h", "127.0.0.1", "-p", entrance(), "-n",
                                 std::to_string(by_scale(50, 200, 1000)), "-c", "5", "-d", "20000",
                                 "-t", "set,get", "--csv"}));
  end_recording();
  protocol_ = "resp";
  export_frames({"--mtu", "1500"});
  send_over_a_wire();
  check_frames();
}

INSTANTIATE_TEST_SUITE_P(AnEngine, CaptureExportTest, testing::Values(Mode{"epoll", "auto"}),
                         name_of_mode);

}  // namespace
}  // namespace sluice::test
