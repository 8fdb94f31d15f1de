#include "proxy/admin/paths.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace sluice::admin {
namespace {

// What is between the slashes, after the first one.
std::vector<std::string> parts_of(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::size_t end = std::min(path.find('/'), path.size());
    parts.emplace_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return parts;
}

bool is_parameter(std::string_view part) { return part.starts_with('{'); }

bool is_like(const std::vector<std::string>& pattern, const std::vector<std::string>& path) {
  return std::ranges::equal(pattern, path, [](const auto& expected, const auto& part) {
    return is_parameter(expected) ? !part.empty() : expected == part;
  });
}

// The decoded values of the parameters of a path that is like the pattern; nullopt if one is not
// encoded correctly.
std::optional<std::vector<std::string>> parameters_of(const std::vector<std::string>& pattern,
                                                      const std::vector<std::string>& path) {
  std::vector<std::string> parameters;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (!is_parameter(pattern[i])) continue;
    std::optional<std::string> value = percent_decoded(path[i]);
    if (!value) return std::nullopt;
    parameters.push_back(*std::move(value));
  }
  return parameters;
}

}  // namespace

void Paths::add(std::string method, std::string_view pattern, Handler handler) {
  entries_.push_back({std::move(method), parts_of(pattern), std::move(handler)});
}

void Paths::add_read(std::string_view pattern, std::function<HttpResponse()> answer) {
  add("GET", pattern, [answer = std::move(answer)](const Call& call) { call.reply(answer()); });
}

void Paths::answer(HttpRequest request, HttpServer::Reply reply) const {
  const std::vector<std::string> path = parts_of(request.path());
  std::string allowed;
  for (const Entry& entry : entries_) {
    if (!is_like(entry.parts, path)) continue;
    if (entry.method == (request.method == "HEAD" ? "GET" : request.method)) {
      std::optional<std::vector<std::string>> parameters = parameters_of(entry.parts, path);
      if (!parameters) {
        return reply(make_problem(400, "The path has a % without two hexadecimal digits."));
      }
      return entry.handler({std::move(request), *std::move(parameters), std::move(reply)});
    }
    allowed += (allowed.empty() ? "" : ", ") + (entry.method == "GET" ? "GET, HEAD" : entry.method);
  }
  if (allowed.empty()) return reply(make_problem(404, "There is nothing at this path."));
  HttpResponse response = make_problem(405, "This path allows " + allowed + " only.");
  response.fields.emplace_back("Allow", std::move(allowed));
  reply(std::move(response));
}

}  // namespace sluice::admin
