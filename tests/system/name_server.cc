#include "tests/system/name_server.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "iolib/base/error.h"
#include "iolib/base/owned_fd.h"
#include "tests/support/sockets.h"
#include "tests/support/wait.h"

namespace sluice::test {
namespace {

void add_number(std::string& message, std::uint16_t number) {
  message += static_cast<char>(number >> 8);
  message += static_cast<char>(number & 0xff);
}

std::string question(const std::string& name, std::uint16_t type) {
  std::string message;
  for (const std::uint16_t number : std::to_array<std::uint16_t>({7, 0x100, 1, 0, 0, 0})) {
    add_number(message, number);
  }
  std::size_t begin = 0;
  while (begin < name.size()) {
    const std::size_t end = std::min(name.find('.', begin), name.size());
    message += static_cast<char>(end - begin);
    message += name.substr(begin, end - begin);
    begin = end + 1;
  }
  message += '\0';
  add_number(message, type);
  add_number(message, 1);
  return message;
}

bool set_up_loopback() {
  const OwnedFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  if (::ioctl(fd.get(), SIOCGIFFLAGS, &request) != 0) return false;
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  return ::ioctl(fd.get(), SIOCSIFFLAGS, &request) == 0;
}

bool mount_over(const TempDir& folder, const char* name, std::string_view content) {
  const std::string file = folder.write(name, content);
  return ::mount(file.c_str(), ("/etc/" + std::string(name)).c_str(), nullptr, MS_BIND, nullptr) ==
         0;
}

OwnedFd socket_at_53(int type) {
  OwnedFd fd(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
  const int reuse = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(53);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    throw std::runtime_error(errno_error("bind to port 53").to_string());
  }
  return fd;
}

void add_record(std::string& message, std::uint16_t type, const std::string& host) {
  std::array<char, 16> data;
  const bool is_four = type == kTypeA;
  if (::inet_pton(is_four ? AF_INET : AF_INET6, host.c_str(), data.data()) != 1) {
    throw std::runtime_error("no address: " + host);
  }
  const std::uint16_t size = is_four ? 4 : 16;
  // The question's name, class IN, a TTL of 0.
  for (const int number : {0xc00c, int{type}, 1, 0, 0, int{size}}) {
    add_number(message, static_cast<std::uint16_t>(number));
  }
  message.append(data.data(), size);
}

}  // namespace

std::string enter_own_network() {
  if (::geteuid() != 0) return "only root can give a process name servers of its own";
  if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 || !set_up_loopback()) {
    return "this root may not have a network and mounts of its own: " +
           errno_error("unshare").to_string();
  }
  const TempDir folder;
  if (!mount_over(folder, "resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n") ||
      !mount_over(folder, "nsswitch.conf", "hosts: files dns\n") ||
      !mount_over(folder, "hosts", "127.0.0.1 localhost\n")) {
    return errno_error("mount").to_string();
  }
  return "";
}

Reply ask(const std::string& name, std::uint16_t type) {
  const OwnedFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in server{};
  server.sin_family = AF_INET;
  server.sin_port = htons(53);
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const std::string message = question(name, type);
  std::array<unsigned char, 65'536> answer;
  // The question is sent again while there is neither an answer nor a refusal.
  const auto answered = [&] {
    return ::send(fd.get(), message.data(), message.size(), 0) < 0 ||
           readable_within(fd.get(), std::chrono::seconds(1));
  };
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&server), sizeof server) != 0 ||
      !wait_until(answered) || ::recv(fd.get(), answer.data(), answer.size(), MSG_DONTWAIT) < 12) {
    return {};
  }
  return {answer[3] & 0xf, (answer[2] & 2) != 0, answer[6] * 256 + answer[7]};
}

// The second of the lines that begin with "Udp:" has the numbers: received, unknown ports, errors,
// sent.
std::uint64_t sent_datagrams() {
  std::istringstream text(read_text("/proc/thread-self/net/snmp"));
  std::string line;
  int lines = 0;
  while (std::getline(text, line)) {
    if (!line.starts_with("Udp: ") || ++lines < 2) continue;
    std::istringstream numbers(line.substr(5));
    std::uint64_t number = 0;
    for (int i = 0; i < 4; ++i) numbers >> number;
    return number;
  }
  throw std::runtime_error("no count of datagrams");
}

KnotServer::KnotServer(const std::string& records) {
  folder_.write("knot.conf",
                "server:\n    listen: 127.0.0.1@53\n    rundir: " + folder_.path() +
                    "\n    user: root\n    udp-workers: 1\n    tcp-workers: 1\n"
                    "    background-workers: 1\ndatabase:\n    storage: " +
                    folder_.path() +
                    "\nlog:\n  - target: stderr\n    any: info\ntemplate:\n  - id: default\n"
                    "    storage: " +
                    folder_.path() +
                    "\n    zonefile-sync: -1\n    journal-content: none\nzone:\n"
                    "  - domain: test\n    file: test.zone\n");
  write_zone(records);
  start(0);
}

void KnotServer::start(int expected_code) {
  process_ =
      std::make_unique<Process>(std::vector<std::string>{"knotd", "-c", folder_.file("knot.conf")});
  if (!wait_until([&] { return ask("test", kTypeA).code == expected_code; })) {
    throw std::runtime_error("knotd does not answer: " + process_->standard_error());
  }
}

void KnotServer::write_zone(const std::string& records) {
  folder_.write("test.zone", "$ORIGIN test.\n$TTL 0\n@ SOA ns root " + std::to_string(++serial_) +
                                 " 60 60 60 0\n@ NS ns\nns A 127.0.0.1\n" + records + "\n");
}

void KnotServer::change(const std::string& records) {
  if (process_ == nullptr) {
    write_zone(records);
    return start(0);
  }
  const std::size_t logged = process_->standard_error().size();
  write_zone(records);
  process_->signal(SIGHUP);
  if (!process_->wait_for_error_line(Regex("loaded, serial .* -> " + std::to_string(serial_)),
                                     logged)) {
    throw std::runtime_error("knotd does not reload: " + process_->standard_error());
  }
}

void KnotServer::break_zone() {
  stop();
  write_zone("web A nothing");
  start(2);
}

void KnotServer::stop() {
  if (process_ == nullptr) return;
  process_->signal(SIGTERM);
  static_cast<void>(process_->wait());
  process_.reset();
}

DnsmasqServer::DnsmasqServer(const std::string& hosts) {
  folder_.write("hosts", hosts);
  process_ = std::make_unique<Process>(std::vector<std::string>{
      "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
      "--listen-address=127.0.0.1", "--bind-interfaces", "--addn-hosts=" + folder_.file("hosts"),
      "--local=/test/", "--user=root", "--pid-file=", "--log-facility=-"});
  if (!wait_until([] { return ask("none.test", kTypeA).code == 3; })) {
    throw std::runtime_error("dnsmasq does not answer: " + process_->standard_error());
  }
}

void DnsmasqServer::change(const std::string& hosts) {
  const std::size_t logged = process_->standard_error().size();
  folder_.write("hosts", hosts);
  process_->signal(SIGHUP);
  if (!process_->wait_for_error_line(Regex("read .*hosts"), logged)) {
    throw std::runtime_error("dnsmasq does not reload: " + process_->standard_error());
  }
}

BadNameServer::BadNameServer(const Answers& answers)
    : answers_(answers), udp_(socket_at_53(SOCK_DGRAM)), tcp_(socket_at_53(SOCK_STREAM)) {
  // The kernel accepts, and nobody answers.
  if (::listen(tcp_.get(), 100) != 0) throw std::runtime_error("listen");
  thread_ = std::thread([this] { serve(); });
}

BadNameServer::~BadNameServer() {
  ends_ = true;
  thread_.join();
}

void BadNameServer::change(const Answers& answers) {
  const std::lock_guard guard(mutex_);
  answers_ = answers;
}

void BadNameServer::serve() {
  while (!ends_) {
    if (!readable_within(udp_.get(), std::chrono::milliseconds(50))) continue;
    std::array<char, 512> asked;
    sockaddr_in from{};
    socklen_t from_size = sizeof from;
    const ssize_t size = ::recvfrom(udp_.get(), asked.data(), asked.size(), 0,
                                    reinterpret_cast<sockaddr*>(&from), &from_size);
    if (size < 17) continue;
    const Answers answers = [this] {
      const std::lock_guard guard(mutex_);
      return answers_;
    }();
    const auto type = static_cast<unsigned char>(asked[static_cast<std::size_t>(size) - 3]);
    const bool is_four = type == kTypeA;
    const bool fails = !is_four && answers.six_fails;
    const std::vector<std::string>& hosts = is_four ? answers.four : answers.six;
    const std::size_t count = fails || answers.truncated ? 0 : hosts.size();
    std::string message(asked.data(), 2);
    for (const int number : {0x8180 + (fails ? 2 : 0) + (answers.truncated ? 0x200 : 0), 1,
                             static_cast<int>(count), 0, 0}) {
      add_number(message, static_cast<std::uint16_t>(number));
    }
    message.append(asked.data() + 12, static_cast<std::size_t>(size) - 12);
    for (std::size_t i = 0; i < count; ++i) add_record(message, type, hosts[i]);
    ::sendto(udp_.get(), message.data(), message.size(), 0, reinterpret_cast<sockaddr*>(&from),
             from_size);
    ++questions_;
  }
}

}  // namespace sluice::test
