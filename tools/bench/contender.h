#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"

namespace sluice::bench {

/// A path from a client to the serving end: a forwarder that this program starts and ends, or none.
struct Contender {
  std::string name;
  /// The program and its arguments; empty: no forwarder. {listen}, {to} and {mirror} stand for
  /// ports of 127.0.0.1, {to:N} for the port of server N, {config} for the file that holds
  /// `config`, and {dir} for the run's own directory. An argument with {to} is repeated for each
  /// server.
  std::vector<std::string> command = {};
  std::string config = {};   ///< a line with {to} is repeated for each server
  std::string version = {};  ///< as the program reports it
  /// A file below {dir} to which the contender's tcpdump reports, at its end, how many packets it
  /// lost; empty: no tcpdump runs.
  std::string dump_log = {};
  bool whole_mirror = false;      ///< a run is void if the log says that the mirror missed bytes
  bool records = false;           ///< it records the traffic to {dir}, which takes space there
  bool balances = true;           ///< it can forward to several servers
  bool routes = false;            ///< it forwards by the name in a TLS hello
  std::uint8_t proxy_header = 0;  ///< version of the PROXY header that it adds; 0: none
  /// At {mirror}, this program listens and never accepts; if false, `command` starts the mirror.
  bool stuck_mirror = false;
  [[nodiscard]] bool direct() const { return command.empty(); }
};

/// The options of the contenders that this program knows.
struct ContenderOptions {
  std::string sluice;       ///< the sluice binary
  std::size_t workers = 2;  ///< threads or processes of each contender that has such a setting
  std::size_t servers = 1;  ///< if several, the contenders check them, and balance over them
  std::size_t names = 0;    ///< of the servers, for contenders that route; 0: none do
};

/// The installed contenders, in the order in which they are shown:
///
/// 1. `direct`
/// 2. forwarders: haproxy-tuned, haproxy, nginx-tuned, nginx, socat, sluice, sluice-always,
///    sluice-never, and the last three with `--engine epoll`
/// 3. those that also record: haproxy-tcpdump (as root only); sluice-capture-none, -interval,
///    -batch and -before-forward, named after `--durability`; and -buffered, which is `none`
///    through the page cache
/// 4. those that add a PROXY header: haproxy-proxy-v2, nginx-proxy-v1 (nginx knows no other), and
///    sluice-proxy-v2; and with `names` those that route by them: haproxy-sni, nginx-sni,
///    sluice-sni
/// 5. those that also mirror: sluice-mirror, to another sluice that reads and discards; and
///    sluice-mirror-stuck, to a server that never accepts
[[nodiscard]] std::vector<Contender> installed_contenders(const ContenderOptions& options);

/// Parses `NAME=COMMAND` as another contender. The command is split at spaces. If the name ends in
/// -proxy-v1 or -proxy-v2, it must add that PROXY header.
[[nodiscard]] Result<Contender> parse_contender(const std::string& text);

/// A running contender, in its own process group. The destructor ends the group.
class Forwarder {
 public:
  /// Starts the contender with the servers' ports `to`, and waits until it listens. `directory`
  /// must exist, and is not removed; the contender's files go there. Throws a Failure that includes
  /// the contender's last output, or Interrupted.
  Forwarder(const Contender& contender, const std::vector<std::uint16_t>& to,
            std::string directory);
  ~Forwarder();
  Forwarder(const Forwarder&) = delete;
  Forwarder& operator=(const Forwarder&) = delete;

  /// The port of 127.0.0.1 that clients connect to; for `direct`, that of the first server.
  [[nodiscard]] std::uint16_t port() const { return port_; }
  /// 0 for `direct`.
  [[nodiscard]] pid_t pid() const { return pid_; }
  /// Ends the contender. Returns the percentage of packets that tcpdump lost, from
  /// Contender::dump_log; nothing if the contender has no such log, which then keeps running.
  /// Throws Failure if the log does not say.
  [[nodiscard]] std::optional<double> end_and_tell_lost(const Contender& contender);
  /// Whether its log says that a mirror missed bytes.
  [[nodiscard]] bool complained_of_mirror() const;
  /// The last part of its output, worded for the end of an error; empty if it wrote nothing.
  [[nodiscard]] std::string last_words() const;

 private:
  void start(const Contender& contender, const std::vector<std::uint16_t>& to);
  void wait_until_listening(std::uint16_t port);
  void end_processes();

  std::string directory_;
  std::uint16_t port_ = 0;
  std::uint16_t mirror_port_ = 0;  ///< 0: it has no mirror
  OwnedFd mirror_;                 ///< a mirror that never accepts
  pid_t pid_ = 0;
};

/// Limits for a proxy's configuration. A connection through it and a pipe take two descriptors
/// each.
struct Most {
  std::uint64_t connections = 0;
  std::uint64_t pipes = 0;
};
/// Limits that suffice for the largest workload, within `descriptors`: some proxies refuse to start
/// with limits that exceed the number of descriptors.
[[nodiscard]] Most most_within(std::uint64_t descriptors);

/// Whether nginx has built-in stream support, from the line of configure arguments that `nginx -V`
/// prints. False if streams are a dynamic module.
[[nodiscard]] bool builds_in_streams(const std::string& line);

/// The path of an executable in PATH, /usr/sbin or /sbin; empty if there is none.
[[nodiscard]] std::string find_program(const std::string& name);
/// The first line that a command prints.
[[nodiscard]] std::string first_line(const std::vector<std::string>& command);
/// The first line of its output that contains `word`; empty if there is none.
[[nodiscard]] std::string line_with(const std::vector<std::string>& command,
                                    const std::string& word);

}  // namespace sluice::bench
