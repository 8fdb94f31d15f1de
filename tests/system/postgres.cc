#include "tests/system/postgres.h"

#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <stdexcept>
#include <utility>
#include <vector>

#include "tests/support/regex.h"
#include "tests/support/sockets.h"
#include "tests/support/wait.h"
#include "tests/system/programs.h"

namespace sluice::test {
namespace {

// An empty folder that belongs to the user of these options.
void make_folder(const std::string& path, const ProcessOptions& options) {
  ::mkdir(path.c_str(), 0700);
  if (!options.user) return;
  const passwd* entry = ::getpwnam(options.user->c_str());
  if (entry == nullptr || ::chown(path.c_str(), entry->pw_uid, entry->pw_gid) != 0) {
    throw std::runtime_error("no folder for " + *options.user);
  }
}

// The folder of a new database. initdb takes many times longer than a copy of it, so it runs once.
const std::string& new_data(ProcessOptions options) {
  static const TempDir folder;
  static const std::string data = [&options] {
    const std::string path = folder.file("data");
    make_folder(path, options);
    options.working_directory = path;
    static_cast<void>(run_program({"initdb", "-D", path, "-U", "tester", "-A", "trust", "-E",
                                   "UTF8", "--no-locale", "--no-sync", "--wal-segsize=1"},
                                  options));
    return path;
  }();
  return data;
}

}  // namespace

Postgres::Postgres(std::string data, const ProcessOptions& options,
                   const std::vector<std::string>& more)
    : data_(std::move(data)), options_(options), port_(free_port()) {
  make_folder(data_, options_);
  options_.working_directory = data_;
  arguments_ = {"postgres",
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
  arguments_.insert(arguments_.end(), more.begin(), more.end());
}

Postgres::Postgres(const TempDir& folder, const ProcessOptions& options,
                   const std::vector<std::string>& more)
    : Postgres(folder.file("data"), options, more) {
  static_cast<void>(run_program({"cp", "-a", new_data(options) + "/.", data_}, options_));
  start();
}

std::unique_ptr<Postgres> Postgres::make_standby(const TempDir& folder) const {
  std::unique_ptr<Postgres> standby(new Postgres(folder.file("standby"), options_, {}));
  static_cast<void>(
      run_program({"pg_basebackup", "-h", "127.0.0.1", "-p", std::to_string(port_), "-U", "tester",
                   "-D", standby->data_, "--write-recovery-conf", "--checkpoint=fast", "--no-sync"},
                  standby->options_));
  standby->start();
  return standby;
}

void Postgres::start() {
  // A killed server's processes must be gone, or the new one finds its memory in use.
  if (server_) static_cast<void>(server_->wait(kProgramPatience));
  server_ = std::make_unique<Process>(arguments_, options_);
  const Regex ready("ready to accept( read-only)? connections");
  if (!server_->wait_for_error_line(ready, 0, kProgramPatience)) {
    throw std::runtime_error("postgres does not start:\n" + server_->standard_error());
  }
}

void Postgres::kill() {
  server_->signal(SIGKILL);
  if (!wait_until([this] { return try_connect(port_) != 0; })) {
    throw std::runtime_error("postgres still accepts connections");
  }
}

Postgres::~Postgres() {
  if (!server_) return;
  server_->signal(SIGINT);
  resume();
  static_cast<void>(server_->wait(kProgramPatience));
}

ProcessOptions Postgres::owner() {
  if (::geteuid() != 0) return {};
  ProcessOptions options;
  options.user = ::getpwnam("postgres") != nullptr ? "postgres" : "nobody";
  return options;
}

}  // namespace sluice::test
