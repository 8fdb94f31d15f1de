#include "tests/system/http.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <span>

#include "tests/support/sockets.h"

namespace sluice::test {
namespace {

std::vector<std::string> arguments_of(const std::string& path,
                                      const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {
      "--listen",     "127.0.0.1:0", "--to",        "echo:",   "--admin",
      "unix:" + path, "--admin",     "127.0.0.1:0", "--admin", "0.0.0.0:0"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

DaemonOptions four_listeners() {
  DaemonOptions options;
  options.listeners = 4;
  return options;
}

std::size_t length_of(const std::string& header) {
  constexpr std::string_view kField = "\r\nContent-Length: ";
  const std::size_t at = header.find(kField);
  return at == header.npos ? 0 : std::strtoul(header.c_str() + at + kField.size(), nullptr, 10);
}

}  // namespace

std::string http_request(std::string_view method, std::string_view path, std::string_view fields,
                         std::string_view body) {
  std::string text(method);
  text.append(" ").append(path).append(" HTTP/1.1\r\nHost: localhost\r\n").append(fields);
  if (!body.empty()) text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  return text.append("\r\n").append(body);
}

std::string change_request(std::string_view method, std::string_view path, std::string_view body) {
  return http_request(method, path, "X-Sluice: 1\r\nContent-Type: application/json\r\n", body);
}

HttpAnswer receive_answer(int fd, bool with_body, std::chrono::nanoseconds timeout) {
  HttpAnswer answer;
  while (!answer.header.ends_with("\r\n\r\n")) {
    const std::string next = receive_text(fd, 1, timeout);
    if (next.empty()) return answer;
    answer.header += next;
  }
  answer.status = std::atoi(answer.header.c_str() + answer.header.find(' '));
  if (with_body) answer.body = receive_text(fd, length_of(answer.header), timeout);
  return answer;
}

HttpAnswer exchange(int fd, std::string_view request) {
  if (!send_all(fd, request)) return {};
  return receive_answer(fd, !request.starts_with("HEAD"));
}

AdminDaemon::AdminDaemon(const std::vector<std::string>& more)
    : daemon_(arguments_of(path_, more), four_listeners()) {}

HttpAnswer AdminDaemon::ask_unix(std::string_view request) const {
  return exchange(connect_unix(path_).get(), request);
}

HttpAnswer AdminDaemon::ask_tcp(std::string_view request) const {
  return exchange(connect_tcp(port()).get(), request);
}

std::optional<double> AdminDaemon::metric(const std::string& name) const {
  const std::string text = "\n" + ask_unix(http_request("GET", "/metrics")).body;
  const std::size_t at = text.find("\n" + name + " ");
  if (at == text.npos) return std::nullopt;
  return std::strtod(text.c_str() + at + name.size() + 2, nullptr);
}

}  // namespace sluice::test
