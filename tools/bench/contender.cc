#include "tools/bench/contender.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <sstream>
#include <string_view>
#include <thread>
#include <utility>

#include "iolib/base/text.h"
#include "tools/bench/interrupt.h"
#include "tools/bench/net.h"
#include "tools/common/command_line.h"

namespace sluice::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kStartTimeout{15};
constexpr std::chrono::seconds kStopTimeout{3};
constexpr milliseconds kPoll{2};

std::string replaced(std::string text, std::string_view what, const std::string& with) {
  for (std::size_t at = text.find(what); at != std::string::npos;
       at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
  return text;
}

// A word or a line of a contender: once for each server's port if it has {to}, otherwise once.
std::vector<std::string> for_each_port(const std::string& text,
                                       const std::vector<std::uint16_t>& ports) {
  constexpr std::string_view kTo = "{to}";
  if (text.find(kTo) == std::string::npos) return {text};
  std::vector<std::string> texts;
  for (const std::uint16_t port : ports) {
    texts.push_back(replaced(text, kTo, std::to_string(port)));
  }
  return texts;
}

// Whether a socket listens on the port, according to the kernel's table (proc_net_tcp(5)).
bool listening(std::uint16_t port) {
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream file(table);
    std::string line;
    std::getline(file, line);
    while (std::getline(file, line)) {
      std::istringstream fields(line);
      std::string number, local, remote, state;
      fields >> number >> local >> remote >> state;
      constexpr const char* kListen = "0A";
      if (state == kListen && std::stoul(local.substr(local.rfind(':') + 1), nullptr, 16) == port) {
        return true;
      }
    }
  }
  return false;
}

std::uint16_t free_port() {
  const Result<OwnedFd> any = listen_at(loopback(0));
  if (any.has_error()) throw Failure(any.error().to_string());
  return local_port(any->get());
}

// Runs in the child between fork and exec, so it makes async-signal-safe calls only.
[[noreturn]] void execute(const std::vector<char*>& arguments, const char* log) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int file = ::open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const int null = ::open("/dev/null", O_RDONLY);
  ::dup2(null, STDIN_FILENO);
  ::dup2(file, STDOUT_FILENO);
  ::dup2(file, STDERR_FILENO);
  ::execvp(arguments[0], arguments.data());
  constexpr std::string_view kText = "it cannot be executed\n";
  static_cast<void>(::write(STDERR_FILENO, kText.data(), kText.size()));
  ::_exit(127);
}

}  // namespace

std::string find_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(std::string(path != nullptr ? path : "") + ":/usr/sbin:/sbin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (folder.empty()) continue;
    folder.append("/").append(name);
    if (::access(folder.c_str(), X_OK) == 0) return folder;
  }
  return "";
}

std::string first_line(const std::vector<std::string>& command) { return line_with(command, ""); }

std::string line_with(const std::vector<std::string>& command, const std::string& word) {
  std::string line;
  for (const std::string& argument : command) {
    line.append(shell_word(argument)).append(" ");
  }
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen((line + "2>&1").c_str(), "re"),
                                                   &::pclose);
  constexpr std::size_t kChunkBytes = 4096;
  std::array<char, kChunkBytes> chunk{};
  std::string said;
  while (pipe && std::fgets(chunk.data(), chunk.size(), pipe.get()) != nullptr) {
    said += chunk.data();
  }
  std::istringstream lines(said);
  for (std::string each; std::getline(lines, each);) {
    if (each.find(word) != std::string::npos) return each;
  }
  return "";
}

Forwarder::Forwarder(const Contender& contender, const std::vector<std::uint16_t>& to,
                     std::string directory)
    : directory_(std::move(directory)), port_(to.front()) {
  if (contender.direct()) return;
  try {
    start(contender, to);
    if (mirror_port_ != 0) wait_until_listening(mirror_port_);
    wait_until_listening(port_);
  } catch (const std::exception& failure) {
    const std::string words = last_words();
    end_processes();
    throw Failure(contender.name + ": " + failure.what() + words);
  }
}

Forwarder::~Forwarder() { end_processes(); }

void Forwarder::start(const Contender& contender, const std::vector<std::uint16_t>& to) {
  port_ = free_port();
  const bool mirrors = std::ranges::any_of(contender.command, [](const std::string& word) {
    return word.find("{mirror}") != std::string::npos;
  });
  if (mirrors && contender.stuck_mirror) {
    Result<OwnedFd> listener = listen_at(loopback(0));
    if (listener.has_error()) throw Failure(listener.error().to_string());
    mirror_ = std::move(*listener);
    mirror_port_ = local_port(mirror_.get());
  } else if (mirrors) {
    mirror_port_ = free_port();
  }
  const auto filled = [&](std::string text) {
    text = replaced(std::move(text), "{listen}", std::to_string(port_));
    text = replaced(std::move(text), "{mirror}", std::to_string(mirror_port_));
    text = replaced(std::move(text), "{dir}", directory_);
    for (std::size_t i = 0; i < to.size(); ++i) {
      text = replaced(std::move(text), "{to:" + std::to_string(i) + '}', std::to_string(to[i]));
    }
    return replaced(std::move(text), "{config}", directory_ + "/config");
  };
  if (!contender.config.empty()) {
    std::istringstream lines(contender.config);
    std::ofstream file(directory_ + "/config");
    for (std::string line; std::getline(lines, line);) {
      for (const std::string& each : for_each_port(line, to)) file << filled(each) << '\n';
    }
  }
  std::vector<std::string> words;
  for (const std::string& word : contender.command) {
    for (const std::string& each : for_each_port(word, to)) words.push_back(filled(each));
  }
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const std::string log = directory_ + "/log";
  pid_ = ::fork();
  if (pid_ < 0) fail_errno("fork");
  if (pid_ == 0) execute(arguments, log.c_str());
  ::setpgid(pid_, pid_);  // in both processes, because either may run first
}

void Forwarder::wait_until_listening(std::uint16_t port) {
  const auto deadline = steady_clock::now() + kStartTimeout;
  for (;;) {
    const bool is_late = steady_clock::now() > deadline;
    if (listening(port)) return;
    check_interrupted();
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
      ::kill(-pid_, SIGKILL);  // children that it left behind
      pid_ = 0;
      throw Failure("ended at once");
    }
    if (is_late) throw Failure("does not listen");
    std::this_thread::sleep_for(kPoll);
  }
}

bool Forwarder::complained_of_mirror() const {
  std::ifstream file(directory_ + "/log");
  for (std::string line; std::getline(file, line);) {
    if (line.find(" mirror address=") != line.npos) return true;
  }
  return false;
}

std::string Forwarder::last_words() const {
  constexpr std::size_t kMost = 300;
  std::ifstream file(directory_ + "/log");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  while (!text.empty() && text.back() == '\n') text.pop_back();
  if (text.empty()) return "";
  if (text.size() > kMost) text = "..." + text.substr(text.size() - kMost);
  return "; its output: " + one_line(text);
}

// Parses "123 packets captured" and "456 packets dropped by kernel".
std::optional<double> Forwarder::end_and_tell_lost(const Contender& contender) {
  if (contender.dump_log.empty()) return std::nullopt;
  end_processes();
  std::ifstream file(directory_ + '/' + contender.dump_log);
  std::optional<double> captured;
  std::optional<double> dropped;
  for (std::string line; std::getline(file, line);) {
    const double number = std::strtod(line.c_str(), nullptr);
    if (line.find("packets captured") != std::string::npos) captured = number;
    if (line.find("dropped by kernel") != std::string::npos) dropped = number;
  }
  if (!captured || !dropped) throw Failure("tcpdump did not report how much it lost");
  if (*captured + *dropped <= 0) throw Failure("tcpdump captured nothing");
  constexpr double kPercent = 100;
  return kPercent * *dropped / (*captured + *dropped);
}

// Sends SIGTERM, then SIGKILL after kStopTimeout, to the whole process group: nginx's workers and
// socat's children belong to it.
void Forwarder::end_processes() {
  if (pid_ > 0) {
    ::kill(-pid_, SIGTERM);
    const auto deadline = steady_clock::now() + kStopTimeout;
    while (::waitpid(pid_, nullptr, WNOHANG) == 0) {
      if (steady_clock::now() > deadline) ::kill(-pid_, SIGKILL);
      std::this_thread::sleep_for(kPoll);
    }
    ::kill(-pid_, SIGKILL);
    pid_ = 0;
  }
}

}  // namespace sluice::bench
