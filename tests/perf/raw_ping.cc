// What a ping-pong over loopback costs with nothing but the system calls: the reference for
// sluice-bench's own ends. Prints trips a second.
//
// usage: raw-ping [SECONDS]

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "iolib/base/owned_fd.h"
#include "tests/support/sockets.h"

namespace {

using sluice::OwnedFd;
using std::chrono::steady_clock;

void echo(int fd) {
  char byte = 0;
  while (::recv(fd, &byte, 1, 0) == 1 && ::send(fd, &byte, 1, MSG_NOSIGNAL) == 1) {
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::chrono::duration<double> time(argc > 1 ? std::atof(argv[1]) : 3.0);
  const sluice::test::Listener listener = sluice::test::listen_tcp();
  OwnedFd client = sluice::test::connect_tcp(listener.port);
  const OwnedFd server = sluice::test::accept_from(listener.fd.get());
  std::thread echoing([&] { echo(server.get()); });
  std::uint64_t trips = 0;
  const auto begin = steady_clock::now();
  char byte = 0;
  while (steady_clock::now() - begin < time) {
    if (::send(client.get(), &byte, 1, MSG_NOSIGNAL) != 1) break;
    if (::recv(client.get(), &byte, 1, 0) != 1) break;
    ++trips;
  }
  const std::chrono::duration<double> taken = steady_clock::now() - begin;
  std::printf("%.0f trips/s\n", static_cast<double>(trips) / taken.count());
  client.reset();
  echoing.join();
  return 0;
}
