#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/support/daemon.h"
#include "tests/support/log_line.h"
#include "tests/support/sockets.h"
#include "tests/support/temp_dir.h"

namespace sluice::test {

/// One client, and the server that it was given.
struct Served {
  OwnedFd client;
  OwnedFd accepted;
  std::size_t server = 0;
};

/// A daemon with several servers, which are sockets of the test. The parameter is the engine.
class ServersTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override;
  void TearDown() override;

  void add_servers(std::size_t count);
  /// Adds a server that refuses connections, until start_server().
  void add_refusing_server();
  void start_server(std::size_t server);
  /// Adds a server that answers no SYN, until make_room().
  void add_full_server();
  /// Takes the last place of its backlog.
  void fill(std::size_t server) { fillers_.push_back(connect_tcp(servers_[server].port)); }
  void make_room(std::size_t server);
  /// The server refuses connections from now on; the port stays ours.
  void stop_listening(std::size_t server);
  [[nodiscard]] std::string address(std::size_t server) const {
    return loopback_address(servers_[server].port);
  }
  /// The addresses as an array of the file.
  [[nodiscard]] std::string addresses() const;

  /// Starts a daemon with all servers.
  void start(const std::vector<std::string>& more = {});
  /// Starts a daemon whose file has this after `to = `, and more keys. `arguments`: further ones.
  void start_with_file(const std::string& to, const std::string& more = "",
                       const std::vector<std::string>& arguments = {});

  /// Writes that file anew, for a reload. Returns its path.
  std::string write_file(const std::string& to, const std::string& more) const;

  /// The next connection that any server gets.
  [[nodiscard]] Served accept_next(OwnedFd client);
  [[nodiscard]] Served serve_one() { return accept_next(connect_tcp(daemon_->port())); }
  /// How a client's connection ends that sends nothing. The daemon can reset it before connect(2)
  /// has returned.
  [[nodiscard]] Ending ending_of_client();
  /// How many of `count` connections each server gets, one after another.
  [[nodiscard]] std::map<std::size_t, int> served(int count);
  /// The log line of the `server` event for this server, as SIGUSR1 prints it.
  [[nodiscard]] LogFields summary_of(std::size_t server);

  TempDir folder_;
  std::vector<Listener> servers_;
  std::set<std::size_t> stopped_;  ///< servers that refuse connections or do not answer
  std::vector<OwnedFd> fillers_;
  std::unique_ptr<Daemon> daemon_;
};

}  // namespace sluice::test
