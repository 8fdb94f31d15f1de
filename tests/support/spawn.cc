#include "tests/support/spawn.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <stdexcept>
#include <system_error>

namespace sluice::test {
namespace {

struct Pipe {
  OwnedFd reader;
  OwnedFd writer;
};

Pipe make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    throw std::system_error(errno, std::generic_category(), "pipe2");
  }
  return {OwnedFd(ends[0]), OwnedFd(ends[1])};
}

/// Everything that the child needs, made before the fork. After it, a program with threads may make
/// only async-signal-safe calls.
struct Prepared {
  std::vector<char*> argv;
  std::vector<char*> environment;
  const char* program = nullptr;
  const char* working_directory = nullptr;
  int standard_input = -1;
  int standard_output = -1;
  int standard_error = -1;
  bool limit_files = false;
  rlimit files{};
  bool change_user = false;
  uid_t user = 0;
  gid_t group = 0;
  bool forbid_io_uring = false;
  pid_t parent = -1;
};

bool install_io_uring_filter() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{.len = sizeof(program) / sizeof(program[0]), .filter = program};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

bool become(const Prepared& prepared) {
  if (prepared.limit_files && ::setrlimit(RLIMIT_NOFILE, &prepared.files) != 0) return false;
  if (prepared.change_user && (::setgroups(0, nullptr) != 0 || ::setgid(prepared.group) != 0 ||
                               ::setuid(prepared.user) != 0)) {
    return false;
  }
  // After setuid, which clears it. If the parent has gone already, the signal would never come.
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != prepared.parent) return false;
  if (prepared.working_directory != nullptr && ::chdir(prepared.working_directory) != 0) {
    return false;
  }
  return !prepared.forbid_io_uring || install_io_uring_filter();
}

[[noreturn]] void run_child(const Prepared& prepared, int report) {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  // Whoever runs the tests in the background, or with nohup(1), may have set some to be ignored.
  for (const int each : {SIGPIPE, SIGINT, SIGQUIT, SIGHUP}) ::signal(each, SIG_DFL);
  if (::dup2(prepared.standard_input, STDIN_FILENO) >= 0 &&
      ::dup2(prepared.standard_output, STDOUT_FILENO) >= 0 &&
      ::dup2(prepared.standard_error, STDERR_FILENO) >= 0 && become(prepared)) {
    ::execve(prepared.program, prepared.argv.data(), prepared.environment.data());
  }
  const int error = errno;
  // A failure here cannot be reported; the parent then sees an exit status of 127.
  [[maybe_unused]] const ssize_t written = ::write(report, &error, sizeof(error));
  ::_exit(127);
}

void set_user(Prepared& prepared, const std::string& name) {
  const passwd* entry = ::getpwnam(name.c_str());
  if (entry == nullptr) throw std::runtime_error("no user " + name);
  prepared.change_user = true;
  prepared.user = entry->pw_uid;
  prepared.group = entry->pw_gid;
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (const std::string& string : strings) result.push_back(const_cast<char*>(string.c_str()));
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> merged_environment(const std::vector<std::string>& added) {
  std::vector<std::string> result = added;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string inherited = *entry;
    const std::string name = inherited.substr(0, inherited.find('=') + 1);
    bool replaced = false;
    for (const std::string& own : added) replaced |= own.starts_with(name);
    if (!replaced) result.push_back(inherited);
  }
  return result;
}

}  // namespace

Spawned spawn(const std::string& program, const std::vector<std::string>& argv,
              const ProcessOptions& options) {
  const std::vector<std::string> environment = merged_environment(options.environment);
  Pipe output = make_pipe();
  Pipe error = make_pipe();
  Pipe report = make_pipe();
  const OwnedFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  Prepared prepared;
  prepared.argv = pointers(argv);
  prepared.environment = pointers(environment);
  prepared.program = program.c_str();
  if (!options.working_directory.empty()) {
    prepared.working_directory = options.working_directory.c_str();
  }
  prepared.standard_input = options.standard_input >= 0 ? options.standard_input : null.get();
  prepared.standard_output =
      options.standard_output >= 0 ? options.standard_output : output.writer.get();
  prepared.standard_error =
      options.standard_error >= 0 ? options.standard_error : error.writer.get();
  prepared.limit_files = options.max_open_files.has_value();
  if (options.max_open_files) prepared.files = {*options.max_open_files, *options.max_open_files};
  if (options.user) set_user(prepared, *options.user);
  prepared.forbid_io_uring = options.forbid_io_uring;
  prepared.parent = ::getpid();

  const pid_t child = ::fork();
  if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (child == 0) run_child(prepared, report.writer.get());

  report.writer.reset();
  int failure = 0;
  if (::read(report.reader.get(), &failure, sizeof(failure)) == sizeof(failure)) {
    ::waitpid(child, nullptr, 0);
    throw std::system_error(failure, std::generic_category(), "cannot start " + program);
  }
  return {child, std::move(output.reader), std::move(error.reader)};
}

}  // namespace sluice::test
