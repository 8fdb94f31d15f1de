#include "tests/system/postgres.h"

#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <stdexcept>
#include <vector>

#include "tests/support/regex.h"
#include "tests/support/sockets.h"
#include "tests/system/programs.h"

namespace sluice::test {

Postgres::Postgres(const TempDir& folder, const ProcessOptions& options,
                   const std::vector<std::string>& more)
    : data_(folder.file("data")), port_(free_port()) {
  ::mkdir(data_.c_str(), 0700);
  if (options.user) {
    const passwd* entry = ::getpwnam(options.user->c_str());
    if (entry == nullptr || ::chown(data_.c_str(), entry->pw_uid, entry->pw_gid) != 0) {
      throw std::runtime_error("no folder for " + *options.user);
    }
  }
  ProcessOptions inside = options;
  inside.working_directory = data_;
  static_cast<void>(run_program({"initdb", "-D", data_, "-U", "tester", "-A", "trust", "-E", "UTF8",
                                 "--no-locale", "--no-sync"},
                                inside));
  std::vector<std::string> arguments{"postgres",
                                     "-D",
                                     data_,
                                     "-p",
                                     std::to_string(port_),
                                     "-c",
                                     "listen_addresses=127.0.0.1",
                                     "-c",
                                     "unix_socket_directories=",
                                     "-c",
                                     "fsync=off"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  server_ = std::make_unique<Process>(arguments, inside);
  if (!server_->wait_for_error_line(Regex("ready to accept connections"), 0, kProgramPatience)) {
    throw std::runtime_error("postgres does not start:\n" + server_->standard_error());
  }
}

Postgres::~Postgres() {
  if (!server_) return;
  server_->signal(SIGINT);
  static_cast<void>(server_->wait(kProgramPatience));
}

ProcessOptions Postgres::owner() {
  if (::geteuid() != 0) return {};
  ProcessOptions options;
  options.user = ::getpwnam("postgres") != nullptr ? "postgres" : "nobody";
  return options;
}

}  // namespace sluice::test
