#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "iolib/base/owned_fd.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace sluice::test {

/// Gives this thread, and the processes that it starts from now on, a network of their own in which
/// 127.0.0.1 is the name server. Returns why that is impossible here; empty if it was done.
[[nodiscard]] std::string enter_own_network();

/// What a name server answers to a question over UDP.
struct Reply {
  int code = -1;  ///< 0: no error, 2: SERVFAIL, 3: NXDOMAIN; -1: there was no answer
  bool truncated = false;
  int answers = 0;
};
constexpr std::uint16_t kTypeA = 1;
constexpr std::uint16_t kTypeSrv = 33;
[[nodiscard]] Reply ask(const std::string& name, std::uint16_t type);

/// The datagrams that were sent in the network of the test.
[[nodiscard]] std::uint64_t sent_datagrams();

/// Knot DNS with the zone `test.`, at 127.0.0.1 in the network of the test.
class KnotServer {
 public:
  /// Starts it, and waits until it answers. `records`: lines of the zone, such as "web A 10.0.0.1".
  explicit KnotServer(const std::string& records);
  ~KnotServer() { stop(); }
  KnotServer(const KnotServer&) = delete;
  KnotServer& operator=(const KnotServer&) = delete;

  /// Answers with these records from now on.
  void change(const std::string& records);
  /// From now on it answers all questions with SERVFAIL.
  void break_zone();
  void stop();

 private:
  void start(int expected_code);
  void write_zone(const std::string& records);

  TempDir folder_;
  std::uint32_t serial_ = 0;
  std::unique_ptr<Process> process_;
};

/// dnsmasq, which answers from a file of hosts.
class DnsmasqServer {
 public:
  explicit DnsmasqServer(const std::string& hosts);
  void change(const std::string& hosts);

 private:
  TempDir folder_;
  std::unique_ptr<Process> process_;
};

/// A name server that knows one name, and can do what no good one does.
class BadNameServer {
 public:
  /// What it answers with over UDP.
  struct Answers {
    std::vector<std::string> four = {};  ///< IPv4 addresses
    std::vector<std::string> six = {};
    bool six_fails = false;  ///< SERVFAIL
    bool truncated = false;  ///< the whole answer is there over TCP, where it never comes
  };
  explicit BadNameServer(const Answers& answers);
  ~BadNameServer();
  BadNameServer(const BadNameServer&) = delete;
  BadNameServer& operator=(const BadNameServer&) = delete;

  void change(const Answers& answers);
  /// Questions that it has answered over UDP.
  [[nodiscard]] int questions() const { return questions_; }

 private:
  void serve();

  std::mutex mutex_;
  Answers answers_;
  std::atomic<int> questions_ = 0;
  std::atomic<bool> ends_ = false;
  OwnedFd udp_;
  OwnedFd tcp_;
  std::thread thread_;
};

}  // namespace sluice::test
