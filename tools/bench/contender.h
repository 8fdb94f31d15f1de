#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"

namespace sluice::bench {

/// A way from a client to the serving end: a forwarder that this program starts and ends, or none.
struct Contender {
  std::string name;
  /// Program and arguments; {listen}, {to} and {mirror} stand for ports of 127.0.0.1, {config} for
  /// the file that holds `config`, {dir} for a directory of the run's own. Empty: directly.
  std::vector<std::string> command = {};
  std::string config = {};
  std::string version = {};  ///< what the program says of itself
  /// A file below {dir} in which a tcpdump beside it says at its end what it lost; empty: none
  /// runs.
  std::string dump_log = {};
  bool whole_mirror = false;  ///< void without all of it: what the log says of mirrors tells
  bool records = false;       ///< what passes it goes to {dir}, and takes up space there
  bool stuck_mirror = false;  ///< at {mirror} listens one who never accepts; else the command does
  [[nodiscard]] bool direct() const { return command.empty(); }
};

struct ContenderOptions {
  std::string sluice;       ///< the binary
  std::size_t workers = 2;  ///< threads or processes, of each that can be told
};

/// Those that are installed, in the order in which they are shown: direct, haproxy-tuned, haproxy,
/// nginx-tuned, nginx, socat, sluice, sluice-always, sluice-never and the three with --engine
/// epoll; then those that record as well: haproxy-tcpdump (for root), sluice-capture-none,
/// -interval, -batch, -before-forward, and -buffered, which is none through the page cache; and
/// those that mirror: sluice-mirror, to another sluice that reads and discards, and
/// sluice-mirror-stuck, to one that never reads.
[[nodiscard]] std::vector<Contender> installed_contenders(const ContenderOptions& options);

/// `NAME=COMMAND`, the command split at spaces, as another contender.
[[nodiscard]] Result<Contender> parse_contender(const std::string& text);

/// A running contender, in a process group of its own, which the destructor ends.
class Forwarder {
 public:
  /// Starts it with `to` as its upstream's port, and waits until it listens. Its files go to
  /// `directory`, which is there, and stays. Throws Failure, with what it said last.
  Forwarder(const Contender& contender, std::uint16_t to, std::string directory);
  ~Forwarder();
  Forwarder(const Forwarder&) = delete;
  Forwarder& operator=(const Forwarder&) = delete;

  /// Where clients connect.
  [[nodiscard]] std::uint16_t port() const { return port_; }
  /// 0 if there is none.
  [[nodiscard]] pid_t pid() const { return pid_; }
  /// Ends it, and returns the share of packets that Contender::dump_log tells were lost, in
  /// percent; nothing if there is no such log. Throws Failure if it does not tell.
  [[nodiscard]] std::optional<double> end_and_tell_lost(const Contender& contender);
  /// Whether it said of a mirror that it does not get everything.
  [[nodiscard]] bool complained_of_mirror() const;
  /// The end of what it wrote to stderr.
  [[nodiscard]] std::string last_words() const;

 private:
  void start(const Contender& contender, std::uint16_t to);
  void wait_until_listening(std::uint16_t port);
  void end_processes();

  std::string directory_;
  std::uint16_t port_ = 0;
  std::uint16_t mirror_port_ = 0;  ///< 0: nothing is mirrored
  OwnedFd mirror_;                 ///< a mirror that never accepts
  pid_t pid_ = 0;
};

/// What a proxy may be told to take, each with two descriptors.
struct Most {
  std::uint64_t connections = 0;
  std::uint64_t pipes = 0;
};
/// Enough for the largest workload, within so many descriptors: some proxies refuse to start with
/// more than the limit allows.
[[nodiscard]] Most most_within(std::uint64_t descriptors);

/// Whether nginx was built with streams in it, from the line of its configure arguments
/// (`nginx -V`); with a module to be loaded it was not.
[[nodiscard]] bool builds_in_streams(const std::string& line);

/// An executable of that name in PATH, /usr/sbin or /sbin; empty if there is none.
[[nodiscard]] std::string find_program(const std::string& name);
/// The first line that a program prints.
[[nodiscard]] std::string first_line(const std::vector<std::string>& command);
/// The first one with `word` in it; empty if there is none.
[[nodiscard]] std::string line_with(const std::vector<std::string>& command,
                                    const std::string& word);

}  // namespace sluice::bench
