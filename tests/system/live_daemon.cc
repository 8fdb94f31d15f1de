#include "tests/system/live_daemon.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "tests/support/wait.h"

namespace sluice::test {
namespace {

// The exit status of a process that its parent may have reaped: then 0.
std::optional<int> end_of(pid_t pid) {
  int status = 0;
  const bool ended = wait_until([&] {
    if (::waitpid(pid, &status, WNOHANG) == pid) return true;
    return ::kill(pid, 0) != 0 && errno == ESRCH;
  });
  if (!ended) return std::nullopt;
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

// What the descriptors of a process are.
std::vector<std::string> open_files(pid_t pid) {
  std::vector<std::string> files;
  std::error_code ended;
  for (const auto& each :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd", ended)) {
    std::error_code gone;
    std::string target = std::filesystem::read_symlink(each.path(), gone).string();
    if (!gone) files.push_back(std::move(target));
  }
  return files;
}

}  // namespace

std::string Answered::result() const {
  if (!body.is_object()) return "no object";
  const json::object& object = body.as_object();
  for (const char* key : {"result", "detail"}) {
    if (const json::value* const text = object.if_contains(key)) {
      return std::string(text->as_string());
    }
  }
  return "no result";
}

LiveDaemon::LiveDaemon(const std::string& routes, std::size_t listeners, std::string defaults,
                       DaemonOptions options)
    : defaults_(std::move(defaults)) {
  // A successor belongs to this process once the daemon that has started it has ended.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  write(routes);
  options.listeners = listeners + 1;
  options.log_file = log_;
  daemon_.emplace(std::vector<std::string>{"--config", file_}, std::move(options));
}

LiveDaemon::~LiveDaemon() {
  for (const pid_t pid : successors_) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
}

void LiveDaemon::write(const std::string& routes) const {
  const std::string text = "[defaults]\nadmin = \"unix:" + admin_path_ + "\"\nlog-file = \"" +
                           log_ + "\"\n" + defaults_ + "\n" + routes;
  // As an editor does it: whoever reads it meanwhile has the old one or the new one.
  std::ofstream(file_ + ".new") << text;
  std::filesystem::rename(file_ + ".new", file_);
}

Answered LiveDaemon::reload(bool dry_run) const {
  const HttpAnswer answer =
      exchange(connect_unix(admin_path_).get(),
               change_request("POST", dry_run ? "/v1/reload?dry-run=1" : "/v1/reload"));
  if (answer.body.empty()) return {answer.status};
  return {answer.status, json::parse(answer.body)};
}

std::string LiveDaemon::reload_by_signal() {
  const auto last = [this] { return get("/v1/status").at("last_reload"); };
  const json::value before = last();
  ::kill(pid(), SIGHUP);
  json::value now;
  const bool reloaded = wait_until([&] { return (now = last()) != before; });
  return reloaded ? std::string(now.at("result").as_string()) : "SIGHUP reloads nothing";
}

Answered LiveDaemon::take_over() {
  const HttpAnswer answer =
      exchange(connect_unix(admin_path_).get(), change_request("POST", "/v1/takeover"));
  Answered result{answer.status, {}};
  if (!answer.body.empty()) result.body = json::parse(answer.body);
  if (result.result() == "taken") {
    successors_.push_back(static_cast<pid_t>(result.body.at("pid").to_number<std::int64_t>()));
  }
  return result;
}

std::unique_ptr<Process> LiveDaemon::start_successor() const {
  return std::make_unique<Process>(
      std::vector<std::string>{daemon_binary(), "--config", file_, "--takeover"});
}

void LiveDaemon::adopt(std::unique_ptr<Process> successor) {
  started_.push_back(std::move(successor));
}

std::optional<int> LiveDaemon::terminate() {
  ::kill(pid(), SIGTERM);
  std::vector<std::optional<int>> statuses = {daemon_->process().wait()};
  for (const auto& each : started_) statuses.push_back(each->wait());
  for (const pid_t each : std::exchange(successors_, {})) statuses.push_back(end_of(each));
  const auto bad = std::ranges::find_if(statuses, [](const auto& each) { return each != 0; });
  return bad == statuses.end() ? 0 : *bad;
}

std::string LiveDaemon::log(std::size_t from) const {
  std::ifstream file(log_);
  file.seekg(static_cast<std::streamoff>(from));
  return {std::istreambuf_iterator<char>(file), {}};
}

std::size_t LiveDaemon::log_bytes() const {
  std::error_code missing;
  const std::uintmax_t size = std::filesystem::file_size(log_, missing);
  return missing ? 0 : static_cast<std::size_t>(size);
}

double LiveDaemon::metric(std::string_view name) const {
  const std::string line = "\n" + std::string(name) + " ";
  const std::string text =
      "\n" + exchange(connect_unix(admin_path_).get(), http_request("GET", "/metrics")).body;
  const std::size_t at = text.find(line);
  return at == text.npos ? -1 : std::strtod(text.c_str() + at + line.size(), nullptr);
}

json::value LiveDaemon::get(std::string_view path) const {
  return json::parse(exchange(connect_unix(admin_path_).get(), http_request("GET", path)).body);
}

pid_t LiveDaemon::pid() const {
  return static_cast<pid_t>(get("/v1/status").at("pid").to_number<std::int64_t>());
}

bool has_open(pid_t pid, const std::string& path) {
  const std::vector<std::string> files = open_files(pid);
  return std::ranges::find(files, path) != files.end();
}

std::size_t descriptors_of(pid_t pid) {
  const std::vector<std::string> files = open_files(pid);
  return static_cast<std::size_t>(std::ranges::count_if(
      files, [](const std::string& each) { return !each.starts_with("pipe:"); }));
}

std::uint64_t memory_of(pid_t pid) {
  std::ifstream rollup("/proc/" + std::to_string(pid) + "/smaps_rollup");
  for (std::string word; rollup >> word;) {
    std::uint64_t kibibytes = 0;
    if (word == "Pss_Anon:" && rollup >> kibibytes) return kibibytes * 1024;
  }
  return 0;
}

}  // namespace sluice::test
