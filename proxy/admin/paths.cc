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

// The decoded values of the parameters; nullopt if the path is not like the pattern.
std::optional<std::vector<std::string>> match(const std::vector<std::string>& pattern,
                                              const std::vector<std::string>& path) {
  if (pattern.size() != path.size()) return std::nullopt;
  std::vector<std::string> parameters;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (!is_parameter(pattern[i])) {
      if (pattern[i] != path[i]) return std::nullopt;
      continue;
    }
    std::optional<std::string> value = percent_decoded(path[i]);
    if (!value || value->empty()) return std::nullopt;
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
    std::optional<std::vector<std::string>> parameters = match(entry.parts, path);
    if (!parameters) continue;
    if (entry.method == (request.method == "HEAD" ? "GET" : request.method)) {
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
