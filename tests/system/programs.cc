#include "tests/system/programs.h"

#include <fstream>
#include <memory>
#include <optional>
#include <stdexcept>

#include "tests/support/wait.h"
#include "tests/system/outcome.h"

namespace sluice::test {
namespace {

/// True if an IPv4 socket listens on `port`, by /proc/net/tcp.
bool listens(std::uint16_t port) {
  constexpr int kHexadecimal = 16;
  const std::string kListenState = "0A";
  std::ifstream table("/proc/net/tcp");
  std::string line;
  std::getline(table, line);  // the headings
  std::string number;
  std::string local;
  std::string remote;
  std::string state;
  while (table >> number >> local >> remote >> state && std::getline(table, line)) {
    const std::size_t colon = local.find(':');
    if (state == kListenState && colon != std::string::npos &&
        std::stoul(local.substr(colon + 1), nullptr, kHexadecimal) == port) {
      return true;
    }
  }
  return false;
}

}  // namespace

void ProgramTest::start_before(std::uint16_t port, const std::vector<std::string>& more) {
  daemon_ = std::make_unique<Daemon>(route_arguments(GetParam(), loopback_address(port), more));
  descriptors_before_ = descriptors();
}

std::unique_ptr<Process> ProgramTest::start_nginx(std::uint16_t port, const std::string& root,
                                                  const std::string& settings) const {
  std::string text =
      "daemon off; master_process off; error_log stderr warn; pid nginx.pid;\n"
      "events { worker_connections 256; }\n"
      "http {\n  access_log off; sendfile on; " +
      settings + "\n";
  for (const char* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
    text += "  " + std::string(kind) + "_temp_path " + kind + ";\n";
  }
  text += "  server { listen " + loopback_address(port) + "; root " + root + "; }\n}\n";
  auto server = std::make_unique<Process>(std::vector<std::string>{
      "nginx", "-e", "stderr", "-p", folder_.path(), "-c", folder_.write("nginx.conf", text)});
  wait_for_listener(*server, port);
  return server;
}

std::unique_ptr<Process> ProgramTest::start_redis(std::uint16_t port,
                                                  const std::vector<std::string>& more) const {
  std::vector<std::string> argv{"redis-server",
                                "--port",
                                std::to_string(port),
                                "--bind",
                                "127.0.0.1",
                                "--save",
                                "",
                                "--appendonly",
                                "no",
                                "--dir",
                                folder_.path(),
                                "--dbfilename",
                                "redis-" + std::to_string(port)};
  argv.insert(argv.end(), more.begin(), more.end());
  auto server = std::make_unique<Process>(argv);
  wait_for_listener(*server, port);
  return server;
}

std::unique_ptr<Process> ProgramTest::start_haproxy(std::uint16_t port,
                                                    const std::string& config) const {
  auto haproxy = std::make_unique<Process>(std::vector<std::string>{
      "haproxy", "-db", "-f",
      folder_.write(
          "haproxy.cfg",
          "defaults\n  timeout connect 5s\n  timeout client 9s\n  timeout server 9s\n" + config)});
  wait_for_listener(*haproxy, port);
  return haproxy;
}

void ProgramTest::make_certificate() const {
  static_cast<void>(
      run_program({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                   "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost", "-days", "2",
                   "-keyout", folder_.file("key"), "-out", folder_.file("certificate")}));
}

LogFields ProgramTest::last_end(std::size_t count) const {
  EXPECT_EQ(daemon_->wait_for_ends(count).size(), count);
  return parse_text_line(line_of(daemon_->log(), " connection id="));
}

void wait_for_listener(Process& program, std::uint16_t port) {
  const bool ready =
      wait_until([&] { return listens(port) || !program.running(); }, kProgramPatience);
  if (!ready || !program.running()) {
    throw std::runtime_error("nothing listens on port " + std::to_string(port) + ":\n" +
                             program.standard_output() + program.standard_error());
  }
}

ProcessOptions with_streams(int input, int output) {
  ProcessOptions options;
  options.standard_input = input;
  options.standard_output = output;
  return options;
}

std::string run_program(const std::vector<std::string>& argv, const ProcessOptions& options) {
  Process program(argv, options);
  const std::optional<int> status = program.wait(kProgramPatience);
  EXPECT_EQ(status, 0) << argv.at(0) << " printed:\n"
                       << program.standard_output() << program.standard_error();
  return program.standard_output();
}

Moved moved_bytes(const Daemon& daemon, std::size_t connections) {
  const std::vector<ConnectionEnd> ends = daemon.wait_for_ends(connections, kProgramPatience);
  EXPECT_GE(ends.size(), connections) << "connections logged";
  Moved sum;
  for (const ConnectionEnd& end : ends) {
    sum.to_upstream += end.to_upstream;
    sum.to_client += end.to_client;
    sum.spliced_to_upstream += end.spliced_to_upstream;
    sum.spliced_to_client += end.spliced_to_client;
  }
  return sum;
}

std::vector<Mode> both_engines() { return {{"uring", "auto"}, {"epoll", "auto"}}; }

}  // namespace sluice::test
